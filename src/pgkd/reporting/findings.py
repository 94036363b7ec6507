"""`Findings`: all that a report is about, and nothing of how it is said."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgkd.evaluation.calibration import Calibration
from pgkd.models.abstention import Abstention
from pgkd.records import (
    Comparison,
    Diversity,
    Label,
    Probe,
    Records,
    Sent,
    Step,
    SyntheticText,
    Usage,
)
from pgkd.reporting.sums import ClassGain, Confusion, Loss, RouteSum


@dataclass(frozen=True, repr=False)
class Findings:
    """What a run did. Its lists print as tables.

    Attributes
    ----------
    comparison : Comparison or None
        What was learnt against the labelled texts alone; ``None`` without labelled texts.
    n_labelled : int
    stop_reason : str
    steps : list of Step
    routes : list of RouteSum
    probe : Probe or None
        What the teacher was found to be good for.
    labelled_diversity : Diversity or None
        To set that of the steps beside.
    gains : list of ClassGain
        A class with labelled texts each, the largest gain first.
    confusions : list of Confusion
        The mistakes before and after, the most frequent first.
    losses : list of Loss
        Why texts were not learnt: every one is counted.
    texts : list of SyntheticText
        Every text beside the labelled ones; ``pandas.DataFrame(report.texts)`` is a table.
    usage, saved : Usage
        What `fit` has paid, and what answers that were kept in `run_dir` had taken.
    is_multilabel : bool
        Whether texts have several labels each.
    n_refitted : int or None
        Texts of `synthetic_` that ``student_`` has learnt since, if `refit` was called.
    is_optimistic : bool
        Whether the teacher was shown the texts that decide.
    calibration : Calibration or None
        ``calibration_`` of the classifier.
    abstention : Abstention or None
        ``abstention_`` of the classifier.
    sent : Sent or None
        What the teacher was shown, and where.
    student : str
        The name of its class.
    """

    comparison: Comparison | None
    n_labelled: int
    stop_reason: str
    steps: Records[Step]
    routes: Records[RouteSum]
    probe: Probe | None
    labelled_diversity: Diversity | None
    gains: Records[ClassGain]
    confusions: Records[Confusion]
    losses: Records[Loss]
    texts: Records[SyntheticText]
    usage: Usage
    saved: Usage = field(default_factory=Usage)
    is_multilabel: bool = False
    n_refitted: int | None = None
    is_optimistic: bool = False
    calibration: Calibration | None = None
    abstention: Abstention | None = None
    sent: Sent | None = None
    student: str = ""

    @property
    def title(self) -> str:
        """What a saved report is told from others by."""
        what = f"{self.n_labelled} labelled texts" if self.n_labelled else "no labelled text"
        teacher = self.sent.model if self.sent else ""
        return f"Report: {', '.join(filter(None, [self.student, what, teacher]))}"

    @property
    def lone_classes(self) -> tuple[Label, ...]:
        """Classes with a single labelled text, which no student had learnt that was judged by it.

        A gate judges them: its texts are none of those that are learnt.
        """
        own = self.comparison
        if own is None or own.n_texts != self.n_labelled:
            return ()
        return tuple(gain.label for gain in self.gains if gain.support == 1)

    @property
    def rejected(self) -> Records[SyntheticText]:
        """Every text that was rejected or dropped."""
        return Records(text for text in self.texts if text.verdict != "accepted")

    @property
    def bill(self) -> Usage:
        """What all answers took, whenever they were bought."""
        return self.usage + self.saved

    @property
    def rest_of_bill(self) -> Usage:
        """What is no step's: the probe's answers, and those of a step that was cut off."""
        return self.bill - sum((step.usage + step.saved for step in self.steps), Usage())

    @property
    def classes(self) -> tuple[Label, ...]:
        """Those that the labelled texts judge, in the order of ``classes_``."""
        report = self.steps[0].report
        return () if report is None else tuple(report.classes)

    @property
    def scoring(self) -> str:
        """The name of the score."""
        return self.comparison.scoring if self.comparison else "score"
