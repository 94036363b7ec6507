"""A report as a page: one HTML document that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from pgkd.inputs.text import make_valid
from pgkd.records import SyntheticText
from pgkd.reporting.blocks import Bars, Code, Lines, Number, Section, Strong
from pgkd.reporting.sections.texts import name_labels
from pgkd.reporting.wording import SOURCES

#: Texts on a page of the browser of texts, and without JavaScript.
N_TEXTS = 20
#: Shades of a matrix.
N_SHADES = 5


def render_page(title: str, sections: Iterable[Section]) -> str:
    """Write sections as a page.

    The templates escape whatever is not theirs; should a script get in all the same, the page's
    policy does not let it run.

    Parameters
    ----------
    title : str
    sections : iterable of Section

    Returns
    -------
    page : str
    """
    environment = _make_environment()
    style, script = (_read_asset(environment, name) for name in ("page.css", "page.js"))
    page = environment.get_template("page.html").render(
        title=title,
        sections=tuple(sections),
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
    )
    return make_valid(page)


@cache
def _make_environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pgkd.reporting", "html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    for cls in (Code, Strong, Number):
        environment.tests[cls.__name__.lower()] = lambda value, cls=cls: isinstance(value, cls)
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.globals |= {
        "n_texts": N_TEXTS,
        "shade": _shade,
        "tabulate": tabulate_texts,
        "scale_bars": scale_bars,
        "scale_x": scale_x,
        "scale_y": scale_y,
    }
    return environment


def _read_asset(environment: jinja2.Environment, name: str) -> Markup:
    """Return a file of ours, which is not escaped."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _shade(n: int, most: int) -> int:
    """Return how dark a count of a matrix is: 0 for none."""
    return math.ceil(N_SHADES * n / max(most, 1))


def tabulate_texts(texts: Sequence[SyntheticText]) -> dict[str, Any]:
    """Return texts in few bytes: class, verdict, reason, step and source are numbers of names."""
    names: list[dict[str, int]] = [{}, {}, {}, {}, {}]
    rows = []
    for text in texts:
        own = (
            str(name_labels(text.label)),
            text.verdict,
            text.reason or "",
            str(text.cycle),
            SOURCES.get(text.source, text.source),
        )
        numbers = [
            known.setdefault(make_valid(name), len(known)) for known, name in zip(names, own)
        ]
        rows.append([make_valid(text.text), *numbers, round(text.weight, 3)])
    return {"names": [[*known] for known in names], "rows": rows}


class Scale:
    """Puts values between two ends of an axis, with round ticks.

    Parameters
    ----------
    values : iterable of float
    start, end : float
        Where the least and the greatest tick are.
    n_ticks : int, default=5
        About so many.

    Examples
    --------
    >>> from pgkd.reporting.page import Scale
    >>> scale = Scale([0.12, 0.47], start=0, end=100)
    >>> [tick for tick, _ in scale.ticks], scale(0.3)
    (['0.1', '0.2', '0.3', '0.4', '0.5'], 50.0)
    >>> [tick for tick, _ in Scale([0, 2], start=0, end=100).ticks]
    ['0', '1', '2']
    """

    def __init__(self, values: Iterable[float], start: float, end: float, n_ticks: int = 5) -> None:
        known = [*values]
        low, high = min(known), max(known)
        spread = (high - low) or abs(high) or 1.0
        power = 10.0 ** math.floor(math.log10(spread / n_ticks))
        self._step = next(
            power * factor for factor in (1, 2, 5, 10) if power * factor * n_ticks >= spread
        )
        if all(float(value).is_integer() for value in known):  # there is no half step
            self._step = max(self._step, 1.0)
        self._first = math.floor(low / self._step + 1e-9)
        self._last = max(math.ceil(high / self._step - 1e-9), self._first + 1)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (value / self._step - self._first) / (self._last - self._first)
        return round(self._start + share * (self._end - self._start), 1)

    @property
    def ticks(self) -> list[tuple[str, float]]:
        """The label and the place of each tick."""
        values = [self._step * i for i in range(self._first, self._last + 1)]
        return [(f"{value:.10g}", self(value)) for value in values]


def scale_bars(chart: Bars, start: float, end: float) -> Scale:
    """Scale the values of a bar chart and their intervals."""
    ends = (end for bar in chart.bars for end in bar.interval or ())
    return Scale([*chart.limits, *(bar.value for bar in chart.bars), *ends], start, end)


def scale_x(chart: Lines, start: float, end: float) -> Scale:
    """Scale the x of a chart of points; a step is no fraction."""
    values = [0.0, *(point.x for series in chart.series for point in series.points)]
    if chart.is_square:
        values = [0.0, 1.0]
    return Scale(values, start, end, 5)


def scale_y(chart: Lines, start: float, end: float) -> Scale:
    """Scale the y of a chart of points."""
    points = [point for series in chart.series for point in series.points]
    ends = [end for point in points for end in point.interval or ()]
    values = [0.0, 1.0] if chart.is_square else [point.y for point in points] + ends
    return Scale(values, start, end)
