"""What a report says, section by section. Markdown and the page are two ways to write it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgkd.evaluation.calibration import MIN_TEXTS
from pgkd.records import Comparison, Step, Usage, labels_of
from pgkd.reporting import charts
from pgkd.reporting.blocks import (
    Block,
    Cell,
    Code,
    Figures,
    Items,
    Matrix,
    Number,
    Paragraph,
    Section,
    Strong,
    Table,
    Texts,
    Words,
)
from pgkd.reporting.findings import Findings
from pgkd.reporting.sums import Loss
from pgkd.reporting.wording import REASONS, ROUTES, STOP_REASONS

#: Texts shown of each reason, classes of each end, and confusions.
N_SHOWN, N_CLASSES, N_CONFUSIONS = 3, 5, 10
#: More classes are no matrix that can be read.
MAX_MATRIX = 12


def write_sections(found: Findings) -> tuple[Section, ...]:
    """Say all that there is to say."""
    parts = {
        ("worth", "What was it worth?"): _say_worth(found),
        ("teacher", "What the teacher is good for"): _say_teacher(found),
        ("ladder", "Ladder: what each route brought"): _say_ladder(found),
        ("steps", "Steps"): _say_steps(found),
        ("classes", "Gain by class"): _say_gains(found),
        ("confusions", "What is mistaken for what"): _say_confusions(found),
        ("probabilities", "Probabilities"): _say_probabilities(found),
        ("texts", "Texts: what was learnt, and what was not"): _say_texts(found),
        ("usage", "Usage"): _say_usage(found),
    }
    sections = (Section(*head, tuple(blocks)) for head, blocks in parts.items())
    return tuple(section for section in sections if section.blocks)


# What it was worth


def _say_worth(found: Findings) -> Iterator[Block]:
    comparison = found.comparison
    yield Figures(tuple(_list_figures(found)))
    yield _say(Strong("What to do: "), *_advise(found))
    yield Paragraph(_describe(comparison))
    if found.is_optimistic and comparison is not None:
        yield _say(
            Strong("That is optimistic"),
            ": with ",
            Code("feedback='validation'"),
            " the teacher was shown how the student does on these very texts. Test the student on "
            "others.",
        )
    yield _say("The run stopped because ", *_quote(STOP_REASONS, found.stop_reason), ".")
    if found.n_refitted is not None:
        yield _say(
            Strong(
                f"Since then refit has trained student_ on {found.n_refitted} of the "
                f"{len(found.texts)} texts beside the labelled ones."
            ),
            " This report is about ",
            Code("fit"),
            ".",
        )


def _describe(comparison: Comparison | None) -> Words:
    """Say what was gained, in words."""
    if comparison is None:
        return (
            Strong("Nothing vouches for this student"),
            ": there were too few labelled texts to test it. "
            "With 40 labelled texts, drawn at random, you know its accuracy to within 15 points; "
            "with 100, to within 10; with 400, to within 5.",
        )
    what = (
        f"On {comparison.n_texts} labelled texts, each predicted by a student that had not learnt "
        "it (",
        Strong("out of fold"),
        "), ",
        Code(comparison.scoring),
        f" is {comparison.after:.3f}; with the labelled texts alone it is {comparison.before:.3f}.",
    )
    if not _has_changed(comparison):
        return (
            *what,
            " Nothing was found to help: ",
            Code("student_"),
            " has learnt the labelled texts alone.",
        )
    return (
        *what,
        f" The difference is {comparison.difference}; the interval says how far chance may have "
        "moved it, as other texts might have been labelled. The same texts have chosen what is "
        "learnt, which flatters it a little.",
    )


def _has_changed(comparison: Comparison) -> bool:
    return comparison.after != comparison.before or bool(comparison.log_loss_gain)


def _list_figures(found: Findings) -> Iterator[tuple[str, str, str]]:
    own = found.comparison
    if own is not None:
        yield "labelled texts alone", f"{own.before:.3f}", f"{own.scoring}, the baseline"
        yield "with all that was learnt", f"{own.after:.3f}", own.scoring
        low, high = own.interval
        yield "gain", f"{own.after - own.before:+.3f}", f"95 %: {low:+.3f} to {high:+.3f}"
    n_learnt = len(found.texts) - len(found.rejected)
    yield "texts learnt", f"{n_learnt}", f"beside {found.n_labelled} labelled ones"
    yield "US dollars", found.usage.dollars, f"for {found.usage.n_requests} requests"


def _advise(found: Findings) -> Iterator[str]:
    """Say what follows from it."""
    own = found.comparison
    if own is None:
        yield "label some texts, drawn at random, and test the student before you rely on it."
        return
    if not _has_changed(own):
        yield "keep the student of the labelled texts alone; more labelled texts"
        yield ", or another teacher," if found.usage.n_requests else ", or a teacher,"
        yield " may bring more."
        return
    if own.interval[0] > 0:
        yield "use this student. What it has learnt helps, and that is hardly luck."
    elif own.after > own.before:
        yield "use this student, but do not count on the gain: on so few labelled texts it may be "
        yield "luck. Label more to find out."
    else:
        yield "use this student for its probabilities: the log loss falls by "
        yield f"{own.log_loss_gain:.3f} nats a text. In "
        yield Code(own.scoring)
        yield " nothing was gained."
    last = found.steps[-1]
    if last.taken and last.usage.n_requests and found.stop_reason in ("max_cycles", "budget"):
        yield " The last batch still helped, so that a larger "
        yield Code("max_cycles" if found.stop_reason == "max_cycles" else "max_cost")
        yield " may bring more."


# Teacher, routes, steps


def _say_teacher(found: Findings) -> Iterator[Block]:
    probe = found.probe
    if probe is None:
        return
    yield _say(probe.verdict)
    how = "with probabilities" if probe.has_probabilities else "without probabilities"
    line = f"It labelled them {how}, which took {probe.usage.dollars} US dollars."
    if probe.weight:
        line += f" Beside the student's opinion, its own has weight {probe.weight:g}."
    yield _say(line)
    yield charts.chart_probe(found)


def _say_ladder(found: Findings) -> Iterator[Block]:
    if not found.routes:
        return
    yield _say(
        "A ",
        Strong("route"),
        " is a way by which texts reach the student; the free ones come first. The gain is the "
        f"sum over the steps that were taken, in {found.scoring}, with its 95 % interval.",
    )
    chart = charts.chart_ladder(found)
    if chart.bars:
        yield chart
    rows = []
    for own in found.routes:
        gain: Cell = "not judged"
        if own.gain is not None and own.interval is not None:
            low, high = own.interval
            gain = Number(f"{own.gain:+.3f} ({low:+.3f} to {high:+.3f})", own.gain)
        tokens = (own.usage + own.saved).tokens
        per_tokens = 1e6 * own.gain / tokens if own.gain is not None and tokens else None
        rows.append(
            (
                ROUTES.get(own.route, own.route),
                _count(own.n_learnt),
                gain,
                _dollars(own.usage),
                _signed(own.gain_per_dollar, 3),
                _signed(per_tokens, 2),
            )
        )
    columns = ("route", "texts learnt", "gain (95 %)", "US dollars", "gain per US dollar")
    yield Table("Routes", (*columns, "gain per million tokens"), tuple(rows))


def _say_steps(found: Findings) -> Iterator[Block]:
    yield _say(
        "A ",
        Strong("step"),
        " is one batch of a route. The gain is over the training set before the step; a step is "
        "taken if it is expected to help.",
    )
    if found.comparison is not None:
        yield charts.chart_steps(found)
    columns = ("step", "route", f"{found.scoring} after it", "gain (95 %)", "taken", "weight")
    rows = tuple(_list_results(step) for step in found.steps)
    yield Table("What each step brought", columns, rows)
    labelled = found.labelled_diversity
    beside = f" (labelled texts: {labelled.similarity:.2f})" if labelled else ""
    yield _say(
        "Similarity is that of the texts of a class to each other: a teacher that repeats itself "
        f"has a high one{beside}. Macro F1 is the mean over the classes of F1, which is high if "
        "few texts of a class are missed and few others are taken for it."
    )
    columns = ("step", "accuracy", "macro F1", "asked", "fit to learn", "similarity", "tokens")
    rows = tuple(_list_costs(step) for step in found.steps)
    yield Table("What each step took", (*columns, "US dollars", "seconds"), rows)


def _list_results(step: Step) -> tuple[Cell, ...]:
    own, first = step.comparison, not step.number
    gain: Cell = None
    if own is not None:
        low, high = own.interval
        gain = Number(
            f"{own.after - own.before:+.3f} ({low:+.3f} to {high:+.3f})", own.after - own.before
        )
    return (
        _count(step.number),
        ROUTES.get(step.route, step.route),
        _share(step.score),
        gain,
        None if first else "yes" if step.taken else "no",
        None if first else Number(f"{step.factor:g}", step.factor),
    )


def _list_costs(step: Step) -> tuple[Cell, ...]:
    report = step.report
    return (
        _count(step.number),
        _share(report.accuracy if report else None),
        _share(report.f1_macro if report else None),
        _count(step.n_requested) if step.n_requested else None,
        _count(step.n_accepted),
        Number(f"{step.diversity.similarity:.2f}", step.diversity.similarity)
        if step.diversity
        else None,
        _count(step.usage.tokens),
        _dollars(step.usage),
        Number(f"{step.seconds:.1f}", step.seconds),
    )


# Classes


def _say_gains(found: Findings) -> Iterator[Block]:
    n_up = sum(own.gain > 0 for own in found.gains)
    n_down = sum(own.gain < 0 for own in found.gains)
    if not n_up and not n_down:
        return
    yield _say(
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
            _count(own.support),
        )
        for own in found.gains
    )
    columns = ("class", "before", "after", "gain", "labelled texts")
    yield Table("F1 of each class", columns, rows, (N_CLASSES, N_CLASSES), "report.gains")


def _say_confusions(found: Findings) -> Iterator[Block]:
    if not found.confusions:
        return
    before, after = (sum(getattr(c, w) for c in found.confusions) for w in ("before", "after"))
    what = "Labels missed with another one given" if found.is_multilabel else "Wrong labels"
    yield _say(
        f"{what}, out of fold: {before} with the labelled texts alone, {after} with all that was "
        "learnt."
    )
    rows = tuple(
        (Code(own.label), Code(own.predicted), _count(own.before), _count(own.after))
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


# Probabilities


def _say_probabilities(found: Findings) -> Iterator[Block]:
    own = found.calibration
    if own is None:
        yield _say(
            "They are the student's own: not calibrated, by ",
            Code("calibrate=False"),
            f" or for want of {MIN_TEXTS} labelled texts.",
        )
    else:
        yield _say(own.verdict)
        chart = charts.chart_reliability(found)
        if chart.series:
            yield chart
        pairs = {
            "log loss": (own.log_loss_before, own.log_loss_after),
            "expected calibration error": (own.ece_before, own.ece_after),
        }
        rows = tuple(
            (name, *(Number(f"{value:.4f}", value) for value in pair))
            for name, pair in pairs.items()
        )
        columns = ("measure, less is better", "temperature 1", f"temperature {own.fitted:.3g}")
        yield Table("Calibration", columns, rows)
        yield _say(
            "The expected calibration error is by how much the student's probability and the share "
            f"of right labels differ, on average. {own.caution}"
        )
    if found.abstention is not None:
        yield _say(str(found.abstention))


# Texts and the bill


def _say_texts(found: Findings) -> Iterator[Block]:
    rejected = found.rejected
    yield _say(
        f"Of {len(found.texts)} texts beside the labelled ones, "
        f"{len(found.texts) - len(rejected)} are learnt and {len(rejected)} are not. Each of "
        "these, with its reason, is in ",
        Code("report.rejected"),
        ".",
    )
    groups: dict[tuple[str, str], list[Loss]] = {}
    for loss in found.losses:
        groups.setdefault((loss.verdict, loss.reason), []).append(loss)
    for (verdict, reason), own in sorted(groups.items(), key=lambda item: -_sum(item[1])):
        where = ", ".join(f"{loss.n} in step {loss.step}" for loss in own)
        explained = f". That is: {REASONS[reason]}" if reason in REASONS else ""
        texts = [t for t in rejected if (t.verdict, str(t.reason)) == (verdict, reason)]
        items = tuple((Code(t.text), " as ", name_labels(t.label)) for t in texts[:N_SHOWN])
        n_more = len(texts) - N_SHOWN
        yield Items(
            (Strong(f"{verdict}: {reason}"), f" ({where}){explained}."),
            items,
            (f"and {n_more} more in ", Code("report.rejected")) if n_more > 0 else (),
        )
    if found.texts:
        yield Texts(found.texts)


def name_labels(label: object) -> Code:
    """Name the classes of a text."""
    return Code(", ".join(map(str, labels_of(label))) or "none")


def _sum(losses: Sequence[Loss]) -> int:
    return sum(loss.n for loss in losses)


def _say_usage(found: Findings) -> Iterator[Block]:
    usage = found.usage
    line = str(usage)
    n_accepted = len(found.texts) - len(found.rejected)
    if usage.cost and n_accepted:
        line += f", which is {1000 * usage.cost / n_accepted:.4f} for 1,000 accepted texts"
    yield _say(f"{line}.")
    saved = sum((step.saved for step in found.steps), Usage())
    if saved.n_requests:
        yield _say(
            f"{saved.n_requests} answers more had been kept in ",
            Code("run_dir"),
            f": {saved.dollars}.",
        )
    if not usage.n_requests:
        return
    chart = charts.chart_costs(found)
    if chart.series:
        yield chart
    bills = {ROUTES.get(own.route, own.route): own.usage for own in found.routes}
    if found.probe is not None:
        bills["probe"] = found.probe.usage
    rows = tuple(
        (
            name,
            _count(own.n_requests),
            _count(own.input_tokens),
            _count(own.cached_tokens),
            _count(own.output_tokens),
            _dollars(own),
        )
        for name, own in bills.items()
        if own.n_requests
    )
    columns = ("", "requests", "input tokens", "cached of them", "output tokens", "US dollars")
    yield Table("The bill", columns, rows)


# How values are printed


def _say(*words: str) -> Paragraph:
    return Paragraph(words)


def _quote(names: dict[str, str], name: str) -> Words:
    """Return a sentence of the dictionary, with what stands in backticks as code."""
    pieces = names.get(name, name).split("`")
    return tuple(Code(piece) if i % 2 else piece for i, piece in enumerate(pieces) if piece)


def _count(n: int) -> Number:
    return Number(str(n), n)


def _share(value: float | None) -> Number | None:
    return None if value is None else Number(f"{value:.3f}", value)


def _signed(value: float | None, digits: int) -> Number | None:
    return None if value is None else Number(f"{value:+.{digits}f}", value)


def _dollars(usage: Usage) -> Cell:
    return usage.dollars if usage.cost is None else Number(usage.dollars, usage.cost)
