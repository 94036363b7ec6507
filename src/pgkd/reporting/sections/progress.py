"""What the teacher is good for, and what each route and step brought."""

from __future__ import annotations

from collections.abc import Iterator

from pgkd.records import Step
from pgkd.reporting import charts
from pgkd.reporting.blocks import (
    Block,
    Cell,
    Number,
    Strong,
)
from pgkd.reporting.findings import Findings
from pgkd.reporting.sections.values import count, dollars, say, share, signed, tabulate
from pgkd.reporting.wording import ROUTES


def say_teacher(found: Findings) -> Iterator[Block]:
    """Say what the probe found."""
    probe = found.probe
    if probe is None:
        return
    yield say(probe.verdict)
    how = "labels and probabilities" if probe.has_probabilities else "labels alone"
    line = f"It answered with {how}."
    if probe.usage.n_requests:
        line += f" That took {probe.usage.told}."
    if probe.weight:
        line += (
            f" Where both opinions are put together, the teacher's has weight {probe.weight:g}, "
            "and the student's has weight 1."
        )
    yield say(line)
    yield charts.chart_probe(found)


def say_ladder(found: Findings) -> Iterator[Block]:
    """Say what each route brought, also per dollar."""
    if not found.routes:
        return
    yield say(
        "A ",
        Strong("route"),
        " is a way by which texts reach the student; the free ones come first. The gain is the "
        f"sum over the steps that were taken, in {found.scoring}, with its 95 % interval.",
    )
    chart = charts.chart_ladder(found)
    if any(bar.value for bar in chart.bars):
        yield chart
    rows = []
    for own in found.routes:
        gain: Cell = "not judged"
        if own.gain is not None and not own.n_learnt:
            gain = "not taken"
        elif own.gain is not None and own.interval is not None:
            low, high = own.interval
            gain = Number(f"{own.gain:+.3f} ({low:+.3f} to {high:+.3f})", own.gain)
        bill = own.usage + own.saved
        per_tokens = 1e6 * own.gain / bill.tokens if own.gain is not None and bill.tokens else None
        rows.append(
            (
                ROUTES.get(own.route, own.route),
                count(own.n_learnt),
                gain,
                dollars(bill) if bill.n_requests else None,
                signed(own.gain_per_dollar, 3),
                signed(per_tokens, 2),
            )
        )
    columns = ("route", "texts learnt", "gain (95 %)", "US dollars", "gain per US dollar")
    yield tabulate("Routes", (*columns, "gain per million tokens"), tuple(rows))


def say_steps(found: Findings) -> Iterator[Block]:
    """Say what each step brought and took."""
    yield say(
        "A ",
        Strong("step"),
        f" is one batch of a route. The measured gain is that of {found.scoring} over the "
        "training set before the step; on few texts it may be chance. The expected gain weighs it "
        "together with the log loss, in which every text counts, and is drawn towards 0. A step "
        "is taken if its expected gain is above 0. Its texts have that weight in training, "
        "against 1 for a labelled one.",
    )
    if found.comparison is not None:
        yield charts.chart_steps(found)
    gains = ("measured gain (95 %)", "expected gain")
    columns = ("step", "route", f"{found.scoring} after it", *gains, "weight")
    rows = tuple(_list_results(step) for step in found.steps)
    yield tabulate("What each step brought", columns, rows)
    labelled = found.labelled_diversity
    beside = f" (labelled texts: {labelled.similarity:.2f})" if labelled else ""
    yield say(
        "Texts that could be read and are no copies are fit to learn. Similarity is that of the "
        "texts of a class to each other: a teacher that repeats itself has a high "
        f"one{beside}. Macro F1 is the mean over the classes of F1, which is high if few texts of "
        "a class are missed and few others are taken for it. A text whose class no other labelled "
        "text has is a mistake here; above it is credited with a guess."
    )
    measured = ("step", "accuracy", "macro F1", "asked", "fit to learn", "similarity", "tokens")
    rows = tuple(_list_costs(step) for step in found.steps)
    yield tabulate("What each step took", (*measured, "US dollars", "seconds"), rows)


def _list_results(step: Step) -> tuple[Cell, ...]:
    own, first = step.comparison, not step.number
    gain: Cell = None
    if own is not None:
        low, high = own.interval
        gain = Number(
            f"{own.after - own.before:+.3f} ({low:+.3f} to {high:+.3f})", own.after - own.before
        )
    return (
        count(step.number),
        ROUTES.get(step.route, step.route),
        share(step.score),
        gain,
        None if own is None else signed(own.gain, 3),
        None if first else Number(f"{step.factor:g}" if step.taken else "not taken", step.factor),
    )


def _list_costs(step: Step) -> tuple[Cell, ...]:
    report = step.report
    return (
        count(step.number),
        share(report.accuracy if report else None),
        share(report.f1_macro if report else None),
        count(step.n_requested) if step.n_requested else None,
        count(step.n_accepted) if step.number else None,
        Number(f"{step.diversity.similarity:.2f}", step.diversity.similarity)
        if step.diversity
        else None,
        count(step.usage.tokens) if step.usage.n_requests else None,
        dollars(step.usage) if step.usage.n_requests else None,
        Number(f"{step.seconds:.1f}", step.seconds),
    )
