"""What an LLM's server may tell in other forms than it should: texts, and counts of tokens."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from pgkd.records import Completion, Usage

#: UTF-8 bytes of English in a token, about; other scripts have fewer characters and more bytes.
BYTES_PER_TOKEN = 4
#: Where the text of a part is.
_TEXTS = {"text", "content"}
#: No answer takes more tokens; a server that says so does not count.
MAX_COUNT = 10**9


def read_count(value: Any) -> int:
    """Read a number of tokens; 0 if it is none, as no request and no answer is without tokens.

    Examples
    --------
    >>> from pgkd.teachers.reading import read_count
    >>> [read_count(value) for value in (7, 7.0, "7", 7.5, -7, None, "many", True)]
    [7, 7, 7, 0, 0, 0, 0, 0]
    """
    try:
        number = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return int(number) if 0 < number < MAX_COUNT and number.is_integer() else 0


def read_usage(usage: Any) -> Usage:
    """Read what an answer took; a cost that no budget could count is not known.

    Examples
    --------
    >>> from pgkd.records import Usage
    >>> from pgkd.teachers.reading import read_usage
    >>> read_usage(Usage(1, "1000", None, cost=float("nan")))
    Usage(n_requests=1, input_tokens=1000, output_tokens=0, cost=None, cached_tokens=0)
    """
    if not isinstance(usage, Usage):
        return Usage(1, cost=None)
    n_input = read_count(usage.input_tokens)
    return Usage(
        read_count(usage.n_requests),
        n_input,
        read_count(usage.output_tokens),
        _read_cost(usage.cost),
        min(read_count(usage.cached_tokens), n_input),
    )


def _read_cost(value: Any) -> float | None:
    try:
        cost = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return cost if 0 <= cost < math.inf else None


def read_answer(completion: Completion) -> Completion:
    """Read what a `complete` of the user's own may have put in an answer, such as NumPy's floats.

    Examples
    --------
    >>> from pgkd.records import Completion
    >>> from pgkd.teachers.reading import read_answer
    >>> read_answer(Completion(["yes"], logprobs=[{"yes": "-0.5"}])).logprobs
    ({'yes': -0.5},)
    """
    try:
        logprobs = tuple(
            {str(token): float(value) for token, value in candidates.items()}
            for candidates in completion.logprobs or ()
        )
    except (AttributeError, TypeError, ValueError):  # no reason to lose the answer
        logprobs = ()
    return replace(
        completion,
        text=read_text(completion.text),
        usage=read_usage(completion.usage),
        truncated=bool(completion.truncated),
        logprobs=logprobs,
        filtered=bool(completion.filtered),
    )


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text, one at least."""
    return math.ceil(len(text.encode(errors="replace")) / BYTES_PER_TOKEN) or 1


def read_text(content: Any) -> str:
    """Read what an LLM says: a str, or parts of which those of thinking are no answer.

    Examples
    --------
    >>> from pgkd.teachers.reading import read_text
    >>> read_text([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}])
    'yes'
    >>> read_text({"card": ["where is it"]}), read_text(None)
    ('{"card": ["where is it"]}', '')
    """
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, (list, tuple)) else [content]
    return "".join(map(_read_part, parts))


def _read_part(part: Any) -> str:
    if isinstance(part, (bytes, bytearray)):
        return part.decode(errors="replace")
    if isinstance(part, dict) and (isinstance(part.get("type"), str) or _TEXTS & part.keys()):
        kind = str(part.get("type", "text"))
        if part.get("thought") is True or any(
            name in kind for name in ("think", "reason", "summar")
        ):
            return ""
        return next((_read_value(part[name]) for name in ("text", "content") if name in part), "")
    if isinstance(part, str):
        return part
    try:  # a server that has read the JSON of the answer already
        return "" if part is None else json.dumps(part, ensure_ascii=False)
    except (TypeError, ValueError):
        return ""


def _read_value(value: Any) -> str:
    if isinstance(value, dict):  # as OpenAI's assistants have it
        value = value.get("value")
    return value if isinstance(value, str) else ""
