"""The frozen records that travel between the modules."""

from __future__ import annotations

from collections.abc import Mapping
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
    tokens : mapping of {"generated", "pool"} to int
        Input and output tokens that texts of each source took.
    feedback : StudentReport or None
        The report before the batch was learnt.
    """

    requested: Mapping[Label, int]
    counts: Mapping[Label, int]
    tokens: Mapping[str, int]
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
        The name of the gate score, which says what the texts are wanted for; ``None`` for a
        callable.
    batches : tuple of Batch
        What was bought in earlier cycles.
    settled : frozenset of labels
        Classes in which the teacher cannot better the student.
    multilabel : bool
        Whether texts have several labels: those of `examples` are tuples of `classes` then.
    folds : tuple of int
        The fold of each of `examples`, if these are what `feedback` is about, out of fold. The
        student that predicts a fold does not learn what was written after one of its texts, so the
        fewer folds a request shows, the better the loop sees what its texts are worth. Empty where
        that does not matter.
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
    settled: frozenset[Label] = frozenset()
    multilabel: bool = False
    folds: tuple[int, ...] = ()

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
    rewrite : bool
        Whether to rewrite what was got wrong instead of writing something new.
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
    rewrite: bool = False
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
    """

    text: str
    usage: Usage = field(default_factory=lambda: Usage(n_requests=1, cost=None))
    truncated: bool = False
    saved: Usage = field(default_factory=Usage)


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

    @property
    def worth(self) -> Usage:
        """What the answer took, now or when it was bought."""
        return self.usage + self.saved


@dataclass(frozen=True, slots=True)
class SyntheticText:
    """A generated text and what became of it; a row of ``synthetic_``.

    Attributes
    ----------
    text : str
    label : str, int, bool or tuple of these
    cycle : int
    request_id : str
    seed_texts : tuple of str
        The real texts of its class that the request showed; of several labels, those that have at
        least half of them in common with it.
    model : str or None
        What wrote or labelled it.
    cost : float or None
        US dollars: an equal share of what the request took among the texts of its answer. ``None``
        when that is not known.
    verdict : {"accepted", "rejected", "rolled back"}
        Accepted texts are what `fit` trained ``student_`` on. Rejected: by curation, or by what
        they did to the student out of fold. Rolled back:
        with its whole cycle, because the gate got worse, the baseline was returned, or the
        cycle was not finished.
    reason : str or None
        Why it was rejected, or its cycle not kept.
    source : {"generated", "pool"}
        Whether the teacher wrote the text, or labelled one of `X_unlabeled`.
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


class ClassAudit(NamedTuple):
    """Audited texts of one class, and the shares of them that were labelled rightly."""

    n_texts: int
    teacher_accuracy: float
    student_accuracy: float


@dataclass(frozen=True, slots=True)
class Audit:
    """How well the teacher labels texts whose labels are known, next to the student.

    Attributes
    ----------
    n_texts : int
        Training texts that the teacher answered about.
    teacher_accuracy : float
        In [0, 1], of labels chosen from the student's shortlists, with examples.
    teacher_accuracy_unaided : float or None
        Of labels chosen among all classes, without examples. ``None`` if that was not asked,
        because a shortlist has all classes.
    self_agreement : float or None
        Share of the texts that got the same label when they were asked about once more, in another
        order. ``None`` if the budget did not reach so far.
    student_accuracy : float
        Of the student on the same texts, out of fold.
    n_mistakes, n_corrected, n_spoilt : int
        The student's mistakes among the texts, those of them that the teacher labels rightly, and
        the student's right answers that the teacher gets wrong.
    advantage : tuple of (float, float)
        The share of the student's mistakes that the teacher corrects, less the share of its right
        answers that it spoils, in [-1, 1]: the 90 % confidence interval.
    classes : mapping of label to ClassAudit
        In the order of ``classes_``; classes without an audited text are left out.
    settled : frozenset of labels
        Classes in which the student is better, by more than one standard error.
    usage : Usage
        What the audit took from the teacher; no cycle of ``history_`` counts it.
    trust : mapping of label to float
        The chance, in (0, 1), that a label is right when the teacher gives it. Of the texts that
        got the label, the share that have it, as if two more had the share of all labels; for a
        class without an audited text, the share of all labels.
    """

    n_texts: int
    teacher_accuracy: float
    teacher_accuracy_unaided: float | None
    self_agreement: float | None
    student_accuracy: float
    n_mistakes: int
    n_corrected: int
    n_spoilt: int
    advantage: tuple[float, float]
    classes: Mapping[Label, ClassAudit]
    settled: frozenset[Label] = frozenset()
    usage: Usage = field(default_factory=Usage)
    trust: Mapping[Label, float] = field(default_factory=dict)

    def weigh(self, text: SyntheticText) -> float:
        """Return the trust in a text's label: of several the mean, 1 if it has none."""
        trust = [self.trust.get(label, 1.0) for label in text.labels]
        return sum(trust) / len(trust) if trust else 1.0

    @property
    def is_teacher_better(self) -> bool:
        """Whether it is safe to say that the teacher labels better where the student is unsure."""
        return self.advantage[0] > 0

    @property
    def verdict(self) -> str:
        """What the audit says about the teacher, in a sentence or two.

        Where the student is right about one text in two, the teacher betters it if, and only if,
        it corrects a greater share of the mistakes than it spoils of the right answers.
        """
        n_right = self.n_texts - self.n_mistakes
        corrected, spoilt = self.n_corrected, self.n_spoilt
        if self.is_teacher_better:
            what = "This teacher labels better than the student where the student is unsure"
        elif (self.n_mistakes or spoilt) and corrected * n_right <= spoilt * self.n_mistakes:
            what = "This teacher cannot label better than the student does: expect little"
        else:
            what = (
                f"Whether this teacher labels better than the student cannot be told from "
                f"{self.n_texts} texts: a larger `audit_size` may"
            )
        return (
            f"{what}. It corrects {corrected} of the student's {self.n_mistakes} mistakes and "
            f"spoils {spoilt} of its {n_right} right answers."
        )


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


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle of the loop; a row of ``history_``. Cycle 0 is the baseline.

    Attributes
    ----------
    number : int
    gate_score : float
        `scoring` of the candidate on the gate texts, greater is better.
    gate_report : StudentReport
        The candidate on the gate texts. The teacher never sees it.
    kept : bool
        Whether the gate let the cycle's texts stay.
    feedback_report : StudentReport or None
        What the teacher was shown: the student before this cycle, on the feedback texts.
    n_requested, n_generated, n_accepted : int
        Texts asked for, read out of the teacher's answers, and learnt by the candidate.
    rejected : mapping of str to int
        Why texts are missing, counted by reason: what curation or the plausibility of the label
        was against, what could not be read in an answer, and requests that failed.
    usage, saved : Usage
        What the cycle took from the teacher; and what answers that were kept in `run_dir` had taken
        when they were bought.
    seconds : float
    reason : str or None
        Why the cycle was rolled back.
    synthetic_weight : float
        Factor of the weights of all generated texts.
    feedback_score : float or None
        `scoring` of the student before this cycle, on the feedback texts.
    diversity : Diversity or None
        Of the texts that the candidate learnt anew.
    """

    number: int
    gate_score: float
    gate_report: StudentReport
    kept: bool = True
    feedback_report: StudentReport | None = None
    n_requested: int = 0
    n_generated: int = 0
    n_accepted: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    saved: Usage = field(default_factory=Usage)
    seconds: float = field(default=0.0, compare=False)
    reason: str | None = None
    synthetic_weight: float = 1.0
    feedback_score: float | None = None
    diversity: Diversity | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The last comparison: the last student that was kept against the baseline, on the gate.

    Attributes
    ----------
    scoring : str
        Name of the score; greater is better.
    baseline_score, last_score : float
    baseline_report, last_report : StudentReport
    standard_error : float
        Of the difference of the scores.
    last_cycle : int
        The cycle of the last student that was kept.
    taken : bool
        Whether it was returned.
    rule : {"one standard error", "log loss", "last student"}
        Taken if better than the baseline by more than one standard error; or if not worse by more
        than one, and better by more than two standard errors of the log loss; or, with
        ``rollback=False``, in any case.
    """

    scoring: str
    baseline_score: float
    last_score: float
    baseline_report: StudentReport
    last_report: StudentReport
    standard_error: float
    last_cycle: int
    taken: bool
    rule: str = "one standard error"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during `fit`.

    Attributes
    ----------
    kind : {"cycle", "audit", "generation", "end"}
    value : Cycle, Audit, Generation or str
        The cycle that ended (the baseline is number 0), what the audit found, the teacher's answer
        to one request, or why the loop stopped.
    """

    kind: str
    value: Cycle | Audit | Generation | str


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
