"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pgkd.inputs.text import as_code
from pgkd.reporting.blocks import (
    Block,
    Code,
    Figures,
    Items,
    Number,
    Paragraph,
    Section,
    Strong,
    Table,
    Words,
)


def render(title: str, sections: Iterable[Section]) -> str:
    """Write sections as Markdown; charts, and texts to be looked through, are left out."""
    parts = [f"# {title}"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += (part for block in section.blocks for part in _render_block(block))
    return "\n\n".join(parts) + "\n"


def _render_block(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield _write(block.words)
    elif isinstance(block, Figures):
        yield _table(*zip(*((name, f"{figure}: {note}") for name, figure, note in block.items)))
    elif isinstance(block, Table):
        yield from _render_table(block)
    elif isinstance(block, Items):
        lines = [_write(block.words), ""]
        lines += [f"- {_write(item)}" for item in (*block.items, block.more) if item]
        yield "\n".join(lines).strip()


def _render_table(table: Table) -> Iterator[str]:
    rows = table.rows
    if table.ends is not None and len(rows) > sum(table.ends):
        start, end = table.ends
        rows = rows[:start] + rows[len(rows) - end :]
    yield _table(table.columns, *rows)
    if len(rows) < len(table.rows):
        yield f"All {len(table.rows)}: `{table.source}`."


def _table(header: Sequence[Any], *rows: Sequence[Any]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value.text if isinstance(value, Number) else _write((value,))
    return text.replace("|", "\\|")


def _write(words: Words) -> str:
    return "".join(_mark(word) for word in words)


def _mark(word: str) -> str:
    if isinstance(word, Code):
        return as_code(word)
    if isinstance(word, Strong):
        return f"**{word.strip()}**{' ' * word.endswith(' ')}"
    return word.replace("<", "&lt;")  # as in the name of a lambda
