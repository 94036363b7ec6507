"""What the gate decides: whether a cycle is kept, and which student is returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pgkd.evaluation import ROUNDING, Z_WORSE, make_gate_scorer, make_report
from pgkd.learning import LabelledTexts
from pgkd.records import Choice, FloatArray, LabelArray, StudentReport
from pgkd.selection import Version


@dataclass(frozen=True)
class Candidate:
    """A student that might be returned, and what is needed to train it again."""

    cycle: int
    version: Version
    gate_probabilities: FloatArray
    gate_score: float

    @property
    def student(self) -> Any:
        """The trained classifier."""
        return self.version.student


class Judge:
    """Compares students on the gate, whose texts the teacher never sees.

    Parameters
    ----------
    gate : LabelledTexts
    classes : array of shape (n_classes,)
    scoring : str or callable
    rollback : bool
        Whether the gate decides. If not, every cycle is kept and the last student returned.
    seed : int
        Of the bootstrap.
    """

    def __init__(
        self, gate: LabelledTexts, classes: LabelArray, scoring: Any, *, rollback: bool, seed: int
    ) -> None:
        self.gate = gate
        self.classes = classes
        self.rollback = rollback
        self.seed = seed
        self.scorer = make_gate_scorer(scoring, classes, gate.texts, gate.y)
        self._log_loss = make_gate_scorer("neg_log_loss", classes, gate.texts, gate.y)

    def assess(self, cycle: int, version: Version, probabilities: FloatArray) -> Candidate:
        """Score what a student said of the gate's texts, shape (n_gate_texts, n_classes)."""
        return Candidate(cycle, version, probabilities, self.scorer.score(probabilities))

    def report(self, candidate: Candidate) -> StudentReport:
        """Evaluate a candidate class by class."""
        return make_report(self.gate.y, candidate.gate_probabilities, self.classes)

    def reason_to_roll_back(self, candidate: Candidate, best: Candidate) -> str | None:
        """Say why a candidate is worse than the best one so far, if the gate can tell.

        The gate is small: asking for a better score would throw away, by chance, good texts that
        were paid for. Where a few texts that change sides make the score fall, the log loss, which
        all texts have a part in, need not agree.
        """
        loss = best.gate_score - candidate.gate_score
        if not self.rollback or loss <= 0:
            return None
        error = self._standard_error(candidate, best)
        can_tell = loss > Z_WORSE * error + ROUNDING
        if not can_tell or self._is_log_loss_better(candidate, best, n_errors=0):
            return None
        return (
            f"the gate score fell by {loss:.4g}, more than {Z_WORSE} times its standard error of "
            f"{error:.2g}, and the log loss is no better"
        )

    def choose(self, last: Candidate, baseline: Candidate) -> Choice:
        """Choose the last student that was kept if it is better than the baseline.

        By more than a standard error: of two models that cannot be told apart the simplest is
        preferred. Or, if the gate score cannot tell, by two standard errors of the log loss: all
        gate texts tell something about it, and about accuracy or F1 only those that change sides.
        With hundreds of classes, and so a text or none of each, that is not enough to see even a
        great gain.

        Not the cycle with the best gate score: the best of many is partly luck, and giving up for
        it what later cycles have learnt is a loss. None that was kept is worse than the best by
        more than the gate can tell.

        References
        ----------
        Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 7.10.
        """
        gain, error = last.gate_score - baseline.gate_score, self._standard_error(last, baseline)
        rule = "one standard error" if self.rollback else "last student"
        taken = not self.rollback or gain > error + ROUNDING
        if (
            not taken
            and gain >= -error - ROUNDING
            and self._is_log_loss_better(last, baseline, n_errors=2)
        ):
            rule, taken = "log loss", True
        return Choice(
            self.scorer.name,
            baseline.gate_score,
            last.gate_score,
            self.report(baseline),
            self.report(last),
            error,
            last.cycle,
            taken,
            rule,
        )

    def has_promise(self, scouted: Candidate, baseline: Candidate) -> bool:
        """Whether what a scout has learnt leaves any hope of a gain of its student."""
        gain = scouted.gate_score - baseline.gate_score
        return not self.rollback or gain > 0 or self._is_log_loss_better(scouted, baseline, 2)

    def _is_log_loss_better(self, a: Candidate, b: Candidate, n_errors: float) -> bool:
        """Whether the log loss of `a` is less than that of `b`, by so many standard errors."""
        pair = a.gate_probabilities, b.gate_probabilities
        gain = self._log_loss.score(pair[0]) - self._log_loss.score(pair[1])
        error = self._log_loss.standard_error(*pair, np.random.RandomState(self.seed))
        return gain > max(n_errors * error, 0.0)

    def _standard_error(self, a: Candidate, b: Candidate) -> float:
        rng = np.random.RandomState(self.seed)
        return self.scorer.standard_error(a.gate_probabilities, b.gate_probabilities, rng)
