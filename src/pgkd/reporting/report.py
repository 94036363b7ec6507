"""`Report`: what a run did, step by step, and what each step gained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from pgkd.evaluation.calibration import Calibration
from pgkd.exceptions import InvalidInputError
from pgkd.models.abstention import Abstention
from pgkd.records import Comparison, Diversity, Probe, Step, SyntheticText, Usage
from pgkd.reporting import rendering
from pgkd.reporting.sums import ClassGain, Loss, RouteSum


@dataclass(frozen=True)
class Report:
    """What a run did. Printed, and in notebooks, it is Markdown.

    Attributes
    ----------
    comparison : Comparison or None
        What was learnt against the labelled texts alone; ``None`` without labelled texts.
    n_labelled : int
    stop_reason : str
    steps : tuple of Step
    routes : tuple of RouteSum
    probe : Probe or None
        What the teacher was found to be good for.
    labelled_diversity : Diversity or None
        To set that of the steps beside.
    gains : tuple of ClassGain
        A class with labelled texts each, the largest gain first.
    losses : tuple of Loss
        Why texts were not learnt: every one is counted.
    n_synthetic : int
        Texts beside the labelled ones.
    rejected : tuple of SyntheticText
        Every text that was rejected or dropped; ``pandas.DataFrame(report.rejected)`` is a table.
    usage : Usage
    n_refitted : int or None
        Texts of `synthetic_` that ``student_`` has learnt since, if `refit` was called.
    is_optimistic : bool
        Whether the teacher was shown the texts that decide.
    calibration : Calibration or None
        ``calibration_`` of the classifier.
    abstention : Abstention or None
        ``abstention_`` of the classifier.
    """

    comparison: Comparison | None
    n_labelled: int
    stop_reason: str
    steps: tuple[Step, ...]
    routes: tuple[RouteSum, ...]
    probe: Probe | None
    labelled_diversity: Diversity | None
    gains: tuple[ClassGain, ...]
    losses: tuple[Loss, ...]
    n_synthetic: int
    rejected: tuple[SyntheticText, ...]
    usage: Usage
    n_refitted: int | None = None
    is_optimistic: bool = False
    calibration: Calibration | None = None
    abstention: Abstention | None = None

    def __str__(self) -> str:
        n_accepted = self.n_synthetic - len(self.rejected)
        parts = [
            *rendering.render_result(self.comparison, self.n_labelled, self.is_optimistic),
            *rendering.render_end(self.stop_reason, self.n_refitted, self.n_synthetic),
            *rendering.render_probe(self.probe),
            *rendering.render_steps(self.steps, self.comparison, self.labelled_diversity),
            *rendering.render_routes(self.routes),
            *rendering.render_gains(self.gains),
            *rendering.render_probabilities(self.calibration, self.abstention),
            *rendering.render_losses(self.losses, self.rejected, self.n_synthetic),
            *rendering.render_usage(self.usage, self.steps, n_accepted),
        ]
        return "\n\n".join(parts) + "\n"

    def _repr_markdown_(self) -> str:
        return str(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in what JSON can hold.

        A mapping whose keys are no str, such as a report's classes, is a list of pairs; a label of
        a rejected text that JSON cannot hold is its repr.
        """
        document: dict[str, Any] = _to_json(self)
        return document

    def plot(self, ax: Any = None) -> Any:
        """Plot the score after each step, and those that were not taken.

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
        judged = [step for step in self.steps if step.score is not None]
        ax.plot([s.number for s in judged], [s.score for s in judged], "o-", label="learnt")
        left = [s for s in judged if not s.taken and s.comparison is not None]
        if left:
            scores = [s.comparison.after for s in left if s.comparison is not None]
            ax.plot([s.number for s in left], scores, "rx", label="not taken")
        ax.set_xticks([s.number for s in self.steps], [s.route for s in self.steps], rotation=45)
        ax.set(ylabel=self.comparison.scoring if self.comparison else "")
        ax.legend()
        return ax


def make_run_report(clf: Any) -> Report:
    """Gather a report from a fitted `PGKDClassifier`.

    Raises
    ------
    InvalidInputError
        If it was saved by a pgkd that kept the run in another form.
    """
    if not clf.history_:
        raise InvalidInputError(
            "The classifier was saved by an earlier pgkd, whose runs went another way: fit it "
            "again for a report. It predicts as before, and `synthetic_` and `usage_` are there."
        )
    rejected = tuple(t for t in clf.synthetic_ if t.verdict != "accepted")
    mask = clf.refit_mask_
    return Report(
        comparison=clf.comparison_,
        n_labelled=clf.history_[0].n_accepted,
        stop_reason=clf.stop_reason_,
        steps=tuple(clf.history_),
        routes=_sum_up(clf.history_, clf.synthetic_),
        probe=clf.probe_,
        labelled_diversity=clf.labelled_diversity_,
        gains=_find_gains(clf.history_),
        losses=_count_losses(clf.history_, rejected),
        n_synthetic=len(clf.synthetic_),
        rejected=rejected,
        usage=clf.usage_,
        n_refitted=None if mask is None else int(mask.sum()),
        is_optimistic=clf.evidence is not None and clf.evidence.feedback == "validation",
        calibration=clf.calibration_,
        abstention=clf.abstention_,
    )


def _sum_up(history: Sequence[Step], synthetic: Sequence[SyntheticText]) -> tuple[RouteSum, ...]:
    sums = []
    for route in dict.fromkeys(step.route for step in history[1:]):
        own = [step for step in history if step.route == route]
        numbers = {step.number for step in own}
        learnt = {t.text for t in synthetic if t.verdict == "accepted" and t.cycle in numbers}
        gains = [s.comparison.after - s.comparison.before for s in own if s.comparison and s.taken]
        is_judged = any(step.comparison for step in own)
        usage = sum((step.usage for step in own), Usage())
        sums.append(RouteSum(route, len(learnt), usage, sum(gains) if is_judged else None))
    return tuple(sums)


def _find_gains(history: Sequence[Step]) -> tuple[ClassGain, ...]:
    first, last = history[0].report, history[-1].report
    if first is None or last is None:
        return ()
    gains = [
        ClassGain(label, score.f1, last.classes[label].f1, score.support)
        for label, score in first.classes.items()
        if score.support
    ]
    return tuple(sorted(gains, key=lambda gain: -gain.gain))


def _count_losses(history: Sequence[Step], rejected: Sequence[SyntheticText]) -> tuple[Loss, ...]:
    counts = Counter((t.cycle, t.verdict, str(t.reason)) for t in rejected)
    for step in history:
        for reason, n in step.rejected.items():
            # The step counts what has no row in `synthetic_` as well.
            if unread := n - counts[step.number, "rejected", reason]:
                counts[step.number, "not read", reason] = unread
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
