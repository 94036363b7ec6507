"""Lists of records that print as a small table."""

from __future__ import annotations

import html
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
        lines = _align(self._list_rows()) or ["[]"]
        if self._n_left:
            lines.insert(1 + N_ROWS // 2, f"... {self._n_left} more ...")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the table in a notebook, with what an output is too narrow for."""
        if not self:
            return "[]"
        return write_table(self._list_rows(), self._n_left)

    @property
    def _n_left(self) -> int:
        return max(len(self) - N_ROWS, 0)

    def _list_rows(self) -> list[list[str]]:
        """Return the names of the columns, and the cells of the records that are shown."""
        shown = [*self[: N_ROWS // 2], *self[-(N_ROWS // 2) :]] if self._n_left else self
        rows = [_find_row(record) for record in shown]
        return [[*rows[0]], *([*row.values()] for row in rows)] if rows else []


def write_table(rows: Sequence[Sequence[str]], n_left: int = 0) -> str:
    """Write rows, the first of them the head, as a notebook's table; `n_left` are left out."""
    head, *others = ([html.escape(cell) for cell in map(_clean, cells)] for cells in rows)
    left = 'style="text-align:left"'  # notebooks set cells right
    lines = ["".join(f"<td {left}>{cell}</td>" for cell in cells) for cells in others]
    if n_left:
        more = f'<td {left} colspan="{len(head)}">... {n_left} more ...</td>'
        lines.insert(N_ROWS // 2, more)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    names = "".join(f'<th {left} scope="col">{name}</th>' for name in head)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


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


def _clean(cell: str) -> str:
    """Return a cell in one line; what cannot be printed is written as its code."""
    line = " ".join(cell.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _shorten(cell: str) -> str:
    text = _clean(cell)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
