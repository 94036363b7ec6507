"""What the student is good at: class by class, its mistakes, its probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from pgkd.evaluation.calibration import MIN_TEXTS
from pgkd.records import Label, Step
from pgkd.reporting import charts
from pgkd.reporting.blocks import (
    Block,
    Code,
    Matrix,
    Number,
    Paragraph,
    Strong,
    Table,
)
from pgkd.reporting.findings import Findings
from pgkd.reporting.sections.values import count, say

#: Classes of each end, and confusions, that are shown where a table cannot be searched.
N_CLASSES, N_CONFUSIONS = 5, 10
#: More classes are no matrix that can be read.
MAX_MATRIX = 12


def say_gains(found: Findings) -> Iterator[Block]:
    """Say which classes gained and lost."""
    if found.lone_classes:
        yield _say_lone(found.lone_classes)
    n_up = sum(own.gain > 0 for own in found.gains)
    n_down = sum(own.gain < 0 for own in found.gains)
    if not n_up and not n_down:
        return
    yield say(
        f"F1 out of fold, against the labelled texts alone: {n_up} classes gained, {n_down} lost, "
        f"{len(found.gains) - n_up - n_down} stayed the same. With few texts a class, much of that "
        "is chance."
    )
    yield charts.chart_gains(found)
    rows = tuple(
        (
            Code(own.label),
            Number(f"{own.before:.4f}", own.before),
            Number(f"{own.after:.4f}", own.after),
            Number(f"{own.gain:+.4f}", own.gain),
            count(own.support),
        )
        for own in found.gains
    )
    columns = ("class", "before", "after", "gain", "labelled texts")
    yield Table("F1 of each class", columns, rows, (N_CLASSES, N_CLASSES), "report.gains")


def _say_lone(labels: tuple[Label, ...]) -> Paragraph:
    """Say of which classes nothing is known."""
    named: list[str] = []
    for label in labels[:N_CLASSES]:
        named += [", " if named else "", Code(label)]
    more = len(labels) - N_CLASSES
    return say(
        *named,
        f" and {more} more have" if more > 0 else " have" if len(labels) > 1 else " has",
        " a single labelled text each" if len(labels) > 1 else " a single labelled text",
        ". A student that is judged by it has learnt no text of the class, so that nothing can "
        "judge the class. Label more of its texts.",
    )


def say_confusions(found: Findings) -> Iterator[Block]:
    """Say which classes are taken for each other, before and after."""
    if not found.confusions:
        return
    before, after = (sum(getattr(c, w) for c in found.confusions) for w in ("before", "after"))
    what = "Labels missed with another one given" if found.is_multilabel else "Wrong labels"
    yield say(
        f"{what}, out of fold: {before} with the labelled texts alone, {after} with all that was "
        "learnt."
    )
    rows = tuple(
        (Code(own.label), Code(own.predicted), count(own.before), count(own.after))
        for own in found.confusions
    )
    columns = ("true class", "taken for", "before", "after")
    yield Table("Confusions", columns, rows, (N_CONFUSIONS, 0), "report.confusions")
    if len(found.classes) <= MAX_MATRIX and not found.is_multilabel:
        for step, when in ((found.steps[0], "Before"), (found.steps[-1], "After")):
            yield _make_matrix(step, when)


def _make_matrix(step: Step, when: str) -> Matrix:
    assert step.report is not None  # or nothing would be known to be confused
    scores, confusions = step.report.classes, step.report.confusions
    right = {label: round(own.recall * own.support) for label, own in scores.items()}
    return Matrix(
        f"{when}: labelled texts of each class (row) and what they are taken for (column)",
        tuple(map(str, scores)),
        tuple(
            tuple(right[a] if a == b else confusions.get((a, b), 0) for b in scores) for a in scores
        ),
    )


def say_probabilities(found: Findings) -> Iterator[Block]:
    """Say what the probabilities are worth."""
    own = found.calibration
    if own is None:
        yield say(
            "They are the student's own: not calibrated, by ",
            Code("calibrate=False"),
            f" or for want of {MIN_TEXTS} labelled texts.",
        )
    else:
        yield say(
            "Of texts with a ",
            Strong("calibrated"),
            " probability of 0.8, eight in ten are labelled rightly. A ",
            Strong("temperature"),
            " brings the student closer to that: above 1 it makes all probabilities less extreme, "
            "below 1 more so. The labels stay the same. The ",
            Strong("log loss"),
            " is low if true labels have high probabilities.",
        )
        yield say(own.verdict)
        chart = charts.chart_reliability(found)
        if chart.series:
            yield chart
        pairs = {
            "log loss": (own.log_loss_before, own.log_loss_after),
            "expected calibration error": (own.ece_before, own.ece_after),
        }
        rows = tuple(
            (name, Number(f"{before:.4f}", before), Number(f"{after:.4f}", after))
            for name, (before, after) in pairs.items()
        )
        columns = ("measure, less is better", "temperature 1", f"temperature {own.fitted:.3g}")
        yield Table("Calibration", columns, rows)
        yield say(
            "The expected calibration error is by how much the student's probability and the share "
            f"of right labels differ, on average. {own.caution}"
        )
    if found.abstention is not None:
        yield say(str(found.abstention))
