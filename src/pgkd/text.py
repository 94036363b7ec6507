"""When two texts, or two names, count as the same."""

from __future__ import annotations

import unicodedata


def fold_name(name: str) -> str:
    """Fold case and white space, in which an LLM's spelling of a label may differ."""
    return " ".join(name.casefold().split())


def fold_text(text: str) -> str:
    """Fold what copies of a text differ in: Unicode form, case, white space, outer punctuation.

    Examples
    --------
    >>> from pgkd.text import fold_text
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


def make_valid(text: str) -> str:
    r"""Write out what cannot be written: half a surrogate pair becomes ``\ud83d`` in letters."""
    return text.encode(errors="backslashreplace").decode()


def _is_outer(character: str) -> bool:
    return unicodedata.category(character)[0] in "PZ"
