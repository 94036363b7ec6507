"""What a teacher is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pgkd.records.performance import Prediction, StudentReport
from pgkd.records.texts import Example, Label, labels_of

#: One chat message: ``{"role": "user", "content": "..."}``.
Message: TypeAlias = Mapping[str, str]


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
    def shown_texts(self) -> set[str]:
        """The real texts that the teacher gets to see."""
        predictions = (*self.hard_negatives, *self.correct, *self.wrong)
        return {e.text for e in self.examples} | {p.text for p in predictions}

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
    def shown_texts(self) -> set[str]:
        """The texts that the teacher gets to see."""
        return {*self.texts, *(e.text for e in self.examples)}

    @property
    def n_texts(self) -> int:
        """Labels wanted in all."""
        return len(self.texts)
