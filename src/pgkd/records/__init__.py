"""The frozen records that travel between the modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: A class label as the user gave it: str, int or bool. Of a text with several labels, the tuple of
#: them in the order of ``classes_``.
Label: TypeAlias = Any
#: One chat message: ``{"role": "user", "content": "..."}``.
Message: TypeAlias = Mapping[str, str]
FloatArray: TypeAlias = NDArray[np.float64]
LabelArray: TypeAlias = NDArray[Any]


def labels_of(label: Label) -> tuple[Label, ...]:
    """Return the classes of a text: a label is one of them, or the tuple of them."""
    return label if isinstance(label, tuple) else (label,)


@dataclass(frozen=True, slots=True)
class Usage:
    """What answers of a teacher took.

    Attributes
    ----------
    n_requests : int
        Requests sent, failed attempts included.
    input_tokens, output_tokens : int
        Tokens read and written by the teacher, as its server counted them.
    cost : float or None
        US dollars. ``None`` when a price is not known, never 0 for want of one.
    cached_tokens : int
        Those of the input tokens that the server had in its prompt cache, at a lower price.

    Examples
    --------
    >>> from pgkd.records import Usage
    >>> Usage(1, 100, 20, cost=0.5) + Usage(1, 50, 10, cost=None)
    Usage(n_requests=2, input_tokens=150, output_tokens=30, cost=None, cached_tokens=0)
    """

    n_requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        known = self.cost is not None and other.cost is not None
        return Usage(
            self.n_requests + other.n_requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost if known else None,  # type: ignore[operator]
            self.cached_tokens + other.cached_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        known = self.cost is not None and other.cost is not None
        return Usage(
            self.n_requests - other.n_requests,
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.cost - other.cost if known else None,  # type: ignore[operator]
            self.cached_tokens - other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class Example:
    """A text, its label and its weight in training."""

    text: str
    label: Label
    weight: float = field(default=1.0, repr=False)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes of the text."""
        return labels_of(self.label)


@dataclass(frozen=True, slots=True)
class Prediction:
    """A labelled text as the student sees it.

    Attributes
    ----------
    text : str
    label : str, int, bool or tuple of these
        The true label.
    predicted : str, int, bool or tuple of these
        The student's label.
    confidence : float
        The student's probability of `predicted`, in [0, 1]. Of several labels, each of which is
        given or not: that of the most confident wrong decision, or of the least sure one if all
        are right.
    """

    text: str
    label: Label
    predicted: Label
    confidence: float

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes of the text."""
        return labels_of(self.label)

    @property
    def predicted_labels(self) -> tuple[Label, ...]:
        """The classes that the student gives it."""
        return labels_of(self.predicted)

    @property
    def correct(self) -> bool:
        """Whether the student is right."""
        return bool(self.label == self.predicted)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Precision, recall, F1 (each in [0, 1]) and number of texts of one class."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class StudentReport:
    """The validation report of a student (paper, "gradual evaluation check").

    Attributes
    ----------
    accuracy, f1_macro : float
        In [0, 1]; `f1_macro` is the mean over the classes that have a text. With several labels a
        text, accuracy is the share of the texts whose labels are all right.
    log_loss : float
        In nats a text; with several labels, the sum over the labels.
    classes : mapping of label to ClassScore
        In the order of ``classes_``.
    confusions : mapping of (true label, predicted label) to int
        How often each mistake was made, the most frequent first. With several labels: in how many
        texts the first is missed and the second wrongly given.
    f1_micro : float or None
        F1 of all decisions together, only with several labels; else it is the accuracy.
    n_texts : int or None
    """

    accuracy: float
    f1_macro: float
    log_loss: float
    classes: Mapping[Label, ClassScore]
    confusions: Mapping[tuple[Label, Label], int]
    f1_micro: float | None = None
    n_texts: int | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the student's performance shows, on texts that the teacher may see.

    Attributes
    ----------
    predictions : tuple of Prediction
        The student on every feedback text (by default each training text, out of fold).
    report : StudentReport
        The validation report over `predictions`.
    previous : StudentReport or None
        The report before the last batch was learnt; ``None`` in the first cycle.
    probabilities : array of shape (n_texts, n_classes) or None
        The student's, in the order of `predictions` and of the state's classes.
    """

    predictions: tuple[Prediction, ...]
    report: StudentReport
    previous: StudentReport | None = None
    probabilities: FloatArray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """What an earlier cycle bought.

    Attributes
    ----------
    requested, counts : mapping of label to int
        Texts that were asked for, and that the candidate learnt, of each class; or was to learn,
        if that turned out to harm it.
    feedback : StudentReport or None
        The report before the batch was learnt.
    """

    requested: Mapping[Label, int]
    counts: Mapping[Label, int]
    feedback: StudentReport | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that a sampler may look at when it decides what to ask for.

    Attributes
    ----------
    cycle : int
        Number of this cycle, from 1.
    classes : tuple of labels
        In the order of ``classes_``.
    examples : tuple of Example
        The labelled training texts.
    synthetic : tuple of Example
        The generated texts in use so far.
    feedback : Feedback or None
        ``None`` only for a sampler that does not need it.
    task_description : str or None
    class_descriptions : mapping of label to str
        Empty when the user gave none.
    pool : tuple of str
        The unlabelled texts that the teacher was not asked about yet.
    pool_probabilities : array of shape (len(pool), n_classes)
        The student's. Only for a sampler with ``needs_pool = True``.
    scoring : str or None
        The name of the score, which says what the texts are wanted for; ``None`` for a
        callable.
    batches : tuple of Batch
        What was bought in earlier cycles.
    multilabel : bool
        Whether texts have several labels: those of `examples` are tuples of `classes` then.
    folds : tuple of int
        The fold of each of `examples`, if these are what `feedback` is about, out of fold. The
        student that predicts a fold does not learn what was written after one of its texts, so the
        fewer folds a request shows, the better the loop sees what its texts are worth. Empty where
        that does not matter.
    embed : callable or None
        The student's embeddings of texts, by which near ones are found, if it has any.
    """

    cycle: int
    classes: tuple[Label, ...]
    examples: tuple[Example, ...]
    synthetic: tuple[Example, ...] = ()
    feedback: Feedback | None = None
    task_description: str | None = None
    class_descriptions: Mapping[Label, str] = field(default_factory=dict)
    pool: tuple[str, ...] = ()
    pool_probabilities: FloatArray = field(default_factory=lambda: np.empty((0, 0)), compare=False)
    scoring: str | None = "neg_log_loss"
    batches: tuple[Batch, ...] = ()
    multilabel: bool = False
    folds: tuple[int, ...] = ()
    embed: Callable[[Sequence[str]], Any] | None = field(default=None, compare=False, repr=False)

    @property
    def may_be_empty(self) -> bool:
        """Whether a text may have no label at all, as some labelled one has."""
        return any(example.label == () for example in self.examples)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One order to the teacher: how many texts of which classes, and the evidence to show.

    Attributes
    ----------
    id : str
        Unique within a run, e.g. ``"2-7"``: cycle 2, request 7. It is part of the prompt, so that
        two requests with the same content still get answers of their own.
    counts : mapping of label to int
        Texts wanted of each class or, with several labels a text, of each combination of them, a
        tuple.
    examples : tuple of Example
        Real texts, to show the style.
    hard_negatives : tuple of Prediction
        The student's most confident mistakes.
    correct, wrong : tuple of Prediction
        Samples that the student gets right, and further ones that it gets wrong.
    contrasts : mapping of label to tuple of labels
        For a class, those that it is mistaken for: its texts are to show the difference.
    kind : {"new", "rewrite", "describe"}
        Whether to write new texts, to rewrite what was got wrong, or to describe each class: in
        a sentence, and phrases for the rest of its texts.
    report, previous_report : StudentReport or None
        The student's report cut to the classes of this request, now and before the last batch.
    task_description : str or None
    class_descriptions : mapping of label to str
    choices : tuple of labels
        With several labels a text: the classes that a text may have. Empty: each text has one
        label.
    """

    id: str
    counts: Mapping[Label, int]
    examples: tuple[Example, ...] = ()
    hard_negatives: tuple[Prediction, ...] = ()
    correct: tuple[Prediction, ...] = ()
    wrong: tuple[Prediction, ...] = ()
    contrasts: Mapping[Label, tuple[Label, ...]] = field(default_factory=dict)
    kind: str = "new"
    report: StudentReport | None = None
    previous_report: StudentReport | None = None
    task_description: str | None = None
    class_descriptions: Mapping[Label, str] = field(default_factory=dict)
    choices: tuple[Label, ...] = ()

    @property
    def n_texts(self) -> int:
        """Texts wanted in all."""
        return sum(self.counts.values())

    @property
    def classes(self) -> tuple[Label, ...]:
        """The classes of the texts wanted."""
        return tuple(dict.fromkeys(own for label in self.counts for own in labels_of(label)))


@dataclass(frozen=True, slots=True)
class AnnotationRequest:
    """An order to the teacher to label texts.

    Attributes
    ----------
    id : str
        Unique within a run.
    texts : tuple of str
        Texts without a label.
    shortlists : tuple of tuples of labels
        For each text, the classes that its label is chosen from.
    examples : tuple of Example
        Real texts of these classes.
    task_description : str or None
    class_descriptions : mapping of label to str
    multilabel : bool
        Whether a text gets all labels of its shortlist that fit, as a tuple, and not the best one.
    may_be_empty : bool
        Whether it may be that none fits: the label ``()``.
    """

    id: str
    texts: tuple[str, ...]
    shortlists: tuple[tuple[Label, ...], ...]
    examples: tuple[Example, ...] = ()
    task_description: str | None = None
    class_descriptions: Mapping[Label, str] = field(default_factory=dict)
    multilabel: bool = False
    may_be_empty: bool = False

    @property
    def n_texts(self) -> int:
        """Labels wanted in all."""
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer of an LLM, as text.

    Attributes
    ----------
    text : str
    usage : Usage
    truncated : bool
        Whether the answer stopped at the token limit.
    saved : Usage
        What an answer that was kept took when it was bought; it is not paid again.
    logprobs : tuple of mappings of str to float
        For each token of the text, where the server tells, its natural log probability and those
        of the tokens that it might have been; the token itself first.
    """

    text: str
    usage: Usage = field(default_factory=lambda: Usage(n_requests=1, cost=None))
    truncated: bool = False
    saved: Usage = field(default_factory=Usage)
    logprobs: tuple[Mapping[str, float], ...] = field(default=(), repr=False)


#: Reason why a text has no label: the answer does not mention it.
NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something in an answer that cannot be used.

    Attributes
    ----------
    reason : str
    text : str or None
        ``None`` if there is no text.
    label : str or None
        As the teacher wrote it.
    """

    reason: str
    text: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A teacher's answer to one request.

    Attributes
    ----------
    request : GenerationRequest or AnnotationRequest
    examples : tuple of Example
        The new labelled texts, every label one of the request's classes.
    rejected : mapping of str to int
        What was in the answer and could not be used, counted by reason.
    usage : Usage
    error : str or None
        Why the request failed, if it did.
    unsent : bool
        Whether it failed because the budget did not allow it to be sent.
    model : str or None
        What answered, if the teacher says so.
    refused : tuple of Refusal
        What is counted in `rejected` and has a text: it becomes a row of ``synthetic_``.
    saved : Usage
        What answers that were kept took when they were bought; they are not paid again.
    is_final : bool
        Whether asking again is no use: an annotator cannot label this text.
    probabilities : mapping of str to mapping of label to float
        Of texts that were to be labelled, as far as the teacher tells: how probable it finds each
        label of the text's shortlist.
    """

    request: GenerationRequest | AnnotationRequest
    examples: tuple[Example, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    error: str | None = None
    unsent: bool = False
    model: str | None = None
    refused: tuple[Refusal, ...] = ()
    saved: Usage = field(default_factory=Usage)
    is_final: bool = False
    probabilities: Mapping[str, Mapping[Label, float]] = field(default_factory=dict)

    @property
    def worth(self) -> Usage:
        """What the answer took, now or when it was bought."""
        return self.usage + self.saved


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
    def labels(self) -> tuple[Label, ...]:
        """The classes of the text."""
        return labels_of(self.label)


@dataclass(frozen=True, slots=True)
class Probe:
    """How well the teacher labels the labelled texts of which the student is least sure.

    Attributes
    ----------
    n_texts : int
        Texts that the teacher answered about.
    n_teacher, n_student, n_fused : int
        Those that the teacher labels rightly, the student out of fold, and both opinions together.
    n_only_teacher, n_only_student : int
        Those that only one of the two labels rightly.
    weight : float
        Of the teacher's opinion beside the student's, as an exponent; 0: it adds nothing.
    has_probabilities : bool
        Whether the teacher gave probabilities, and not only labels.
    usage : Usage
        What the probe took from the teacher; no step of ``history_`` counts it.
    """

    n_texts: int
    n_teacher: int
    n_student: int
    n_fused: int
    n_only_teacher: int
    n_only_student: int
    weight: float
    has_probabilities: bool = False
    usage: Usage = field(default_factory=Usage)

    @property
    def teacher_accuracy(self) -> float:
        """Share of the texts, in [0, 1]."""
        return self.n_teacher / self.n_texts

    @property
    def student_accuracy(self) -> float:
        """Share of the texts, in [0, 1], out of fold."""
        return self.n_student / self.n_texts

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the teacher's accuracy (Wilson)."""
        return wilson_interval(self.n_teacher, self.n_texts)

    @property
    def is_useless(self) -> bool:
        """Whether the teacher is worse than the student beyond doubt, and adds nothing to it.

        Only texts that one of the two gets right tell which is better. If they are equally good,
        each is the toss of a coin: a lead of twice its standard error is no chance.
        """
        n = self.n_only_teacher + self.n_only_student
        is_worse = self.n_only_student - self.n_only_teacher > 2 * math.sqrt(n)
        return self.weight == 0 and (is_worse or self.n_teacher == 0)

    @property
    def verdict(self) -> str:
        """What the probe says about the teacher, in words."""
        low, high = self.interval
        if self.is_useless:
            advice = "It is not worth asking"
        elif not self.weight:
            advice = "Its labels add nothing; whether texts that it writes do remains to be seen"
        elif self.n_teacher > self.n_student:
            advice = "It is worth asking"
        else:
            advice = "Alone it is no better, but its opinion adds to the student's"
        return (
            f"On the {self.n_texts} texts that your student is least sure of, the teacher is right "
            f"on {self.teacher_accuracy:.0%} ({low * 100:.0f}-{high * 100:.0f}), the student on "
            f"{self.student_accuracy:.0%}, both together on {self.n_fused / self.n_texts:.0%}. "
            f"{advice}."
        ).replace("%", " %")


def wilson_interval(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a share, k of n.

    Examples
    --------
    >>> from pgkd.records import wilson_interval
    >>> [round(end, 2) for end in wilson_interval(25, 40)]
    [0.47, 0.76]
    """
    centre = k + z**2 / 2
    radius = z * math.sqrt(k * (n - k) / max(n, 1) + z**2 / 4)
    return (centre - radius) / (n + z**2), (centre + radius) / (n + z**2)


class ClassDiversity(NamedTuple):
    """How different from each other the texts of one class are: see `Diversity`."""

    n_texts: int
    distinct_1: float
    distinct_2: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Diversity:
    """How different from each other the texts of a class are, as the mean over the classes.

    Classes with fewer than two texts do not count.

    Attributes
    ----------
    distinct_1, distinct_2 : float
        Different words, and pairs of neighbouring words, as a share of all, in (0, 1]. The more
        texts, the lower.
    similarity : float
        Mean cosine similarity of character trigrams of two texts, in [0, 1]. The number of texts
        does not matter.
    classes : mapping of label to ClassDiversity
        The same of each class with two texts or more.
    """

    distinct_1: float
    distinct_2: float
    similarity: float
    classes: Mapping[Label, ClassDiversity] = field(default_factory=dict)


#: Of a gain in score before any text is seen; what a nat of the log loss is worth in score. Found
#: by simulation, which hardly depends on them: benchmarks/deciders.py.
PRIOR_SPREAD, POINTS_PER_NAT = 0.03, 0.25
#: No difference is known better than that, and no smaller one is a difference.
MIN_ERROR, ROUNDING = 1e-4, 1e-9


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two training sets, compared text by text on labelled texts that neither student has learnt.

    Attributes
    ----------
    scoring : str
        Name of the score; greater is better.
    before, after : float
    standard_error : float
        Of ``after - before``, over the texts.
    log_loss_gain, log_loss_error : float
        By how much the log loss falls, in nats a text, after temperature scaling; and its standard
        error.
    correlation : float
        Of the two gains, text by text.
    n_texts : int
    """

    scoring: str
    before: float
    after: float
    standard_error: float
    log_loss_gain: float
    log_loss_error: float
    correlation: float
    n_texts: int

    @property
    def gain(self) -> float:
        """The gain in score that is to be expected: both measures together, shrunk towards none.

        A gain is thought to be normally distributed around 0 before any text is seen. The score and
        the log loss are two looks at it: the score is what is wanted, and few texts change sides
        in it; in the log loss every text has a part. They are weighed by their precision.
        """
        return self._posterior[0]

    @property
    def gain_error(self) -> float:
        """The standard deviation of that."""
        return self._posterior[1]

    @property
    def taken(self) -> bool:
        """Whether the second is to be preferred: it is expected to be better."""
        return self.gain > ROUNDING

    @property
    def _posterior(self) -> tuple[float, float]:
        is_log_loss = self.scoring == "neg_log_loss"
        slope = 1.0 if is_log_loss else POINTS_PER_NAT
        spread = PRIOR_SPREAD / POINTS_PER_NAT if is_log_loss else PRIOR_SPREAD
        # Where no text changes sides, one might have.
        looks = [(self.after - self.before, max(self.standard_error, 1 / self.n_texts))]
        looks += [(slope * self.log_loss_gain, max(slope * self.log_loss_error, MIN_ERROR))]
        precision = [1 / error**2 for _, error in looks]
        mean = sum(p * value for p, (value, _) in zip(precision, looks)) / sum(precision)
        # The looks are at the same texts, so that together they tell less than two would.
        total = sum(precision) / (1 + max(self.correlation, 0.0))
        prior = 1 / spread**2
        return mean * total / (total + prior), 1 / math.sqrt(total + prior)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of ``after - before``."""
        difference = self.after - self.before
        return difference - 1.96 * self.standard_error, difference + 1.96 * self.standard_error


@dataclass(frozen=True, slots=True)
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
        `comparison`, if there are no labelled texts to judge it.
    report : StudentReport or None
        Of the same.
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


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during `fit`.

    Attributes
    ----------
    kind : {"step", "probe", "generation", "end"}
    value : Step, Probe, Generation or str
        The step that ended (the labelled texts alone are number 0), what the probe found, the
        teacher's answer to one request, or why the loop stopped.
    """

    kind: str
    value: Step | Probe | Generation | str


class UnlabeledTexts:
    """Texts without a label, in a wrapping that cross-validation leaves alone.

    scikit-learn cuts any argument of `fit` that has as many items as `X` to the rows of a fold.
    This one has no length that it can see.

    Parameters
    ----------
    texts : list, 1-D array or Series of str

    Examples
    --------
    >>> from pgkd import UnlabeledTexts
    >>> UnlabeledTexts(["how do I change my pin", "where is my card"])
    UnlabeledTexts(2 texts)
    """

    def __init__(self, texts: Any) -> None:
        self.texts = texts

    def __repr__(self) -> str:
        return f"UnlabeledTexts({len(self.texts)} texts)"
