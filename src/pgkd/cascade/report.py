"""`CascadeReport`: what a cascade escalates, gains and costs, with exact intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pgkd.evaluation.estimates import Estimate
from pgkd.evaluation.thresholds import Rule
from pgkd.inputs.text import as_code
from pgkd.records import Sent, Usage


@dataclass(frozen=True)
class CascadeReport:
    """What a cascade does, measured on the texts that it was fitted on.

    A text's own label had no part in the thresholds that its escalation is measured with: they were
    chosen on nine tenths of the texts for the tenth that they are applied to. If nothing is
    escalated in the end, the cascade is the student, and so are its numbers.

    Attributes
    ----------
    confidence : float
        Of the intervals.
    n_texts : int
        Labelled texts.
    n_asked, n_answered : int
        Those that the teacher was asked to label, the student's least sure ones, and those that it
        gave an answer about, if only that no label fits.
    student_accuracy, accuracy : Estimate
        Of the student alone and of the cascade, in [0, 1], with the Clopper-Pearson interval.
    gain : Estimate
        The difference, with an interval that is exact given how many texts the teacher changes.
    share_escalated : Estimate
        Of the texts, in [0, 1], with the Clopper-Pearson interval.
    cost_per_1000 : Estimate or None
        US dollars for 1,000 texts, escalated or not; the interval is that of the share. ``None``
        when the price is not known, or all answers came from a cache.
    rules : tuple of Rule
        The thresholds and the tests that they passed; each class is in one of them.
    usage : Usage
        What `fit` took from the teacher.
    sent : Sent or None
        What the teacher was shown, and where, by `fit` and by predictions since. A labelled text
        counts once, another one once a call.
    """

    confidence: float
    n_texts: int
    n_asked: int
    n_answered: int
    student_accuracy: Estimate
    accuracy: Estimate
    gain: Estimate
    share_escalated: Estimate
    cost_per_1000: Estimate | None
    rules: tuple[Rule, ...]
    usage: Usage
    sent: Sent | None = None

    def __str__(self) -> str:
        return "\n\n".join(self._render())

    def _repr_markdown_(self) -> str:
        return str(self)

    def _render(self) -> Iterator[str]:
        if any(rule.threshold for rule in self.rules):
            yield "Texts are escalated where the teacher measurably labels better than the student."
        else:
            yield "Nothing is escalated: the teacher is nowhere measurably better than the student."
        cost = "unknown" if self.cost_per_1000 is None else str(self.cost_per_1000)
        yield "\n".join(
            [
                f"| | value ({self.confidence:.0%} interval) |".replace("%", " %"),
                "| --- | --- |",
                f"| share escalated | {self.share_escalated} |",
                f"| accuracy of the student | {self.student_accuracy} |",
                f"| accuracy of the cascade | {self.accuracy} |",
                f"| gain | {self.gain} |",
                f"| US dollars for 1,000 texts | {cost} |",
            ]
        )
        rows = [
            "| student says | escalated up to | teacher alone right | student alone right | p |"
        ]
        rows.append("| --- | --- | --- | --- | --- |")
        for rule in self.rules:
            names = ", ".join(map(as_code, rule.classes[:5])).replace("|", "\\|") + ", ..." * (
                len(rule.classes) > 5
            )
            until = f"{rule.threshold:.3f}" if rule.threshold else "never"
            rows.append(
                f"| {names} | {until} | {rule.n_won} | {rule.n_lost} | {rule.p_value:.2g} |"
            )
        yield "\n".join(rows)
        yield (
            f"Measured on {self.n_texts} labelled texts. The teacher was asked about "
            f"{self.n_asked} of them and answered about {self.n_answered}."
        )
        if self.sent is not None:
            yield f"By now, {as_code(self.sent.model)} {self.sent.told}"
