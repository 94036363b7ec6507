"""A run between two steps: all that the steps to come depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from pgkd.curation.curator import Curator
from pgkd.loop.briefing import Briefing
from pgkd.loop.buyer import Bill, Buyer
from pgkd.loop.choice import Choice
from pgkd.loop.routes import PAID, Account, Allocator
from pgkd.loop.training_set import Part, TrainingSet
from pgkd.records import (
    Batch,
    Event,
    Example,
    FloatArray,
    Label,
    Probe,
    Step,
    StudentReport,
    SyntheticText,
    Usage,
)


@dataclass(frozen=True)
class Shown:
    """What the teacher has been shown, as far as it is not the user's own.

    Attributes
    ----------
    cycle : int
        Of the last request; it is in the prompts of the probe.
    batches : tuple of Batch
    descriptions : mapping of label to str
    asked : frozenset of str
        Texts that are in the pool no more.
    synthetic : tuple of Example
    previous : StudentReport or None
    probabilities : array of shape (n_shown, n_classes) or None
        Of the feedback, if there was any.
    """

    cycle: int
    batches: tuple[Batch, ...]
    descriptions: Mapping[Label, str]
    asked: frozenset[str]
    synthetic: tuple[Example, ...]
    previous: StudentReport | None
    probabilities: FloatArray | None


@dataclass(frozen=True)
class Snapshot:
    """All that the steps to come depend on, beside what the user gave and the students.

    Attributes
    ----------
    history : list of Step
    synthetic : list of SyntheticText
        As they were judged.
    baseline, current : TrainingSet
        The same one, while nothing has helped.
    bought : dict of str to Part
    accounts : dict of str to Account
    probe : Probe or None
    is_probed : bool
        Whether the teacher was asked, even if its answers said nothing.
    shown : Shown
    bill : Bill or None
    asks_students : bool
        Whether a step to come may ask the students of `current`.
    """

    history: list[Step]
    synthetic: list[SyntheticText]
    baseline: TrainingSet
    current: TrainingSet
    bought: dict[str, Part]
    accounts: dict[str, Account]
    probe: Probe | None
    is_probed: bool
    shown: Shown
    bill: Bill | None
    asks_students: bool = False

    @property
    def n_cycles(self) -> int:
        """Batches that were bought."""
        return sum(step.route in PAID for step in self.history)


class Run(Protocol):
    """What a snapshot is taken of: a `Distillation`."""

    history: list[Step]
    synthetic: list[SyntheticText]
    choice: Choice
    allocator: Allocator
    probe: Probe | None
    is_probed: bool
    briefing: Briefing
    buyer: Buyer | None
    curator: Curator
    emit: Callable[[Event], None]
    teaches_itself: bool

    @property
    def is_over(self) -> bool: ...


def take_snapshot(run: Run) -> Snapshot:
    """Take hold of a run after a step."""
    return Snapshot(
        history=run.history,
        synthetic=run.synthetic,
        baseline=run.choice.baseline,
        current=run.choice.current,
        bought=run.choice.bought,
        accounts=run.allocator.accounts,
        probe=run.probe,
        is_probed=run.is_probed,
        shown=_note_shown(run.briefing),
        bill=None if run.buyer is None else run.buyer.bill,
        asks_students=_asks_students(run),
    )


def _asks_students(run: Run) -> bool:
    """Whether a step to come may have the students of the splits label unlabelled texts."""
    goes_on = run.teaches_itself and all(step.route != "unlabelled" for step in run.history)
    state = run.briefing.state
    return bool(state.pool) and not state.multilabel and (goes_on or run.allocator.is_open("label"))


def restore(run: Run, snapshot: Snapshot) -> None:
    """Put a run that has not begun where another process left it.

    What that one paid, nobody pays again: it counts as what answers that were kept took.
    """
    run.history = [
        replace(step, usage=Usage(), saved=step.saved + step.usage) for step in snapshot.history
    ]
    run.synthetic = list(snapshot.synthetic)
    run.choice.baseline, run.choice.current = snapshot.baseline, snapshot.current
    run.choice.bought = dict(snapshot.bought)
    run.allocator.accounts = dict(snapshot.accounts)
    run.is_probed = snapshot.is_probed
    run.probe = snapshot.probe and replace(snapshot.probe, usage=Usage())
    shown = snapshot.shown
    state = run.briefing.state
    run.briefing.state = replace(
        state,
        cycle=shown.cycle,
        batches=shown.batches,
        class_descriptions=shown.descriptions,
        pool=tuple(text for text in state.pool if text not in shown.asked),
        synthetic=shown.synthetic,
        feedback=run.briefing.make_feedback(shown.probabilities, shown.previous),
    )
    judged = ("logs", *PAID)
    run.curator.learn(
        text.text
        for text in run.synthetic
        if text.verdict == "accepted" and run.history[text.cycle].route in judged
    )
    if run.buyer is not None and snapshot.bill is not None:
        run.buyer.resume(snapshot.bill)


def _note_shown(briefing: Briefing) -> Shown:
    state, feedback = briefing.state, briefing.state.feedback
    left = set(state.pool)
    return Shown(
        cycle=state.cycle,
        batches=state.batches,
        descriptions=state.class_descriptions,
        asked=frozenset(text for text in briefing.pool if text not in left),
        synthetic=state.synthetic,
        previous=None if feedback is None else feedback.previous,
        probabilities=None if feedback is None else feedback.probabilities,
    )
