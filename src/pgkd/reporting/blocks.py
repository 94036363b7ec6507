"""What a report is made of, whatever it is written in: sections of paragraphs, tables, charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pgkd.records import SyntheticText


class Code(str):
    """What a teacher or a user wrote, or a name: nothing in it is markup."""


class Strong(str):
    """What is not to be overlooked."""


@dataclass(frozen=True)
class Number:
    """A number as it is printed, and by what it is sorted."""

    text: str
    value: float


Words: TypeAlias = tuple[str, ...]
Cell: TypeAlias = "str | Number | None"


@dataclass(frozen=True)
class Paragraph:
    """Pieces of text, some of which are `Code` or `Strong`."""

    words: Words


@dataclass(frozen=True)
class Figures:
    """What is to be seen first: a name, a figure and a note each."""

    items: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    caption : str
    columns : tuple of str
    rows : tuple of tuples of Cell
    ends : tuple of (int, int) or None
        Rows of the start and of the end that are shown where a table cannot be searched; ``None``:
        all.
    source : str
        Where all rows are, in Python.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    ends: tuple[int, int] | None = None
    source: str = ""

    @property
    def is_long(self) -> bool:
        """Whether it is shown in part, or searched and sorted."""
        return self.ends is not None


@dataclass(frozen=True)
class Matrix:
    """How many texts of a class (row) were taken for which (column)."""

    caption: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Items:
    """A statement with some of its examples, and how many more there are."""

    words: Words
    items: tuple[Words, ...]
    more: Words = ()


@dataclass(frozen=True)
class Texts:
    """All texts beside the labelled ones, to be looked through."""

    texts: Sequence[SyntheticText]


@dataclass(frozen=True)
class Bar:
    """A value with the interval that it may be in, if that is known."""

    name: str
    value: float
    text: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bars:
    """A bar chart.

    Attributes
    ----------
    title, caption : str
    bars : tuple of Bar
    limits : tuple of float
        What the axis shows at least.
    """

    title: str
    caption: str
    bars: tuple[Bar, ...]
    limits: tuple[float, ...] = (0.0,)


@dataclass(frozen=True)
class Point:
    """A point, with the interval of `y` if that is known."""

    x: float
    y: float
    text: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Series:
    """Points of one kind: joined by a line, or crosses."""

    name: str
    points: tuple[Point, ...]
    is_joined: bool = True


@dataclass(frozen=True)
class Lines:
    """A chart of points.

    Attributes
    ----------
    title, caption, x_name, y_name : str
    series : tuple of Series
    is_square : bool
        Whether both axes go from 0 to 1, with the diagonal drawn.
    """

    title: str
    caption: str
    x_name: str
    y_name: str
    series: tuple[Series, ...]
    is_square: bool = False


Block: TypeAlias = "Paragraph | Figures | Table | Matrix | Items | Texts | Bars | Lines"


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading; `name` is its address in the page."""

    name: str
    title: str
    blocks: tuple[Block, ...]
