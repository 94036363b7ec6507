"""Logs: texts that an LLM has labelled before, from a table or from chat completions."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgkd.exceptions import InvalidInputError
from pgkd.records import Label
from pgkd.text import fold_text
from pgkd.validation import is_missing

Reader = Callable[[Any], "tuple[str, Label] | None"]


@dataclass(frozen=True)
class Logs:
    """Texts with labels that an LLM gave them.

    It has no length that scikit-learn could see, so that cross-validation leaves it whole.

    Attributes
    ----------
    texts : tuple of str
    labels : tuple of labels
    skipped : mapping of str to int
        Records that could not be used, counted by reason.

    Examples
    --------
    >>> from pgkd import Logs
    >>> Logs(("where is my card", "hi"), ("card", "other"))
    Logs(2 texts)
    """

    texts: tuple[str, ...]
    labels: tuple[Label, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels):
            raise InvalidInputError(
                f"Logs must have a label for each text. Got {len(self.texts)} texts and "
                f"{len(self.labels)} labels."
            )

    def __repr__(self) -> str:
        skipped = f", {sum(self.skipped.values())} skipped" if self.skipped else ""
        return f"Logs({len(self.texts)} texts{skipped})"


def read_logs(
    source: Any, *, text: str = "text", label: str = "label", read: Reader | None = None
) -> Logs:
    """Read the logs of an LLM that classifies texts.

    Parameters
    ----------
    source : DataFrame, dict of columns, iterable of dicts, or str or path
        A table, records, or a file: ``.csv``, or JSON lines. A record has a text and a label; or it
        is a chat completion as providers log it, with ``messages`` and an answer: the last message
        of the user is the text, and the answer, or the only value of a JSON object in it, the
        label.
    text, label : str, default="text", "label"
        Names of the columns.
    read : callable, default=None
        ``read(record)`` returns the text and the label of any other kind of record, or ``None``.

    Returns
    -------
    logs : Logs
        A text that was given two labels is left out; copies are kept once.

    Raises
    ------
    InvalidInputError
        If nothing in `source` can be used.

    Examples
    --------
    >>> from pgkd import read_logs
    >>> read_logs({"text": ["where is my card", "hi"], "label": ["card", "other"]})
    Logs(2 texts)
    >>> chat = {
    ...     "request": {"messages": [{"role": "user", "content": "where is my card"}]},
    ...     "response": {"choices": [{"message": {"content": '{"label": "card"}'}}]},
    ... }
    >>> read_logs([chat]).labels
    ('card',)
    """
    skipped: Counter[str] = Counter()
    found: dict[str, tuple[str, Label]] = {}
    contrary: set[str] = set()
    for record in _iterate(source, text, label, skipped):
        pair = read(record) if read is not None else _read_record(record, text, label)
        if pair is None:
            skipped["no text and label"] += 1
            continue
        own, given = pair
        key = fold_text(own) if isinstance(own, str) else ""
        if not key:
            skipped["empty text"] += 1
        elif is_missing(given) or given == "":
            skipped["no label"] += 1
        elif key in found:
            is_same = found[key][1] == given
            skipped["copy" if is_same else "two labels"] += 1
            contrary |= set() if is_same else {key}
        else:
            found[key] = (own, given)
    for key in contrary:
        del found[key]
        skipped["two labels"] += 1
    if not found:
        where = f" {str(source)!r}" if isinstance(source, (str, os.PathLike)) else ""
        raise InvalidInputError(
            f"Nothing in the logs{where} can be used ({dict(skipped) or 'they are empty'}): each "
            f"record must have {text!r} and {label!r}, or be a chat completion with `messages` and "
            "an answer; or pass `read=`, a function of a record that returns its text and label."
        )
    pairs = list(found.values())
    return Logs(tuple(t for t, _ in pairs), tuple(y for _, y in pairs), dict(skipped))


def _iterate(source: Any, text: str, label: str, skipped: Counter[str]) -> Iterator[Any]:
    if isinstance(source, (str, os.PathLike)):
        yield from _read_file(Path(source), skipped)
        return
    if hasattr(source, "columns") or isinstance(source, Mapping):
        names = list(source.columns) if hasattr(source, "columns") else list(source)
        lacking = [name for name in (text, label) if name not in names]
        if lacking:
            raise InvalidInputError(
                f"The logs have no column {lacking[0]!r}, but {names[:10]!r}: name the columns, "
                "e.g. `read_logs(table, text='message', label='intent')`."
            )
        for own, given in zip(list(source[text]), list(source[label])):
            yield {text: own, label: given}
        return
    if not isinstance(source, Iterable):
        raise InvalidInputError(
            f"Logs must be a table, records or a file. Got {type(source).__name__} instead."
        )
    yield from source


def _read_file(path: Path, skipped: Counter[str]) -> Iterator[Any]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            if path.suffix.lower() == ".csv":
                yield from csv.DictReader(file)
                return
            for line in file:
                if line.strip():
                    try:
                        yield json.loads(line)
                    except ValueError:
                        skipped["broken line"] += 1
    except (OSError, csv.Error) as error:
        raise InvalidInputError(f"The logs {str(path)!r} cannot be read: {error}.") from error


def _read_record(record: Any, text: str, label: str) -> tuple[str, Label] | None:
    if not isinstance(record, Mapping):
        return None
    if text in record and label in record:
        return record[text], record[label]
    messages = _find(record, "messages")
    if not isinstance(messages, list):
        return None
    asked = [_content(m) for m in messages if isinstance(m, Mapping) and m.get("role") == "user"]
    own = [m for m in messages if isinstance(m, Mapping) and m.get("role") == "assistant"]
    choices = _find(record, "choices")
    answer = None
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        answer = _content(choices[0].get("message"))
    elif own:  # a fine-tuning example
        answer = _content(own[-1])
    if not asked or asked[-1] is None or answer is None:
        return None
    return asked[-1], _read_answer(answer)


def _find(record: Any, key: str, depth: int = 4) -> Any:
    """Find a key in what is nested in a record, as providers' logs have it."""
    if not isinstance(record, Mapping) or not depth:
        return None
    if key in record:
        return record[key]
    found = (_find(value, key, depth - 1) for value in record.values())
    return next((value for value in found if value is not None), None)


def _content(message: Any) -> str | None:
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, list):  # parts
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(part for part in parts if isinstance(part, str))
    return content.strip() if isinstance(content, str) else None


def _read_answer(answer: str) -> Label:
    try:
        document = json.loads(answer)
    except ValueError:
        return answer
    if isinstance(document, dict) and len(document) == 1:
        document = next(iter(document.values()))
    return document if isinstance(document, (str, int, bool)) else answer
