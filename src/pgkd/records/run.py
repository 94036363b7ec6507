"""What happens in a run, and to each of its texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgkd.records.answers import Generation, Usage
from pgkd.records.comparison import Comparison
from pgkd.records.diversity import Diversity
from pgkd.records.performance import StudentReport
from pgkd.records.probe import Probe
from pgkd.records.texts import Label, labels_of


@dataclass(frozen=True, slots=True)
class SyntheticText:
    """A text beside the labelled ones and what became of it; a row of ``synthetic_``.

    Attributes
    ----------
    text : str
    label : str, int, bool or tuple of these
    cycle : int
        The step of ``history_`` that brought it.
    request_id : str
        Empty if no teacher was asked.
    seed_texts : tuple of str
        The real texts of its class that the request showed; of several labels, those that have at
        least half of them in common with it.
    model : str or None
        What wrote or labelled it.
    cost : float or None
        US dollars: an equal share of what the request took among the texts of its answer. ``None``
        when that is not known.
    verdict : {"accepted", "rejected", "dropped"}
        Accepted texts are what `fit` trained ``student_`` on. Rejected by curation. Dropped with
        all that their route brought, as the labelled texts do not say that it helps, or because
        the step was not finished.
    reason : str or None
        Why it was rejected or dropped.
    source : {"name", "description", "log", "unlabelled", "pool", "generated"}
        The name or the description of a class, a text of the logs, one of `X_unlabeled` with the
        student's own label or with the teacher's, or one that the teacher wrote. A text of the pool
        has a row for each label that it may have, whose weights are the labels' probabilities.
    weight : float
        In training, against 1 for a labelled text; 0 for a text that is not learnt.
    """

    text: str
    label: Label
    cycle: int
    request_id: str
    seed_texts: tuple[str, ...] = field(default=(), kw_only=True)
    model: str | None = field(default=None, kw_only=True)
    cost: float | None = field(default=None, kw_only=True)
    verdict: str
    reason: str | None = None
    source: str = "generated"
    weight: float = 1.0

    @property
    def row(self) -> dict[str, str]:
        """What a table of `Records` shows of it."""
        verdict = self.verdict if self.reason is None else f"{self.verdict}: {self.reason}"
        return {"step": str(self.cycle), "text": self.text, "label": str(self.label)} | {
            "source": self.source,
            "verdict": verdict,
        }

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes of the text."""
        return labels_of(self.label)


@dataclass(frozen=True, slots=True, repr=False)
class Step:
    """One step of a run; a row of ``history_``. Step 0 is the labelled texts alone.

    Attributes
    ----------
    number : int
    route : {"labelled", "names", "logs", "unlabelled", "describe", "label", "write"}
        Where its texts come from.
    taken : bool
        Whether the student learns them.
    score : float or None
        `scoring` of the training set after the step, greater is better. ``None``, as `report` and
        `comparison`, if there are no labelled texts to judge it. A text whose class no other
        labelled text has cannot be known out of fold: it is credited with a guess.
    report : StudentReport or None
        Of the same, where such a text is a mistake.
    comparison : Comparison or None
        Of the training set with all that the route has brought, at its best weight, and without the
        step.
    factor : float
        Weight of the route's texts, against 1 for a labelled one; 0 if they are not learnt.
    n_requested, n_generated, n_accepted : int
        Texts asked for, read out of the teacher's answers, and fit to be learnt.
    rejected : mapping of str to int
        Why texts are missing, counted by reason.
    usage, saved : Usage
        What the step took from the teacher; and what answers that were kept in `run_dir` had taken
        when they were bought.
    seconds : float
    seconds_left : float or None
        For the steps to come, at most. ``None``: not known.
    feedback_report : StudentReport or None
        What the teacher was shown.
    diversity : Diversity or None
        Of the texts that are fit to be learnt.
    """

    number: int
    route: str
    taken: bool = True
    score: float | None = None
    report: StudentReport | None = None
    comparison: Comparison | None = None
    factor: float = 1.0
    n_requested: int = 0
    n_generated: int = 0
    n_accepted: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    saved: Usage = field(default_factory=Usage)
    seconds: float = field(default=0.0, compare=False)
    seconds_left: float | None = field(default=None, compare=False)
    feedback_report: StudentReport | None = None
    diversity: Diversity | None = None

    def __repr__(self) -> str:
        return f"Step({', '.join(f'{k}: {v}' for k, v in self.row.items() if v)})"

    @property
    def row(self) -> dict[str, str]:
        """What a table of `Records` shows of it."""
        own = self.comparison
        return {
            "step": str(self.number),
            "route": self.route,
            "score": "" if self.score is None else f"{self.score:.3f}",
            "gain": "" if own is None else own.difference,
            "expected gain": "" if own is None else f"{own.gain:+.3f}",
            "weight": f"{self.factor:g}" if self.taken else "not taken",
            "texts": str(self.n_accepted),
            "US dollars": self.usage.dollars,
        }


@dataclass(frozen=True, slots=True)
class Begin:
    """What a run begins with.

    Attributes
    ----------
    parameters : mapping of str to str
        Of the classifier, as they are printed; what was left open is filled in.
    n_labelled, n_unlabelled, n_classes : int
    scoring : str
    max_cost : float or None
        US dollars.
    """

    parameters: Mapping[str, str]
    n_labelled: int
    n_unlabelled: int
    n_classes: int
    scoring: str
    max_cost: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run is at.

    Attributes
    ----------
    number : int
        Of the step.
    route : str
        Of the step; empty when all steps are done.
    doing : {"training", "asking", "finishing", "resuming", "repeating"}
        Resuming: another process was left after this step; those up to it are told again.
        Repeating: the same, and nothing is left to do after it.
    n_requests : int
        That are being sent.
    """

    number: int
    route: str
    doing: str
    n_requests: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during `fit`.

    Attributes
    ----------
    kind : {"begin", "progress", "step", "probe", "generation", "end"}
    value : Begin, Progress, Step, Probe, Generation or str
        What the run begins with; what it is at, now and after each training; the step that ended
        (the labelled texts alone are number 0); what the probe found; the teacher's answer to one
        request; or why the loop stopped.
    """

    kind: str
    value: Begin | Progress | Step | Probe | Generation | str
