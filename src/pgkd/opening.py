"""One function that opens what pgkd has written, a saved classifier or an exported one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pgkd.exceptions import PersistenceError
from pgkd.export import runtime
from pgkd.system.artefacts import read_json
from pgkd.system.files import DOCUMENT, find_writer

__all__ = ["load"]


def load(directory: str | os.PathLike[str], **options: Any) -> Any:
    """Open a classifier that `save` or `export` wrote.

    Parameters
    ----------
    directory : str or path
    **options
        Of :meth:`PGKDClassifier.load`, e.g. `trusted`, or of :func:`pgkd.runtime.load`, e.g.
        `engine`. `n_threads` is for an exported one alone, and no error for the other.

    Returns
    -------
    classifier : PGKDClassifier or ExportedClassifier
        Both predict: ``predict``, ``predict_proba``, ``predict_iter``, ``abstains``.

    Raises
    ------
    PersistenceError
        If `directory` holds neither, a damaged one or one of a newer version.

    Examples
    --------
    >>> import pgkd
    >>> pgkd.load("model").predict(["my card has not arrived"])  # doctest: +SKIP
    array(['card'], dtype='<U4')
    """
    if find_writer(read_document(directory)) == "export":
        return runtime.load(directory, **options)
    from pgkd.classifier import PGKDClassifier  # which an export does without

    options.pop("n_threads", None)
    return PGKDClassifier.load(directory, **options)


def read_document(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a directory says of the classifier in it."""
    path = Path(directory) / DOCUMENT
    try:
        document: dict[str, Any] = read_json(path)
        if "classes" in document:
            return document
        reason = "it names no classes"
    except (FileNotFoundError, NotADirectoryError):
        reason = f"it has no {DOCUMENT}" if path.parent.is_dir() else "there is no such directory"
    except (OSError, TypeError, ValueError) as error:
        reason = str(error)
    raise PersistenceError(
        f"{str(directory)!r} is neither an exported nor a saved classifier ({reason}): pass the "
        "directory given to `export` or `save`."
    )
