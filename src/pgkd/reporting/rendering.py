"""A run's report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pgkd.curation.curator import NEAR_DUPLICATE
from pgkd.evaluation.calibration import MIN_TEXTS, Calibration
from pgkd.inputs.text import make_valid
from pgkd.models.abstention import Abstention
from pgkd.records import Comparison, Diversity, Probe, Step, SyntheticText, Usage
from pgkd.reporting.sums import ClassGain, Loss, RouteSum

#: Texts shown of each reason, and classes of each end.
N_SHOWN, N_CLASSES = 3, 5

ROUTES = {
    "labelled": "labelled texts alone",
    "names": "names of the classes",
    "logs": "logs",
    "unlabelled": "unlabelled texts",
    "describe": "teacher describes",
    "label": "teacher labels",
    "write": "teacher writes",
}
STOP_REASONS = {
    "no_teacher": "there is no teacher, and all that is free was tried",
    "probe": "the probe says that this teacher cannot help",
    "exhausted": "there is nothing that the teacher could be asked for",
    "max_cycles": "`max_cycles` batches were bought",
    "patience": "on every route the last batches brought no gain",
    "budget": "the budget does not allow another request",
    "teacher_error": "the teacher failed",
    "error": "of an error",
    "interrupted": "it was interrupted",
}
_UNFINISHED = "its step was not finished, so that nothing has judged it"
REASONS = {
    "no gain out of fold": (
        "the labelled texts do not say that what the route brought helps, at any weight"
    ),
    "labelled anew": "a later step gave the text another label or weight",
    "duplicate": (
        "equal to a labelled text or an earlier one, but for case, white space and outer "
        "punctuation"
    ),
    "near duplicate": (
        "nearly equal to a labelled text or an earlier one (cosine of character trigrams "
        f"at least {NEAR_DUPLICATE})"
    ),
    "close to a gate text": (
        f"nearly equal to a text of the gate (the same cosine, at least {NEAR_DUPLICATE}): it "
        "would measure memory"
    ),
    "too long": "longer than 200 characters and than twice the longest labelled text",
    "empty": "nothing but white space and punctuation",
    "unknown label": "a label that is no class, or was not asked for; none is ever guessed",
    "malformed": "no whole text, such as one with half an emoji",
    "no label fits": "the teacher found no label of the shortlist fitting",
    "unreadable answer": "nothing could be read in the answer",
    "no answer": "the answer does not mention the text",
    "answer cut off": "the answer stopped at its token limit; whole texts before that were taken",
    "request failed": "no answer came",
    "interrupted": _UNFINISHED,
    "teacher_error": _UNFINISHED,
    "error": _UNFINISHED,
}


def render_result(
    comparison: Comparison | None, n_labelled: int, is_optimistic: bool
) -> Iterator[str]:
    """Say what the run has gained."""
    yield "# Report"
    yield describe(comparison, n_labelled)
    if is_optimistic and comparison is not None:
        yield (
            "**That is optimistic**: with `feedback='validation'` the teacher was shown how the "
            "student does on these very texts. Test the student on others."
        )


def render_end(stop_reason: str, n_refitted: int | None, n_synthetic: int) -> Iterator[str]:
    """Say why the run has ended, and what was learnt since."""
    why = STOP_REASONS.get(stop_reason, stop_reason)
    yield f"The run stopped because {why}."
    if n_refitted is not None:
        yield (
            f"**Since then `refit` has trained `student_` on {n_refitted} of the "
            f"{n_synthetic} texts beside the labelled ones.** This report is about `fit`."
        )


def describe(comparison: Comparison | None, n_labelled: int) -> str:
    """Say what was gained, in words."""
    if comparison is None:
        return (
            "**Nothing vouches for this student**: there were too few labelled texts to test it. "
            "With 40 labelled texts, drawn at random, you know its accuracy to within 15 points; "
            "with 100, to within 10; with 400, to within 5."
        )
    low, high = comparison.interval
    what = (
        f"On {comparison.n_texts} labelled texts, each predicted by a student that had not learnt "
        f"it, {_code(comparison.scoring)} is {comparison.after:.3f}; with the labelled texts alone "
        f"it is {comparison.before:.3f}."
    )
    if comparison.after == comparison.before and not comparison.log_loss_gain:
        return f"{what} Nothing was found to help: `student_` has learnt the labelled texts alone."
    return (
        f"{what} The difference is {comparison.after - comparison.before:+.3f} "
        f"(95 %: {low:+.3f} to {high:+.3f}). The same texts have chosen what is learnt, which "
        "flatters it a little."
    )


def render_probe(probe: Probe | None) -> Iterator[str]:
    """Say what the teacher was found to be good for."""
    if probe is None:
        return
    yield "## What the teacher is good for"
    yield probe.verdict
    how = "with probabilities" if probe.has_probabilities else "without probabilities"
    line = f"It labelled them {how}, which took {_dollars(probe.usage)} US dollars."
    if probe.weight:
        line += f" Beside the student's opinion, its own has weight {probe.weight:g}."
    yield line


def render_steps(
    steps: Sequence[Step], comparison: Comparison | None, labelled_diversity: Diversity | None
) -> Iterator[str]:
    """Render a table of the steps."""
    yield "## Steps"
    scoring = comparison.scoring if comparison else "score"
    header = ["step", "", f"{scoring} after it", "accuracy", "macro F1", "gain (95 %)", "taken"]
    header += ["weight", "asked", "fit to learn", "tokens", "US dollars", "similarity", "seconds"]
    yield _table(header, [_row(step) for step in steps])
    yield (
        "The gain is over the training set before the step. Similarity is that of the "
        "texts of a class to each other: a teacher that repeats itself has a high one"
        + (
            f" (labelled texts: {labelled_diversity.similarity:.2f})."
            if labelled_diversity
            else "."
        )
    )


def _row(step: Step) -> list[Any]:
    own = step.comparison
    gain = ""
    if own is not None:
        low, high = own.interval
        gain = f"{own.after - own.before:+.3f} ({low:+.3f} to {high:+.3f})"
    scores = ["", "", ""]
    if step.report is not None and step.score is not None:
        scores = [f"{v:.3f}" for v in (step.score, step.report.accuracy, step.report.f1_macro)]
    first = not step.number
    return [
        step.number,
        ROUTES.get(step.route, step.route),
        *scores,
        gain,
        "" if first else "yes" if step.taken else "no",
        "" if first else f"{step.factor:g}",
        step.n_requested or "",
        step.n_accepted,
        step.usage.input_tokens + step.usage.output_tokens,
        _dollars(step.usage),
        f"{step.diversity.similarity:.2f}" if step.diversity else "",
        f"{step.seconds:.1f}",
    ]


def render_routes(routes: Sequence[RouteSum]) -> Iterator[str]:
    """Render a table of the routes."""
    if not routes:
        return
    yield "## Routes"
    rows = []
    for own in routes:
        tokens = own.usage.input_tokens + own.usage.output_tokens
        gain = "not judged" if own.gain is None else f"{own.gain:+.3f}"
        per = f"{1000 * own.gain / tokens:+.4f}" if own.gain is not None and tokens else ""
        name = ROUTES.get(own.route, own.route)
        rows.append([name, own.n_learnt, gain, tokens, per, _dollars(own.usage)])
    header = ["route", "texts learnt", "gain", "tokens", "gain per 1,000 tokens", "US dollars"]
    yield _table(header, rows)


def render_gains(gains: Sequence[ClassGain]) -> Iterator[str]:
    """Render a table of the classes that have gained or lost most."""
    up = [g for g in gains if g.gain > 0]
    down = [g for g in gains if g.gain < 0]
    if not up and not down:
        return
    yield "## Gain by class"
    same = len(gains) - len(up) - len(down)
    yield (
        f"F1 out of fold, against the labelled texts alone: {len(up)} classes gained, "
        f"{len(down)} lost, {same} stayed the same. With few texts a class, much of that is chance."
    )
    shown = up[:N_CLASSES] + down[-N_CLASSES:]
    yield _table(
        ["class", "before", "after", "gain", "labelled texts"],
        [[_code(g.label), g.before, g.after, f"{g.gain:+.4f}", g.support] for g in shown],
    )
    if len(up) + len(down) > len(shown):
        yield "All classes: `report.gains`."


def render_probabilities(
    calibration: Calibration | None, abstention: Abstention | None
) -> Iterator[str]:
    """Say what the probabilities are worth."""
    yield "## Probabilities"
    if calibration is None:
        yield (
            f"They are the student's own: not calibrated, by `calibrate=False` or for want of "
            f"{MIN_TEXTS} labelled texts."
        )
    yield from (str(part) for part in (calibration, abstention) if part)


def render_losses(
    losses: Sequence[Loss], rejected: Sequence[SyntheticText], n_synthetic: int
) -> Iterator[str]:
    """Say why texts were not learnt."""
    yield "## What was not learnt"
    n_accepted = n_synthetic - len(rejected)
    yield (
        f"Of {n_synthetic} texts beside the labelled ones, {n_accepted} are learnt and "
        f"{len(rejected)} are not. Each of these, with its reason, is in `report.rejected`."
    )
    groups: dict[tuple[str, str], list[Loss]] = {}
    for loss in losses:
        groups.setdefault((loss.verdict, loss.reason), []).append(loss)
    for (verdict, reason), own in sorted(groups.items(), key=lambda item: -_count(item[1])):
        where = ", ".join(f"{loss.n} in step {loss.step}" for loss in own)
        explained = f". That is: {REASONS[reason]}" if reason in REASONS else ""
        lines = [f"**{verdict}: {reason}** ({where}){explained}.", ""]
        texts = [t for t in rejected if (t.verdict, str(t.reason)) == (verdict, reason)]
        lines += [f"- {_code(t.text)} as {_code(_name(t.labels))}" for t in texts[:N_SHOWN]]
        if len(texts) > N_SHOWN:
            lines.append(f"- and {len(texts) - N_SHOWN} more in `report.rejected`")
        yield "\n".join(lines).strip()


def _count(losses: Sequence[Loss]) -> int:
    return sum(loss.n for loss in losses)


def render_usage(usage: Usage, steps: Sequence[Step], n_accepted: int) -> Iterator[str]:
    """Say what the teacher took."""
    yield "## Usage"
    line = (
        f"{usage.n_requests} requests, {usage.input_tokens} input tokens ({usage.cached_tokens} of "
        f"them cached), {usage.output_tokens} output tokens, US dollars: {_dollars(usage)}"
    )
    if usage.cost and n_accepted:
        line += f", which is {usage.cost / n_accepted:.4f} for each accepted text"
    yield f"{line}."
    saved = sum((step.saved for step in steps), Usage())
    if saved.n_requests:
        yield f"{saved.n_requests} answers more had been kept in `run_dir`: {_dollars(saved)}."


def _dollars(usage: Usage) -> str:
    return "unknown" if usage.cost is None else f"{usage.cost:.4f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")


def _name(labels: Sequence[Any]) -> str:
    return ", ".join(map(str, labels)) or "none"


def _code(value: Any, limit: int = 80) -> str:
    """Quote what a teacher wrote, so that nothing in it is taken for Markdown."""
    text = make_valid(" ".join(str(value).split()).replace("`", "'"))
    return f"`{text if len(text) <= limit else text[: limit - 3] + '...'}`" if text else "(empty)"
