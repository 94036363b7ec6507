"""Lists of records that print as a small table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

#: Rows that are shown, half of them from the end; characters of a cell.
N_ROWS, WIDTH = 20, 50


R = TypeVar("R")


class Records(list[R]):
    """A list of records, such as :class:`Step` or :class:`SyntheticText`, that prints as a table.

    Examples
    --------
    >>> from pgkd.records import Records, SyntheticText
    >>> Records([SyntheticText("my card is late", "card", 1, "1-1", verdict="accepted")])
    step  text             label  source     verdict
    1     my card is late  card   generated  accepted
    """

    def __repr__(self) -> str:
        n_left = len(self) - N_ROWS
        shown = self if n_left <= 0 else [*self[: N_ROWS // 2], *self[-(N_ROWS // 2) :]]
        if not shown:
            return "[]"
        rows = [_find_row(record) for record in shown]
        lines = _align([[*rows[0]], *([*row.values()] for row in rows)])
        if n_left > 0:
            lines.insert(1 + N_ROWS // 2, f"... {n_left} more ...")
        return "\n".join(lines)


def _find_row(record: Any) -> dict[str, str]:
    """Return the columns that a record chooses itself, or all its fields."""
    if hasattr(record, "row"):
        row: dict[str, str] = record.row
        return row
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        name: f"{value:.3f}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


def _align(rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[_shorten(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _shorten(cell: str) -> str:
    """Return what fits in one line of a table; what cannot be printed is written as its code."""
    line = " ".join(cell.split())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
