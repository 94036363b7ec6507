"""When two texts, or two names, count as the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.columns import name_columns


def fold_name(name: str) -> str:
    """Fold case and white space, in which an LLM's spelling of a label may differ."""
    return " ".join(name.casefold().split())


def fold_text(text: str) -> str:
    """Fold what copies of a text differ in: Unicode form, case, white space, outer punctuation.

    Examples
    --------
    >>> from pgkd.inputs.text import fold_text
    >>> fold_text("  “Where is  my CARD？” ")
    'where is my card'
    """
    folded = fold_name(unicodedata.normalize("NFKC", text))
    start, end = 0, len(folded)
    while start < end and _is_outer(folded[start]):
        start += 1
    while end > start and _is_outer(folded[end - 1]):
        end -= 1
    return folded[start:end]


def is_valid(text: str) -> bool:
    """Whether a str can be written: half a surrogate pair, as of a broken emoji, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_stream(texts: Any, name: str, window_size: int) -> None:
    """Refuse what is no iterable of texts, before any of it is read.

    Raises
    ------
    InvalidInputError
    """
    if isinstance(texts, Mapping) or name_columns(texts) is not None:  # whose keys would be read
        raise InvalidInputError(
            f"{name} must be an iterable of str. Got a {type(texts).__name__} instead: pass its "
            "text column, e.g. df['text']."
        )
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise InvalidInputError(
            f"{name} must be an iterable of str. Got a single {type(texts).__name__} instead: "
            "pass [text]."
        )
    if window_size < 1:
        raise InvalidInputError(f"`window_size` must be an int of 1 or more. Got {window_size}.")


def make_valid(text: str) -> str:
    r"""Write out what cannot be written: half a surrogate pair becomes ``\ud83d`` in letters."""
    return text.encode(errors="backslashreplace").decode()


def _is_outer(character: str) -> bool:
    return unicodedata.category(character)[0] in "PZ"
