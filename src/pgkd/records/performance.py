"""How a student does: its predictions, and the report over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgkd.records.texts import FloatArray, Label, labels_of


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


@dataclass(frozen=True, slots=True, repr=False)
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

    def __repr__(self) -> str:
        return (
            f"StudentReport(accuracy={self.accuracy:.3f}, f1_macro={self.f1_macro:.3f}, "
            f"log_loss={self.log_loss:.3f}, {len(self.classes)} classes, {self.n_texts} texts)"
        )


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
