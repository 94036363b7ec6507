"""A run's report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pgkd.calibration import MIN_TEXTS
from pgkd.curation import NEAR_DUPLICATE, PLAUSIBLE
from pgkd.evaluation import Z_WORSE
from pgkd.records import Audit, Diversity, Usage
from pgkd.selection import HARMFUL
from pgkd.text import make_valid

if TYPE_CHECKING:
    from pgkd.reporting import Loss, Report

#: Texts shown of each reason, and classes of each end.
N_SHOWN, N_CLASSES = 3, 5

STOP_REASONS = {
    "max_cycles": "`max_cycles` were done",
    "patience": "`patience` cycles brought no better gate score",
    "gain": "a cycle gained less than `min_gain_per_dollar` asks for",
    "budget": "the budget does not allow another request",
    "teacher_error": "the teacher failed",
    "error": "of an error",
    "interrupted": "it was interrupted",
}
_SAFE = "The gate was never shown, so the gate scores do not depend on what was."
FEEDBACK = {
    "out_of_fold": (
        "the training texts, each predicted by a student that had not learnt it, and that had a "
        f"fold of them less to learn from. {_SAFE}"
    ),
    "holdout": f"texts of their own, which no student had learnt. {_SAFE}",
    "validation": (
        "**the gate texts themselves. The gate scores are optimistic**: the teacher wrote for "
        "these very texts, and so the two scores are the same. Test the student on other texts."
    ),
    "train": (
        f"the training texts as the student had learnt them, so that the score flatters it. {_SAFE}"
    ),
}
_UNFINISHED = "its cycle was not finished, so that no gate has judged it"
REASONS = {
    "duplicate": (
        "equal to a labelled text or an earlier generated one, but for case, white space and outer "
        "punctuation"
    ),
    "near duplicate": (
        "nearly equal to a labelled text or an earlier generated one (cosine of character trigrams "
        f"at least {NEAR_DUPLICATE})"
    ),
    "close to a gate text": (
        f"nearly equal to a gate text (the same cosine, at least {NEAR_DUPLICATE}): the gate would "
        "measure memory"
    ),
    "too long": "longer than 200 characters and than twice the longest labelled text",
    "empty": "nothing but white space and punctuation",
    "unknown label": "a label that was not asked for; none is ever guessed",
    "malformed": "no whole text, such as one with half an emoji",
    "implausible label": (
        f"the student gave its label less than {PLAUSIBLE:g} times the probability of its own "
        "choice, and did better on the feedback texts without such texts"
    ),
    HARMFUL: (
        "at every weight that was tried the student did worse on the feedback texts than without "
        f"the whole batch, by more than {Z_WORSE} standard errors"
    ),
    "no label fits": "the teacher found no label of the shortlist fitting",
    "unreadable answer": "nothing could be read in the answer",
    "no answer": "the answer does not mention the text",
    "answer cut off": "the answer stopped at its token limit; whole texts before that were taken",
    "request failed": "no answer came",
    "interrupted": _UNFINISHED,
    "teacher_error": _UNFINISHED,
    "error": _UNFINISHED,
}


def render(report: Report) -> str:
    """Render a report as Markdown."""
    parts = [
        *_result(report),
        *_cycles(report),
        *_feedback(report),
        *_gains(report),
        *_calibration(report),
        *_losses(report),
        *_usage(report),
        *_audit(report.audit),
    ]
    return "\n\n".join(parts) + "\n"


def _result(report: Report) -> Iterator[str]:
    choice = report.choice
    before, after = choice.baseline_report, choice.last_report
    difference = choice.last_score - choice.baseline_score
    yield "# Report"
    yield _conclude(report)
    n = before.n_texts
    if n is None:  # saved by an earlier pgkd
        n = sum(score.support for score in before.classes.values())
    yield f"On the gate, {n} texts that no student here had learnt; a greater score is better:"
    candidate = f"last student kept (cycle {choice.last_cycle})"
    rows: list[list[Any]] = [
        ["baseline", choice.baseline_score, before.accuracy, before.f1_macro],
        [candidate, choice.last_score, after.accuracy, after.f1_macro],
    ]
    if choice.last_cycle:
        gains = (difference, after.accuracy - before.accuracy, after.f1_macro - before.f1_macro)
        rows.append(["difference", *(f"{gain:+.4f}" for gain in gains)])
        rows.append(["its standard error", choice.standard_error, "", ""])
    header = ["", _code(choice.scoring), "accuracy", "macro F1"]
    if before.f1_micro is not None and after.f1_micro is not None:  # several labels a text
        header.append("micro F1")
        micro = [before.f1_micro, after.f1_micro, f"{after.f1_micro - before.f1_micro:+.4f}", ""]
        rows = [[*row, value] for row, value in zip(rows, micro)]
        yield "Accuracy is the share of the texts whose labels are all right."
    yield _table(header, rows)
    why = STOP_REASONS.get(report.stop_reason, report.stop_reason)
    yield f"The run stopped in cycle {report.cycles[-1].number} because {why}."
    if report.n_refitted is not None:
        yield (
            f"**Since then `refit` has trained `student_` on {report.n_refitted} of the "
            f"{report.n_synthetic} generated texts.** This report is about `fit`."
        )


def _conclude(report: Report) -> str:
    choice = report.choice
    if not choice.last_cycle:
        return "`fit` returned the baseline: no cycle led to a student to compare with it."
    last = f"the student of cycle {choice.last_cycle}"
    if choice.rule == "last student":
        return f"`fit` returned {last}: with `rollback=False` the last one, whatever the gate says."
    if choice.rule == "log loss":
        return (
            f"`fit` returned {last}: on the gate it is not worse than the baseline by more than "
            "one standard error, and its log loss, of which few texts tell more, is better by more "
            "than two."
        )
    if choice.taken:
        return (
            f"`fit` returned {last}: by the one-standard-error rule, since it is better than the "
            "baseline by more than one standard error."
        )
    is_worse = choice.last_score < choice.baseline_score - choice.standard_error
    log_loss = "" if is_worse else ", nor its log loss by two"
    return (
        f"`fit` returned the baseline: by the one-standard-error rule, since {last} is not better "
        f"by more than one standard error, which cannot be told from luck{log_loss}."
    )


def _cycles(report: Report) -> Iterator[str]:
    yield "## Cycles"
    if report.choice.baseline_score != report.cycles[0].gate_score:
        yield "The scores are the scout's."
    header = "cycle, gate score, feedback score before, what became of it, asked, generated"
    header += (
        ", accepted, weight, distinct-1, distinct-2, similarity, most alike, tokens, US dollars"
    )
    labelled = _diversity(report.labelled_diversity)
    rows: list[list[Any]] = [["labelled texts", *[""] * 7, *labelled, "", ""]]
    for cycle in report.cycles:
        fate = "kept" if cycle.number else "baseline"
        if not cycle.kept:
            fate = f"rolled back: {cycle.reason}"
        elif cycle.number and not cycle.n_accepted:
            fate = "not learnt" if HARMFUL in cycle.rejected else "nothing to learn"
        elif cycle.number > report.returned_cycle:
            fate = "kept, but not in the student returned"
        scores = (cycle.gate_score, cycle.feedback_score)
        texts = (cycle.n_requested, cycle.n_generated, cycle.n_accepted)
        diversity = _diversity(cycle.diversity)
        n_tokens = cycle.usage.input_tokens + cycle.usage.output_tokens
        weight, cost = f"{cycle.synthetic_weight:g}", _dollars(cycle.usage)
        rows.append([cycle.number, *scores, fate, *texts, weight, *diversity, n_tokens, cost])
    yield _table(header.split(", "), rows)
    yield (
        "Diversity is that of the texts which a cycle's student learnt anew, within their classes. "
        "Distinct-n falls as texts are added, so compare it among equal numbers; similarity does "
        "not. The texts most alike are those of the class that is named."
    )


def _feedback(report: Report) -> Iterator[str]:
    yield "## What the teacher was shown"
    if not report.optimism:
        yield "Nothing of the student's performance."
        return
    shown = FEEDBACK.get(report.feedback, "other texts.")
    yield f"With `feedback={report.feedback!r}`, the student's performance on {shown}"
    yield (
        "A student that looks better on the shown texts than on the gate, more so from cycle to "
        "cycle, is one whose teacher writes for the shown texts only:"
    )
    yield _table(
        ["student of cycle", "score on the shown texts", "gate score", "difference"],
        [
            [o.student, o.feedback_score, o.gate_score, f"{o.difference:+.4f}"]
            for o in report.optimism
        ],
    )


def _gains(report: Report) -> Iterator[str]:
    if not report.choice.last_cycle:
        return
    yield "## Gain by class"
    up = [g for g in report.gains if g.gain > 0]
    down = [g for g in report.gains if g.gain < 0]
    same = len(report.gains) - len(up) - len(down)
    yield (
        f"F1 on the gate, last student kept against baseline: {len(up)} classes gained, "
        f"{len(down)} lost, {same} stayed the same. With few gate texts, much of that is chance."
    )
    shown = up[:N_CLASSES] + down[-N_CLASSES:]
    if shown:
        yield _table(
            ["class", "baseline", "last", "gain", "gate texts"],
            [[_code(g.label), g.baseline, g.best, f"{g.gain:+.4f}", g.support] for g in shown],
        )
    if len(up) + len(down) > len(shown):
        yield "All classes: `report.gains`."


def _calibration(report: Report) -> Iterator[str]:
    yield "## Probabilities"
    if report.calibration is None:
        yield (
            f"They are the student's own: not calibrated, by `calibrate=False` or for want of "
            f"{MIN_TEXTS} gate texts."
        )
    yield from (str(part) for part in (report.calibration, report.abstention) if part)


def _losses(report: Report) -> Iterator[str]:
    yield "## What was not learnt"
    n_accepted = report.n_synthetic - len(report.rejected)
    yield (
        f"Of {report.n_synthetic} texts of the teacher, {n_accepted} are accepted and "
        f"{len(report.rejected)} are not. Each of these, with its reason, is in `report.rejected`."
    )
    groups: dict[tuple[str, str], list[Loss]] = {}
    for loss in report.losses:
        groups.setdefault((loss.verdict, loss.reason), []).append(loss)
    for (verdict, reason), losses in sorted(groups.items(), key=lambda item: -_count(item[1])):
        where = ", ".join(f"{loss.n} in cycle {loss.cycle}" for loss in losses)
        explained = f". That is: {REASONS[reason]}" if reason in REASONS else ""
        lines = [f"**{verdict}: {reason}** ({where}){explained}.", ""]
        texts = [t for t in report.rejected if (t.verdict, str(t.reason)) == (verdict, reason)]
        lines += [f"- {_code(t.text)} as {_code(_name(t.labels))}" for t in texts[:N_SHOWN]]
        if len(texts) > N_SHOWN:
            lines.append(f"- and {len(texts) - N_SHOWN} more in `report.rejected`")
        yield "\n".join(lines).strip()


def _count(losses: Sequence[Loss]) -> int:
    return sum(loss.n for loss in losses)


def _usage(report: Report) -> Iterator[str]:
    usage = report.usage
    yield "## Usage"
    line = (
        f"{usage.n_requests} requests, {usage.input_tokens} input tokens ({usage.cached_tokens} of "
        f"them cached), {usage.output_tokens} output tokens, US dollars: {_dollars(usage)}"
    )
    n_accepted = report.n_synthetic - len(report.rejected)
    if usage.cost and n_accepted:
        line += f", which is {usage.cost / n_accepted:.4f} for each accepted text"
    yield f"{line}."
    saved = sum((cycle.saved for cycle in report.cycles), Usage())
    if saved.n_requests:
        yield f"{saved.n_requests} answers more had been kept in `run_dir`: {_dollars(saved)}."


def _audit(audit: Audit | None) -> Iterator[str]:
    if audit is None:
        return
    yield "## Audit"
    yield audit.verdict
    line = (
        f"Of {audit.n_texts} training texts the teacher labels {audit.teacher_accuracy:.0%} right, "
        "choosing from a shortlist, and the student, out of fold, "
        f"{audit.student_accuracy:.0%}."
    )
    if audit.teacher_accuracy_unaided is not None:
        line += f" Among all classes, without examples: {audit.teacher_accuracy_unaided:.0%}."
    if audit.self_agreement is not None:
        line += f" Asked once more, it gives {audit.self_agreement:.0%} the same label."
    yield f"{line} It took {_dollars(audit.usage)} US dollars."
    if audit.settled:
        names = ", ".join(_code(label) for label in audit.classes if label in audit.settled)
        yield f"Asked for less, since the student is better there: {names}."
    trust = sorted(audit.trust.items(), key=lambda item: item[1])
    if trust:
        least = ", ".join(f"{_code(label)} {share:.2f}" for label, share in trust[:N_CLASSES])
        yield f"The labels that it is to be trusted with least (`audit_.trust`): {least}."


def _diversity(diversity: Diversity | None) -> list[str]:
    if diversity is None:
        return [""] * 4
    numbers = (diversity.distinct_1, diversity.distinct_2, diversity.similarity)
    alike = ""  # unknown in runs that are older
    if diversity.classes:
        label, own = max(diversity.classes.items(), key=lambda item: item[1].similarity)
        alike = f"{_code(label)} ({own.similarity:.2f})"
    return [*(f"{number:.2f}" for number in numbers), alike]


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
