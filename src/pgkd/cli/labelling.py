"""What `predict` adds to rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from pgkd.cli.tables import STANDARD, Row, check_columns
from pgkd.exceptions import InvalidInputError

#: The column of the probabilities.
PROBABILITY = "probability"


def label_rows(
    model: Any,
    rows: Iterable[Row],
    source: str,
    text_column: str,
    added: Sequence[str],
    *,
    abstain_label: str | None,
    window: int,
) -> Iterator[list[Row]]:
    """Yield the rows with the columns `added`, `window` of them at a time.

    They are that of the labels and, if there is a second one, of the probabilities.

    Raises
    ------
    InvalidInputError
        If a row has no texts, or has one of the columns already.
    """
    rows = iter(rows)
    while part := list(islice(rows, window)):
        for row in part:
            check_columns(row, source, text_column=text_column)
            _check_new(row, source, added)
        found = _label(model, [row[text_column] for row in part], added, abstain_label)
        yield [{**row, **own} for row, own in zip(part, found)]


def warn_of_header(rows: Iterable[Row], text_column: str) -> Iterator[Row]:
    """Pass lines on, and tell if the first one seems to be the header of a table."""
    for i, row in enumerate(rows):
        if not i and text_column in row[text_column].replace("\t", ",").split(","):
            warnings.warn(
                f"The first line of the input, {row[text_column]!r}, seems to be the header of a "
                "table, and is labelled like a text: pass `--format csv` or `--format tsv`.",
                stacklevel=2,
            )
        yield row


def _check_new(row: Row, source: str, added: Sequence[str]) -> None:
    taken = next((column for column in added if column in row), None)
    if taken is None:
        return
    name = "The input" if source == STANDARD else repr(source)
    fix = "leave out `--probability`, or rename it"
    if taken == added[0]:
        fix = "pass another `--label-column`, e.g. `--label-column predicted`"
    raise InvalidInputError(f"{name} has a column {taken!r} already, which would be lost: {fix}.")


def _label(
    model: Any, texts: list[Any], added: Sequence[str], abstain_label: str | None
) -> Iterator[Row]:
    abstaining = {} if abstain_label is None else {"abstain_label": abstain_label}
    columns: list[Iterable[Any]] = [model.predict_iter(texts, **abstaining)]
    if len(added) > 1:
        columns.append(model.predict_proba(texts).max(axis=1).tolist())
    for values in zip(*columns):
        yield dict(zip(added, values))
