"""What a student learns beside the labelled texts, and what each judge of it may learn."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.splitting import Indices, make_folds
from pgkd.inputs.text import fold_text
from pgkd.loop.evidence import Evidence
from pgkd.loop.task import Task
from pgkd.records import Example, FloatArray, SyntheticText


class Split(NamedTuple):
    """Rows of the labelled texts: those that a student learns, and those that it is judged by."""

    learnt: Indices
    judged: Indices


@dataclass(frozen=True)
class Splits:
    """How the labelled texts judge training sets, and which of their predictions are shown.

    Attributes
    ----------
    all : tuple of Split
    deciding : range
        Those that decide: the folds, or the one that holds the gate out.
    shown : range
        Those whose predictions the teacher may see.
    learnable, visible : arrays of int
        Rows that the student may learn in the end; and those of them that are no gate, which the
        teacher may see.
    """

    all: tuple[Split, ...]
    deciding: range
    shown: range
    learnable: Indices
    visible: Indices

    @property
    def decide(self) -> bool:
        """Whether there is anything to decide by."""
        return len(self.deciding) > 0


def make_splits(task: Task, evidence: Evidence, seed: int) -> Splits:
    """Split the labelled texts: folds of all of them or, if there is a gate, that one apart."""
    gate, learnable = task.gate, task.learnable
    show_gate = evidence.feedback == "validation"
    is_gate = set(gate.tolist())
    rest = learnable if not is_gate else learnable[[i not in is_gate for i in learnable]]
    own = task.labelled.take(rest)
    folds: list[Split] = []
    if len({fold_text(text) for text in own.texts}) > 1 and not (is_gate and show_gate):
        pairs = make_folds(own.texts, own.y, evidence.n_folds, seed)
        folds = [Split(rest[learnt], rest[judged]) for learnt, judged in pairs]
    if not is_gate:
        return Splits(tuple(folds), range(len(folds)), range(len(folds)), learnable, rest)
    every = (Split(rest, gate), *folds)
    shown = range(1) if show_gate else range(1, len(every))
    return Splits(every, range(1), shown, learnable, rest)


@dataclass(frozen=True)
class Part:
    """What one route has brought.

    Attributes
    ----------
    texts : tuple of SyntheticText
    by_split : tuple of tuples of Example
        What the student of each split learns of it: nothing that was written after one of the texts
        that judge it was shown, and no label that a student gave which had learnt one.
    factor : float
        Of the weights.
    """

    texts: tuple[SyntheticText, ...] = ()
    by_split: tuple[tuple[Example, ...], ...] = ()
    factor: float = 1.0

    def weigh(self, factor: float) -> Part:
        """Change the factor."""
        return replace(self, factor=factor)

    def without(self, texts: Container[str]) -> Part:
        """Leave some texts out."""
        by_split = tuple(tuple(e for e in own if e.text not in texts) for own in self.by_split)
        return Part(tuple(t for t in self.texts if t.text not in texts), by_split, self.factor)

    def add(self, other: Part) -> Part:
        """Add what another batch of the same route has brought."""
        pairs = zip(self.by_split, other.by_split)
        by_split = tuple(a + b for a, b in pairs) if self.by_split else other.by_split
        return Part(self.texts + other.texts, by_split, self.factor)


def spread(texts: Sequence[SyntheticText], labelled: LabelledTexts, splits: Splits) -> Part:
    """Make a part of texts, and leave out for each split what would betray its judges."""
    judges = [{labelled.texts[i] for i in split.judged} for split in splits.all]
    by_split = tuple(
        tuple(to_example(text) for text in texts if own.isdisjoint(text.seed_texts))
        for own in judges
    )
    return Part(tuple(texts), by_split)


def to_example(text: SyntheticText) -> Example:
    """Keep of a text what is learnt."""
    return Example(text.text, text.label, text.weight)


class Result(NamedTuple):
    """A student, and what it predicts for its judges.

    Attributes
    ----------
    student : classifier, KeptStudent or None
        ``None`` once it is not needed any more: students can be large.
    probabilities : array of shape (n_judges, n_classes)
    fair : array of shape (n_judges, n_classes)
        The same, with the credit of a guess where the student cannot know the answer.
    """

    student: Any
    probabilities: FloatArray
    fair: FloatArray


@dataclass(frozen=True)
class TrainingSet:
    """The parts that are learnt beside the labelled texts.

    Attributes
    ----------
    parts : mapping of str to Part
        By route.
    results : dict of int to Result
        By split, as far as they were needed.
    """

    parts: Mapping[str, Part] = field(default_factory=dict)
    results: dict[int, Result] = field(default_factory=dict, compare=False, repr=False)

    def put(self, route: str, part: Part) -> TrainingSet:
        """Put a part in the place of what the route has brought so far."""
        return TrainingSet({**self.parts, route: part})

    def forget_students(self) -> None:
        """Keep of the students what they predicted."""
        for number, result in self.results.items():
            self.results[number] = result._replace(student=None)

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """All texts with their weights."""
        return tuple(
            _weigh(to_example(text), part.factor)
            for part in self.parts.values()
            for text in part.texts
        )

    def for_split(self, number: int) -> tuple[Example, ...]:
        """Return what the student of a split learns."""
        return tuple(
            _weigh(example, part.factor)
            for part in self.parts.values()
            if part.by_split
            for example in part.by_split[number]
        )


def _weigh(example: Example, factor: float) -> Example:
    return example if factor == 1 else replace(example, weight=example.weight * factor)
