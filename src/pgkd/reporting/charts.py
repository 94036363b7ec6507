"""The charts of a report, whoever draws them: the page as SVG, or `pgkd.plots`."""

from __future__ import annotations

from pgkd.evaluation.calibration import Bin
from pgkd.records import Usage, wilson_interval
from pgkd.reporting.blocks import Bar, Bars, Lines, Point, Series
from pgkd.reporting.findings import Findings
from pgkd.reporting.wording import ROUTES

#: Classes of each end in a chart.
N_ENDS = 8


def chart_ladder(found: Findings) -> Bars:
    """Chart what each route has brought."""
    bars = [
        Bar(ROUTES.get(own.route, own.route), own.gain, f"{own.gain:+.3f}", own.interval)
        for own in found.routes
        if own.gain is not None and own.n_learnt
    ]
    return Bars(
        "Gain by route",
        f"Gain in {found.scoring}, with its 95 % interval.",
        tuple(bars),
    )


def chart_steps(found: Findings) -> Lines:
    """Chart the score after each step, and of those that were not taken."""
    learnt, left = [], []
    for step in found.steps:
        if step.score is None:
            continue
        what, own = f"step {step.number}, {ROUTES.get(step.route, step.route)}", step.comparison
        interval = None
        if own is not None:
            before = step.score - (own.after - own.before if step.taken else 0.0)
            interval = before + own.interval[0], before + own.interval[1]
        if own is not None and not step.taken:
            score = step.score + own.after - own.before  # some of the folds may have turned it down
            text = f"{what}, not taken: {score:.3f}"
            left.append(Point(step.number, score, text, interval))
            interval = None
        text = f"{what}: {step.score:.3f}"
        learnt.append(Point(step.number, step.score, text, interval))
    series = (Series("learnt", tuple(learnt)), Series("not taken", tuple(left), is_joined=False))
    return Lines(
        "Score after each step",
        "Out of fold. An interval (95 %) is that of the difference to the step before.",
        "step",
        found.scoring,
        tuple(own for own in series if own.points),
    )


def chart_gains(found: Findings) -> Bars:
    """Chart the classes that gained or lost most."""
    changed = [own for own in found.gains if own.gain]
    shown = changed
    if len(changed) > 2 * N_ENDS:
        shown = changed[:N_ENDS] + changed[-N_ENDS:]
    return Bars(
        "Classes that changed most",
        "Gain in F1, out of fold.",
        tuple(
            Bar(str(own.label), own.gain, f"{own.before:.2f} → {own.after:.2f}") for own in shown
        ),
    )


def chart_costs(found: Findings) -> Lines:
    """Chart the score against what was spent: US dollars or, where these are not known, tokens."""
    spent = found.rest_of_bill
    is_free = not found.bill.n_requests
    usages = []
    for step in found.steps:
        # The probe is asked before the first batch and after what is free.
        usages.append(step.usage + step.saved)
    total = sum(usages, spent)
    unit = "US dollars" if total.cost else "tokens" if total.tokens else "requests"
    points, so_far, is_probed = [], Usage(), False
    for step, usage in zip(found.steps, usages):
        if usage.n_requests and not is_probed:
            so_far, is_probed = so_far + spent, True
        so_far += usage
        if step.score is None:
            continue
        x = {"US dollars": so_far.cost or 0.0, "tokens": so_far.tokens}.get(unit, so_far.n_requests)
        what = f"step {step.number}, {ROUTES.get(step.route, step.route)}"
        points.append(Point(x, step.score, f"{what}: {step.score:.3f} for {x:,.4g} {unit}"))
    return Lines(
        "Score against cost",
        f"What is learnt after each step, and the {unit} spent until then, the probe among them.",
        unit,
        found.scoring,
        () if is_free or not points else (Series("learnt", tuple(points)),),
    )


def chart_reliability(found: Findings) -> Lines:
    """Chart how often the student is right, by how sure it is: a reliability diagram."""
    own = found.calibration
    series: tuple[Series, ...] = ()
    if own is not None and own.bins_before:
        before = Series("the student's own", _list_points(own.bins_before))
        after = Series(f"with temperature {own.fitted:.3g}", _list_points(own.bins_after))
        series = (before, after)
    return Lines(
        "Reliability diagram",
        "On the diagonal, the student is right as often as it says. Each point is a bin of texts, "
        "with its 95 % interval.",
        "probability",
        "share of right labels",
        series,
        is_square=True,
    )


def _list_points(bins: tuple[Bin, ...]) -> tuple[Point, ...]:
    return tuple(
        Point(
            own.confidence,
            own.accuracy,
            f"{own.n_texts} texts at {own.confidence:.2f}: {own.accuracy:.2f} right",
            wilson_interval(round(own.accuracy * own.n_texts), own.n_texts),
        )
        for own in bins
    )


def chart_probe(found: Findings) -> Bars:
    """Chart how often teacher and student are right on what the student is least sure of."""
    own = found.probe
    bars: tuple[Bar, ...] = ()
    if own is not None:
        counts = {
            "teacher": own.n_teacher,
            "student": own.n_student,
            "both together": own.n_fused,
        }
        bars = tuple(
            Bar(name, n / own.n_texts, f"{n} of {own.n_texts}", wilson_interval(n, own.n_texts))
            for name, n in counts.items()
        )
    return Bars(
        "Who is right on the hard texts",
        "Share of right labels, with its 95 % interval.",
        bars,
        limits=(0.0, 1.0),
    )
