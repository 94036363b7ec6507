"""Plots of a run, as scikit-learn has them: each display has ``from_estimator`` and ``plot``.

They need matplotlib (``pip install "pgkd[plot]"``). What they show is in ``clf.report()`` as well.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from sklearn.utils.validation import check_is_fitted

from pgkd.exceptions import InvalidInputError
from pgkd.reporting import charts
from pgkd.reporting.blocks import Bars, Lines

D = TypeVar("D", bound="RunDisplay")

#: Of a gain or what was learnt, and of a loss or what was not; told apart by the colour-blind too.
COLORS = ("#1a5fb4", "#a8431f")


class RunDisplay:
    """Base of the displays.

    Parameters
    ----------
    chart : Bars or Lines
        What is drawn, see :mod:`pgkd.reporting.blocks`.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    _chart: ClassVar[Any]  # of `pgkd.reporting.charts`

    def __init__(self, chart: Bars | Lines) -> None:
        self.chart = chart

    @classmethod
    def from_estimator(cls: type[D], estimator: Any, *, ax: Any = None) -> D:
        """Plot a fitted classifier.

        Parameters
        ----------
        estimator : PGKDClassifier
            Fitted.
        ax : matplotlib Axes, default=None
            Where to draw; ``None``: in a new figure.

        Returns
        -------
        display : the display, drawn

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            If the run has nothing of the kind, such as a gain without labelled texts.
        ImportError
            Without matplotlib.
        """
        check_is_fitted(estimator)
        return cls(cls._chart(estimator.report())).plot(ax=ax)

    def plot(self: D, *, ax: Any = None) -> D:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None

        Returns
        -------
        self : the display, with ``ax_`` and ``figure_``
        """
        chart = self.chart
        if not (chart.bars if isinstance(chart, Bars) else chart.series):
            raise InvalidInputError(
                f"There is nothing to draw as {type(self).__name__}: the run has no "
                f"{chart.title.lower()}. `print(clf.report())` says what it has."
            )
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError as error:
                raise ImportError(
                    f'{type(self).__name__} needs matplotlib: pip install "pgkd[plot]".'
                ) from error
            _, ax = pyplot.subplots(layout="constrained")
        if isinstance(chart, Bars):
            _draw_bars(chart, ax)
        else:
            _draw_lines(chart, ax)
        ax.set_title(chart.title)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _draw_bars(chart: Bars, ax: Any) -> None:
    places = range(len(chart.bars))
    values = [bar.value for bar in chart.bars]
    ax.barh(places, values, color=[COLORS[value < 0] for value in values], alpha=0.8)
    for place, bar in zip(places, chart.bars):
        if bar.interval:
            ax.plot(bar.interval, [place, place], color="black", linewidth=1, marker="|")
    # A name is no formula, whatever dollars it has.
    ax.set_yticks(places, [bar.name.replace("$", r"\$") for bar in chart.bars])
    ax.invert_yaxis()
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlabel(chart.caption.rstrip("."))
    if len(chart.limits) > 1:
        ax.set_xlim(*chart.limits)


def _draw_lines(chart: Lines, ax: Any) -> None:
    for i, series in enumerate(chart.series):
        color = COLORS[i % len(COLORS)]
        x, y = [point.x for point in series.points], [point.y for point in series.points]
        ax.plot(x, y, "o-" if series.is_joined else "x", color=color, label=series.name)
        if all(float(value).is_integer() for value in x):  # there is no half step
            ax.xaxis.get_major_locator().set_params(integer=True)
        for point in series.points:
            if point.interval:
                ax.plot([point.x, point.x], point.interval, color=color, linewidth=1, alpha=0.5)
    if chart.is_square:
        ax.plot([0, 1], [0, 1], ":", color="gray", label="calibrated")
        ax.set_aspect("equal")
    ax.set(xlabel=chart.x_name, ylabel=chart.y_name)
    if len(chart.series) > 1 or chart.is_square:
        ax.legend()


class LadderDisplay(RunDisplay):
    """What the names, the unlabelled texts and each route of the teacher brought.

    The bars are the gains in `scoring`, out of fold, with their 95 % intervals.

    Examples
    --------
    >>> from pgkd.plots import LadderDisplay
    >>> LadderDisplay.from_estimator(clf).figure_.savefig("ladder.png")  # doctest: +SKIP
    """

    _chart = staticmethod(charts.chart_ladder)


class CyclesDisplay(RunDisplay):
    """The score after each step, and that of the steps that were not taken."""

    _chart = staticmethod(charts.chart_steps)


class ClassGainDisplay(RunDisplay):
    """The classes whose F1 has risen and fallen most, out of fold."""

    _chart = staticmethod(charts.chart_gains)


class CostDisplay(RunDisplay):
    """The score against what was spent until then: US dollars or, without prices, tokens."""

    _chart = staticmethod(charts.chart_costs)


class ReliabilityDisplay(RunDisplay):
    """How often the student is right by how sure it is, before and after temperature scaling.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599
    """

    _chart = staticmethod(charts.chart_reliability)
