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

import numpy as np

from pgkd.exceptions import InvalidInputError, did_you_mean
from pgkd.inputs.chat_logs import read_chat
from pgkd.inputs.columns import name_columns, to_list
from pgkd.inputs.text import fold_text, is_valid
from pgkd.inputs.validation import is_missing
from pgkd.records import Label

Reader = Callable[[Any], "tuple[str, Label] | None"]

#: Columns of a table that are named in an error.
_N_SHOWN = 10


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

    Raises
    ------
    InvalidInputError
        If a text has no label, or a label no text, or one is no text or label at all.

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
        if isinstance(self.texts, str) or isinstance(self.labels, str):
            raise InvalidInputError("Logs must have a sequence of texts and one of labels.")
        object.__setattr__(self, "texts", tuple(self.texts))
        object.__setattr__(self, "labels", tuple(map(_tidy, self.labels)))
        if len(self.texts) != len(self.labels):
            raise InvalidInputError(
                f"Logs must have a label for each text. Got {len(self.texts)} texts and "
                f"{len(self.labels)} labels."
            )
        for i, (text, label) in enumerate(zip(self.texts, self.labels)):
            if not isinstance(text, str) or not is_valid(text):
                raise InvalidInputError(
                    f"The texts of logs must be str. Got {text!r} at position {i} instead: leave "
                    "it out, or use `pgkd.read_logs`, which does."
                )
            if is_missing(label) or not _is_label(label):
                raise InvalidInputError(
                    f"The labels of logs must be str, int, bool or tuples of these. Got {label!r} "
                    f"at position {i} instead: leave it out, or use `pgkd.read_logs`, which does."
                )

    def __repr__(self) -> str:
        skipped = f", {sum(self.skipped.values())} records skipped" if self.skipped else ""
        return f"Logs({len(self.texts)} texts{skipped})"


def read_logs(
    source: Any, *, text: str = "text", label: str = "label", read: Reader | None = None
) -> Logs:
    """Read the logs of an LLM that classifies texts.

    Parameters
    ----------
    source : DataFrame, dict of columns, iterable of dicts, or str or path
        A table, records, or a file: ``.csv``, or JSON lines. A record has a text and a label; or it
        is a chat completion as it was logged, or as models are fine-tuned with, with ``messages``
        and an answer. The last message of the user is the text then. The label is the answer; if
        that is a JSON object, its value of the name `label`, or else its only one.
    text, label : str, default="text", "label"
        Names of the columns.
    read : callable, default=None
        For records of any other kind: ``read(record)`` returns the text and its label, or ``None``.

    Returns
    -------
    logs : Logs
        A text that was given two labels is left out, and copies are kept once. Both are counted in
        `skipped`, as are records that are broken, or without text or label.

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
    >>> read_logs([("hi", "other")], read=lambda record: record).texts
    ('hi',)
    """
    skipped: Counter[str] = Counter()
    found: dict[str, tuple[str, Label]] = {}
    contrary: set[str] = set()
    for record in _iterate(source, None if read else (text, label), skipped):
        try:
            pair = read(record) if read is not None else _read_record(record, text, label)
            own, given = (None, None) if pair is None else pair
            given = _tidy(given)
        except Exception as error:  # one odd record must not be the end of it
            skipped[f"`read` raised {type(error).__name__}" if read else "broken record"] += 1
            continue
        if not isinstance(own, str):
            skipped["no text and label" if is_missing(own) else "no text"] += 1
        elif not is_valid(own) or not fold_text(own):
            skipped["empty or broken text"] += 1
        elif is_missing(given) or given in ("", ()) or not _is_label(given):
            skipped["no label"] += 1
        elif (key := fold_text(own)) not in found:
            found[key] = (own.strip(), given)
        elif found[key][1] == given:
            skipped["copy"] += 1
        else:
            skipped["two labels"] += 1
            contrary.add(key)
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
    texts, labels = zip(*found.values())
    return Logs(texts, labels, dict(skipped))


def _tidy(label: Any) -> Any:
    """Return a label as it is in y: a number of NumPy's as Python's, several labels as a tuple."""
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, str):
        return label.strip()
    return tuple(map(_tidy, label)) if isinstance(label, (list, tuple)) else label


def _is_label(label: Any) -> bool:
    if isinstance(label, tuple):
        return all(not isinstance(own, tuple) and _is_label(own) for own in label)
    return is_valid(label) if isinstance(label, str) else isinstance(label, (int, float))


def _iterate(source: Any, names: tuple[str, str] | None, skipped: Counter[str]) -> Iterator[Any]:
    if isinstance(source, (str, os.PathLike)):
        yield from _read_file(Path(source), names, skipped)
    elif (columns := name_columns(source)) is not None or isinstance(source, Mapping):
        columns = list(source) if columns is None else columns
        _check_columns(columns, names)
        values = [to_list(source[name]) for name in columns]
        if len(set(map(len, values))) > 1:
            raise InvalidInputError(
                "The columns of logs must be equally long. Got "
                f"{dict(zip(columns, map(len, values)))} texts."
            )
        yield from (dict(zip(columns, row)) for row in zip(*values))
    elif isinstance(source, Iterable) and not isinstance(source, bytes):
        yield from source
    else:
        raise InvalidInputError(
            "Logs must be a table, records or the path of a file. Got "
            f"{type(source).__name__} instead."
        )


def _check_columns(columns: list[Any], names: tuple[str, str] | None) -> None:
    lacking = [name for name in names or () if name not in columns]
    if lacking and "messages" not in columns:
        raise InvalidInputError(
            f"The logs have no column {lacking[0]!r}, but {columns[:_N_SHOWN]}: name the columns, "
            "e.g. `read_logs(table, text='message', label='intent')`."
            f"{did_you_mean(lacking[0], columns)}"
        )


def _read_file(path: Path, names: tuple[str, str] | None, skipped: Counter[str]) -> Iterator[Any]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            if path.suffix.lower() == ".csv":
                csv.field_size_limit(2**31 - 1)  # a text may be long
                yield from _read_csv(csv.DictReader(file), names, skipped)
                return
            for line in filter(str.strip, file):
                try:
                    document = json.loads(line)
                except (ValueError, RecursionError):
                    skipped["broken line"] += 1
                    continue
                yield from document if isinstance(document, list) else [document]
    except OSError as error:
        raise InvalidInputError(
            f"The logs {str(path)!r} cannot be read ({error.strerror}): check the path."
        ) from error


def _read_csv(
    rows: csv.DictReader[str], names: tuple[str, str] | None, skipped: Counter[str]
) -> Iterator[Any]:
    _check_columns(list(rows.fieldnames or ()), names)
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error:
            skipped["broken line"] += 1


def _read_record(record: Any, text: str, label: str) -> tuple[Any, Label] | None:
    if not isinstance(record, Mapping):
        return None
    if text in record and label in record:
        return record[text], record[label]
    return read_chat(record, label)
