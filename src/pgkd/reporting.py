"""`Report`: what a run did, from the baseline to the student that was returned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pgkd.abstention import Abstention
from pgkd.calibration import Calibration
from pgkd.exceptions import InvalidInputError
from pgkd.records import Audit, Choice, Cycle, Diversity, Label, SyntheticText, Usage
from pgkd.rendering import render

if TYPE_CHECKING:
    from pgkd.classifier import PGKDClassifier


@dataclass(frozen=True)
class ClassGain:
    """F1 of a class on its `support` gate texts, of the baseline and of the last student kept."""

    label: Label
    baseline: float
    best: float
    support: int

    @property
    def gain(self) -> float:
        """What the last student kept gained on the baseline."""
        return self.best - self.baseline


@dataclass(frozen=True)
class Optimism:
    """A student's score on the texts that the teacher was shown, beside that on the gate.

    Attributes
    ----------
    student : int
        The cycle whose student it is.
    feedback_score, gate_score : float
    """

    student: int
    feedback_score: float
    gate_score: float

    @property
    def difference(self) -> float:
        """How much better it looks on the texts that the teacher was shown."""
        return self.feedback_score - self.gate_score


@dataclass(frozen=True)
class Loss:
    """Texts that were not learnt, by cycle and reason.

    Attributes
    ----------
    cycle : int
    verdict : {"rejected", "rolled back", "not read"}
        Not read: what was in an answer and could not be read, or a request that failed; there is no
        text to show.
    reason : str
    n : int
    """

    cycle: int
    verdict: str
    reason: str
    n: int


@dataclass(frozen=True)
class Report:
    """What a run did. Printed, and in notebooks, it is Markdown.

    Attributes
    ----------
    choice : Choice
        The last student that was kept against the baseline.
    returned_cycle : int
        The cycle of the student that `fit` returned.
    stop_reason : str
    feedback : str
        The parameter: which texts the teacher was shown the student's performance on.
    cycles : tuple of Cycle
    labelled_diversity : Diversity or None
        To set that of the cycles beside.
    gains : tuple of ClassGain
        A class with gate texts each, the largest gain first.
    optimism : tuple of Optimism
        One for each student that the teacher was told of.
    losses : tuple of Loss
        Why texts were not learnt: every one is counted.
    n_synthetic : int
        Texts that the teacher gave.
    rejected : tuple of SyntheticText
        Every text that was rejected or rolled back; ``pandas.DataFrame(report.rejected)`` is a
        table.
    usage : Usage
    n_refitted : int or None
        Generated texts that ``student_`` has learnt since, if `refit` was called.
    audit : Audit or None
        ``audit_`` of the classifier.
    calibration : Calibration or None
        ``calibration_`` of the classifier.
    abstention : Abstention or None
        ``abstention_`` of the classifier.
    """

    choice: Choice
    returned_cycle: int
    stop_reason: str
    feedback: str
    cycles: tuple[Cycle, ...]
    labelled_diversity: Diversity | None
    gains: tuple[ClassGain, ...]
    optimism: tuple[Optimism, ...]
    losses: tuple[Loss, ...]
    n_synthetic: int
    rejected: tuple[SyntheticText, ...]
    usage: Usage
    n_refitted: int | None = None
    audit: Audit | None = None
    calibration: Calibration | None = None
    abstention: Abstention | None = None

    def __str__(self) -> str:
        return render(self)

    def _repr_markdown_(self) -> str:
        return render(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in what JSON can hold.

        A mapping whose keys are no str, such as a report's classes, is a list of pairs; a label of
        a rejected text that JSON cannot hold is its repr.
        """
        document: dict[str, Any] = _to_json(self)
        return document

    def plot(self, ax: Any = None) -> Any:
        """Plot the gate score and the feedback score of each cycle's student.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Made if not given.

        Returns
        -------
        ax : matplotlib axes

        Raises
        ------
        ImportError
            Without matplotlib, which ``pip install "pgkd[plot]"`` brings.
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError('`plot` needs matplotlib: pip install "pgkd[plot]".') from error
        if ax is None:
            _, ax = pyplot.subplots()
        ax.axhline(self.cycles[0].gate_score, color="grey", linestyle="--", label="baseline")
        for label, style, cycles in (
            ("gate", "o-", [c for c in self.cycles if c.kept]),
            ("gate, rolled back", "rx", [c for c in self.cycles if not c.kept]),
        ):
            if cycles:
                scores = [c.gate_score for c in cycles]
                ax.plot([c.number for c in cycles], scores, style, label=label)
        if self.optimism:
            scores = [o.feedback_score for o in self.optimism]
            ax.plot([o.student for o in self.optimism], scores, "s:", label="shown to the teacher")
        ax.set(xlabel="cycle", ylabel=self.choice.scoring)
        ax.legend()
        return ax


def make_run_report(clf: PGKDClassifier) -> Report:
    """Gather a report from a fitted classifier.

    Raises
    ------
    InvalidInputError
        If it was saved by a pgkd that kept less.
    """
    if clf.choice_ is None:
        raise InvalidInputError(
            "The classifier was saved by an earlier pgkd, which did not keep how the student was "
            "chosen: fit it again for a report. `history_` and `synthetic_` are there."
        )
    rejected = tuple(t for t in clf.synthetic_ if t.verdict != "accepted")
    mask = clf.refit_mask_
    return Report(
        choice=clf.choice_,
        returned_cycle=clf.best_cycle_,
        stop_reason=clf.stop_reason_,
        feedback=clf.feedback,
        cycles=tuple(clf.history_),
        labelled_diversity=clf.labelled_diversity_,
        gains=_find_gains(clf.choice_),
        optimism=_find_optimism(clf.history_),
        losses=_count_losses(clf.history_, rejected),
        n_synthetic=len(clf.synthetic_),
        rejected=rejected,
        usage=clf.usage_,
        n_refitted=None if mask is None else int(mask.sum()),
        audit=getattr(clf, "audit_", None),
        calibration=clf.calibration_,
        abstention=clf.abstention_,
    )


def _find_gains(choice: Choice) -> tuple[ClassGain, ...]:
    best = choice.last_report.classes
    gains = [
        ClassGain(label, score.f1, best[label].f1, score.support)
        for label, score in choice.baseline_report.classes.items()
        if score.support
    ]
    return tuple(sorted(gains, key=lambda gain: -gain.gain))


def _find_optimism(history: Sequence[Cycle]) -> tuple[Optimism, ...]:
    """Pair what a cycle showed with the gate score of the same student, the last one kept."""
    found: dict[int, Optimism] = {}
    for cycle in history:
        if cycle.feedback_score is not None:
            student = [c for c in history if c.kept and c.number < cycle.number][-1]
            found[student.number] = Optimism(
                student.number, cycle.feedback_score, student.gate_score
            )
    return tuple(found.values())


def _count_losses(history: Sequence[Cycle], rejected: Sequence[SyntheticText]) -> tuple[Loss, ...]:
    counts = Counter((t.cycle, t.verdict, str(t.reason)) for t in rejected)
    for cycle in history:
        for reason, n in cycle.rejected.items():
            # The cycle counts what has no row in `synthetic_` as well.
            if unread := n - counts[cycle.number, "rejected", reason]:
                counts[cycle.number, "not read", reason] = unread
    return tuple(Loss(*key, n) for key, n in sorted(counts.items()) if n)


def _to_json(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if hasattr(value, "_asdict"):  # a named tuple
        value = value._asdict()
    if is_dataclass(value):
        return {field.name: _to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _to_json(item) for key, item in value.items()}
        return [[_to_json(key), _to_json(item)] for key, item in value.items()]
    if isinstance(value, frozenset):
        value = sorted(value, key=str)
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return _to_json(value.tolist())
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return repr(value)
