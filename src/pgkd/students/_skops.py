"""Estimators of scikit-learn's in a file that is no pickle, by skops."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Collection
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import skops.io

from pgkd.exceptions import PersistenceError
from pgkd.students._trusted import LOADERS, TRUSTED, check_parts, walk
from pgkd.system.artefacts import check_archive, parse_json, read_bytes

#: Of an estimator: bytes, and what there is to say of its parts, as of a vocabulary of a million.
MAX_FILE, MAX_VALUES = 2 * 2**30, 12_000_000


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
    parts, unknown = _read_parts(file, data), skops.io.get_untrusted_types(data=data)
    _check_loaders(parts, unknown)
    check_parts(skops.io.loads(data, trusted=unknown))
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
    data = read_bytes(file, MAX_FILE)
    parts = _read_parts(file, data)
    unknown = sorted(set(_find_unknown(data)) - set(trusted))
    if unknown:
        raise PersistenceError(
            f"{str(file)!r} has types that are not trusted by default: {unknown}. If you know "
            "where it comes from, pass them as `trusted=[...]`."
        )
    _check_loaders(parts, trusted)
    estimator = skops.io.loads(data, trusted=[*TRUSTED, *trusted])
    check_parts(estimator)
    return estimator


def _read_parts(file: Path, data: bytes) -> set[tuple[str, str]]:
    """Return what a file has parts of, with how skops would make them.

    Raises
    ------
    ValueError
        If it would unpack to more than it is, or take for ever.
    """
    check_archive(file, data)
    parts: set[tuple[str, str]] = set()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        _count_parts(parse_json(archive.read("schema.json"), MAX_VALUES), {}, parts)
    return parts


def _count_parts(part: Any, counts: dict[Any, int], parts: set[tuple[str, str]]) -> int:
    """Return of how many parts a part is, and note them."""
    if not isinstance(part, (dict, list)):
        return 0
    inner = part.values() if isinstance(part, dict) else part
    n = 1 + sum([_count_parts(own, counts, parts) for own in inner])
    if isinstance(part, dict) and "__loader__" in part:
        parts.add((f"{part['__module__']}.{part['__class__']}", str(part["__loader__"])))
        # skops writes twice what is found at two places. A file that only refers to it could have
        # it looked at over and over.
        if counts.setdefault(part.get("__id__", id(part)), n) != n:
            raise ValueError("parts refer to others that they are not")
    return n


def _check_loaders(parts: set[tuple[str, str]], trusted: Collection[str]) -> None:
    """Refuse a part that would be made in another way than by its kind.

    skops looks at names alone: a list of the class of a function would call it.
    """
    for name, loader in parts:
        if name not in trusted and not name.startswith(LOADERS.get(loader, "?")):
            raise ValueError(f"{name!r} must not be made by {loader!r:.50}")


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
