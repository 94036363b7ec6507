"""What an exported directory says of itself, in its ``pgkd.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pgkd.exceptions import PersistenceError
from pgkd.system.artefacts import (
    MAX_TOKENIZER,
    MAX_TOKENIZER_VALUES,
    check_folder,
    count_values,
    read_bytes,
    read_json,
)
from pgkd.system.files import DOCUMENT

#: 2: several labels a text.
FORMAT = 2
#: The file beside it that cuts texts as the student did.
TOKENIZER = "tokenizer.json"


def read_document(directory: Path) -> dict[str, Any]:
    """Read what `export` wrote.

    Raises
    ------
    PersistenceError
        If there is no such file, a damaged one, or one of `save` or of a newer version.
    """
    if not (directory / DOCUMENT).is_file():
        found = sorted(path.name for path in directory.glob("*"))[:5]
        raise PersistenceError(
            f"{str(directory)!r} is no exported classifier: it has no {DOCUMENT}, but {found}. "
            "Pass the directory given to `export`."
        )
    try:
        check_folder(directory)
        document: dict[str, Any] = read_json(directory / DOCUMENT)
        exported = document.get("writer") == "export"
        is_newer = exported and document["format"] > FORMAT
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise PersistenceError(
            f"The export in {str(directory)!r} is damaged ({type(error).__name__}: {error}): "
            "export it again."
        ) from error
    if not exported:
        raise PersistenceError(
            f"{str(directory)!r} was written by `save`, which needs torch or scikit-learn: open it "
            "with PGKDClassifier.load, and `export` it to another directory."
        )
    if is_newer:
        raise PersistenceError(
            f"{str(directory)!r} was exported by pgkd {document['pgkd']} in format "
            f"{document['format']}, and this one reads up to {FORMAT}: upgrade pgkd."
        )
    return document


def read_tokenizer(path: Path) -> Any:
    """Read a ``tokenizer.json``.

    Raises
    ------
    PersistenceError
        If it is larger than any.
    Exception
        Whatever tokenizers raises of a damaged one.
    """
    from tokenizers import Tokenizer

    data = read_bytes(path, MAX_TOKENIZER)
    count_values(data, MAX_TOKENIZER_VALUES)
    return Tokenizer.from_buffer(data)
