"""Chat completions as they are logged: the text that was asked about, and the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pgkd.records import Label

_FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)


def read_chat(record: Mapping[str, Any], label: str) -> tuple[str, Label] | None:
    """Read the text and its label, ``None`` if there is no such thing in the record.

    Parameters
    ----------
    record : dict
        With the request's ``messages`` or ``input``, and ``choices``, a ``response`` or ``output``;
        or with both in ``messages``.
    label : str
        The name of the label in an answer that is a JSON object of several values.

    Examples
    --------
    >>> from pgkd.inputs.chat_logs import read_chat
    >>> chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "other"}]
    >>> read_chat({"messages": chat}, "label")
    ('hi', 'other')
    """
    question, later = _find_question(record)
    answer = _find_answer(record)
    if answer is None:  # an example for fine-tuning has it among the messages, after the text
        own = [message for message in later if message.get("role") == "assistant"]
        answer = _content(own[-1]) if own else None
    return None if question is None or answer is None else (question, _read_answer(answer, label))


def find_question(record: Mapping[str, Any]) -> str | None:
    """Return the last message of the user; ``None`` if there is no text in it.

    Examples
    --------
    >>> from pgkd.inputs.chat_logs import find_question
    >>> find_question({"messages": [{"role": "user", "content": "hi"}]})
    'hi'
    """
    return _find_question(record)[0]


def _find_question(record: Mapping[str, Any]) -> tuple[str | None, list[Mapping[str, Any]]]:
    """Return the last message of the user, and the messages after it."""
    messages = _find(record, "messages") or record.get("input")
    messages = messages if isinstance(messages, (list, tuple)) else []
    messages = [m for m in messages if isinstance(m, Mapping)]
    asked = [i for i, message in enumerate(messages) if message.get("role") == "user"]
    return (_content(messages[asked[-1]]), messages[asked[-1] + 1 :]) if asked else (None, [])


def _find(record: Any, key: str, depth: int = 4) -> Any:
    """Find a key in what is nested in a record, as logs have it, in JSON as a str as well."""
    if isinstance(record, str) and record.lstrip().startswith("{"):
        try:
            record = json.loads(record)
        except (ValueError, RecursionError):
            return None
    if not isinstance(record, Mapping) or not depth:
        return None
    if key in record:
        return record[key]
    found = (_find(value, key, depth - 1) for value in record.values())
    return next((value for value in found if value is not None), None)


def _find_answer(record: Mapping[str, Any]) -> str | None:
    choices = _find(record, "choices")
    if isinstance(choices, (list, tuple)):
        first = choices[0] if choices else None
        return _content(first.get("message")) if isinstance(first, Mapping) else None
    for key in ("response", "output", "completion"):  # the answer itself, or a message
        value = record.get(key)
        value = value[-1] if isinstance(value, (list, tuple)) and value else value
        value = {"content": value} if isinstance(value, str) else value
        if (content := _content(value)) is not None:
            return content
    return None


def _content(message: Any) -> str | None:
    """Return what a message says, or the input of the function that it calls."""
    if not isinstance(message, Mapping):
        return None
    content = message.get("content")
    if isinstance(content, (list, tuple)):  # parts, of which images have no text
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not content:
        calls = message.get("tool_calls")
        content = _find(calls[0], "arguments") if isinstance(calls, (list, tuple)) and calls else ""
    return content.strip() if isinstance(content, str) and content.strip() else None


def _read_answer(answer: str, label: str) -> Label:
    fenced = _FENCE.fullmatch(answer)
    try:
        document = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        return answer
    if not isinstance(document, dict):
        # A number is a str without an object around it, as the LLM was to answer with a name.
        return document if isinstance(document, (str, list)) else answer
    if label in document:
        return document[label]
    return next(iter(document.values())) if len(document) == 1 else None
