"""Estimators of scikit-learn's in a file that is no pickle, by skops."""

from __future__ import annotations

import copy
from collections.abc import Collection
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import skops.io

from pgkd.exceptions import PersistenceError
from pgkd.students._trusted import TRUSTED, check_trees, walk


def dump(estimator: Any, file: Path) -> list[str]:
    """Write an estimator, if it can be read again.

    Returns
    -------
    unknown : list of str
        Types that `load` wants to be told to trust.

    Raises
    ------
    PersistenceError
        If a part could never be loaded, such as a lambda.
    Exception
        Whatever skops raises of a part that it cannot write.
    """
    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    lost = [name for name, value in params.items() if callable(value) and not _returns(value)]
    if lost:
        raise PersistenceError(
            f"The part `{lost[0]}` of {type(estimator).__name__} cannot be saved. Got "
            f"{params[lost[0]]!r}, which could never be loaded again: write a function with `def` "
            "at the top of a module, put it there with `set_params`, and save again."
        )
    data = skops.io.dumps(_without_requests(estimator))
    # Whether it can be read is found out now, not when it is needed.
    skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    file.write_bytes(data)
    return _find_unknown(data)


def load(file: Path, trusted: Collection[str] = ()) -> Any:
    """Read an estimator that `dump` wrote.

    Raises
    ------
    PersistenceError
        If it has types that are trusted neither here nor by the user.
    ValueError
        If it was made to do harm.
    """
    data = file.read_bytes()
    unknown = sorted(set(_find_unknown(data)) - set(trusted))
    if unknown:
        raise PersistenceError(
            f"The student has types that are not trusted by default: {unknown}. If you know where "
            "the directory comes from, pass them as `trusted=[...]`."
        )
    estimator = skops.io.loads(data, trusted=[*TRUSTED, *trusted])
    check_trees(estimator)
    return estimator


def _find_unknown(data: bytes) -> list[str]:
    return sorted(set(skops.io.get_untrusted_types(data=data)) - TRUSTED)


def _returns(value: Any) -> bool:
    """Whether a callable comes back from a file, and is what it was."""
    if hasattr(value, "get_params"):  # an estimator, whose own parts are looked at
        return True
    if isinstance(value, partial) and not all(map(_returns, filter(callable, _list_parts(value)))):
        return False
    try:
        data = skops.io.dumps(value)
        back = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    except Exception:
        return False
    # By its name another function may be found.
    return back is value or not isinstance(value, (FunctionType, BuiltinFunctionType, type))


def _list_parts(value: partial[Any]) -> list[Any]:
    return [value.func, *value.args, *value.keywords.values()]


def _without_requests(estimator: Any) -> Any:
    """Leave out requests for metadata: they hold their owner, and skops would never end."""
    if not any("_metadata_request" in getattr(part, "__dict__", {}) for part in walk(estimator)):
        return estimator
    estimator = copy.deepcopy(estimator)
    for part in list(walk(estimator)):
        getattr(part, "__dict__", {}).pop("_metadata_request", None)
    return estimator
