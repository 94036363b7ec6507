"""What a sampler decides by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pgkd.records.performance import Feedback, StudentReport
from pgkd.records.texts import Example, FloatArray, Label


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
