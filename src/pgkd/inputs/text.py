"""When two texts, or two names, count as the same."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.columns import name_columns

#: Control characters, line separators and what Unicode calls default ignorable: the bidi controls,
#: spaces without width and tags, which hide text or turn it round. A joiner or a variation selector
#: is left as it is, for Persian and for emoji need them; many in a row are a code.
#: https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point
_INVISIBLE = re.compile(
    "[\u200c\u200d\ufe0e\ufe0f]{3,}"
    "|[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
#: What a spreadsheet takes for the beginning of a formula.
_FORMULA = re.compile(
    "(?![+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?\\Z)(?:[=+@\uff1d\uff0b\uff0d\uff20\t\r\n-]| +[=+@-])"
)
#: How a file of texts is called.
_FILE = re.compile(r"\.(csv|tsv|txt|jsonl?|ndjson|parquet|xlsx?)\Z", re.IGNORECASE)


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


def explain_single(given: Any) -> str:
    """Say what was given in the place of several texts, and what to do about it."""
    if isinstance(given, os.PathLike) or (isinstance(given, str) and _FILE.search(given)):
        return f"Got the file {str(given)!r} instead: read it, and pass its texts."
    return f"Got a single {type(given).__name__} instead: pass [text]."


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
        raise InvalidInputError(f"{name} must be an iterable of str. {explain_single(texts)}")
    if window_size < 1:
        raise InvalidInputError(f"`window_size` must be an int of 1 or more. Got {window_size}.")


def make_valid(text: str) -> str:
    r"""Write out what cannot be written: half a surrogate pair becomes ``\ud83d`` in letters."""
    return text.encode(errors="backslashreplace").decode()


def make_visible(text: str) -> str:
    r"""Write out what cannot be seen, as JSON does: a control character becomes ``\u001b``.

    Examples
    --------
    >>> from pgkd.inputs.text import make_visible
    >>> make_visible("red \x1b[31m, turned \u202e")
    'red \\u001b[31m, turned \\u202e'
    """
    return _INVISIBLE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def as_code(value: Any, limit: int | None = 80) -> str:
    r"""Quote a text in Markdown, in one line, so that nothing in it is taken for Markdown or HTML.

    Examples
    --------
    >>> from pgkd.inputs.text import as_code
    >>> print(as_code("<b>`x`</b>\n| [y](javascript:z)"))
    `<b>'x'</b> | [y](javascript:z)`
    """
    text = make_visible(make_valid(" ".join(str(value).split()).replace("`", "'")))
    if limit is not None and len(text) > limit:
        text = f"{text[: limit - 3]}..."
    return f"`{text}`" if text else "(empty)"


def as_cell(text: str) -> str:
    """Write a text for a CSV file, so that no spreadsheet takes it for a formula; a number stays.

    References
    ----------
    https://owasp.org/www-community/attacks/CSV_Injection

    Examples
    --------
    >>> from pgkd.inputs.text import as_cell
    >>> as_cell("=HYPERLINK(A1)"), as_cell("2 = 2")
    ("'=HYPERLINK(A1)", '2 = 2')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def _is_outer(character: str) -> bool:
    return unicodedata.category(character)[0] in "PZ"
