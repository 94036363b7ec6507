"""How words and values are written."""

from __future__ import annotations

from pgkd.records import Usage
from pgkd.reporting.blocks import Cell, Code, Number, Paragraph, Table, Words


def say(*words: str) -> Paragraph:
    """Make a paragraph."""
    return Paragraph(words)


def quote(names: dict[str, str], name: str) -> Words:
    """Return a sentence of the dictionary, with what stands in backticks as code."""
    pieces = names.get(name, name).split("`")
    return tuple(Code(piece) if i % 2 else piece for i, piece in enumerate(pieces) if piece)


def tabulate(caption: str, columns: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...]) -> Table:
    """Make a table of the columns that have something to show."""
    shown = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    return Table(
        caption,
        tuple(columns[i] for i in shown),
        tuple(tuple(row[i] for i in shown) for row in rows),
    )


def count(n: int) -> Number:
    """Write a whole number."""
    return Number(str(n), n)


def share(value: float | None) -> Number | None:
    """Write a score or a share."""
    return None if value is None else Number(f"{value:.3f}", value)


def signed(value: float | None, digits: int) -> Number | None:
    """Write a difference."""
    return None if value is None else Number(f"{value:+.{digits}f}", value)


def dollars(usage: Usage) -> Cell:
    """Write what was spent."""
    return usage.dollars if usage.cost is None else Number(usage.dollars, usage.cost)
