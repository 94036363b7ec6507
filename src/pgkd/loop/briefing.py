"""What the teacher is shown: the state of a run, as far as it betrays no judge of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pgkd.evaluation.report import make_predictions, make_report
from pgkd.inputs.labels import count_classes
from pgkd.loop.decider import Decider
from pgkd.loop.task import Settings, Task
from pgkd.loop.training_set import Part, TrainingSet, to_example
from pgkd.protocols import Sampler
from pgkd.records import (
    Batch,
    Example,
    Feedback,
    FloatArray,
    Generation,
    GenerationRequest,
    Label,
    State,
    StudentReport,
    SyntheticText,
    labels_of,
)
from pgkd.samplers import UnguidedSampler, describe_classes
from pgkd.samplers.base import needs_feedback


class Briefing:
    """Keeps the `State` that samplers see, and lets them propose requests.

    Parameters
    ----------
    task : Task
    settings : Settings
    decider : Decider
    samplers : mapping of {"write", "label"} to sampler
    pool : sequence of str
        Unlabelled texts, screened.

    Attributes
    ----------
    state : State
    pool : tuple of str
        As it was at first.
    """

    def __init__(
        self,
        task: Task,
        settings: Settings,
        decider: Decider,
        samplers: Mapping[str, Sampler],
        pool: Sequence[str],
    ) -> None:
        self.task = task
        self.settings = settings
        self.decider = decider
        self.samplers = samplers
        self.pool = tuple(pool)
        visible = decider.visible
        self.state = State(
            cycle=0,
            classes=tuple(task.classes.tolist()),
            examples=tuple(map(Example, visible.texts, visible.y.tolist())),
            task_description=task.task_description,
            class_descriptions=dict(task.descriptions),
            pool=self.pool,
            scoring=settings.scoring if isinstance(settings.scoring, str) else None,
            multilabel=task.multilabel,
            embed=getattr(decider.learner.student, "embed", None),
            folds=self._number_folds(),
        )

    @property
    def feedback_report(self) -> StudentReport | None:
        """What the teacher was shown last."""
        return self.state.feedback.report if self.state.feedback else None

    def propose(
        self, route: str, number: int, current: TrainingSet, rng: np.random.Generator
    ) -> Sequence[Any]:
        """Let the sampler of a route decide what to ask for in step `number`."""
        self.state = replace(self.state, cycle=number)
        if route == "describe":
            self._evaluate(current)
            return describe_classes(self.state, rng)
        sampler: Sampler = self.samplers[route]
        size = self.settings.samples_per_cycle
        if route == "label":
            pool = self.decider.learner.predict(self.decider.fit_visible(current), self.state.pool)
            self.state = replace(self.state, pool_probabilities=pool)
        if needs_feedback(sampler, self.state, size):
            self._evaluate(current)
            if self.state.feedback is None:  # no labelled text says where the student is weak
                sampler = UnguidedSampler()
        return sampler.propose(self.state, size, rng)

    def _evaluate(self, current: TrainingSet) -> None:
        """The paper's gradual evaluation check, on texts that the teacher may see."""
        if not self.decider.splits.shown:
            return
        last = self.state.feedback
        previous = None if last is None else last.report
        feedback = self.make_feedback(self.decider.predict_shown(current), previous)
        if feedback is not None and feedback.report != previous:  # or nothing was learnt since
            self.state = replace(self.state, feedback=feedback)

    def make_feedback(
        self, probabilities: FloatArray | None, previous: StudentReport | None
    ) -> Feedback | None:
        """Make feedback of what the student predicts for the texts that the teacher may see."""
        if probabilities is None:
            return None
        shown, classes = self.decider.shown, self.task.classes
        return Feedback(
            make_predictions(shown.texts, shown.y, probabilities, classes),
            make_report(shown.y, probabilities, classes),
            previous=previous,
            probabilities=probabilities,
        )

    def adopt_descriptions(self, generations: Sequence[Generation]) -> None:
        """Show the teacher's descriptions, the first text of each class, in prompts to come."""
        found = {}
        for generation in generations:
            for example in reversed(generation.examples):
                for label in labels_of(example.label):
                    found[label] = example.text
        own = {label: text for label, text in self.task.descriptions.items() if text.strip()}
        self.state = replace(self.state, class_descriptions={**found, **own})

    def remember(
        self,
        generations: Sequence[Generation],
        judged: Sequence[SyntheticText],
        current: TrainingSet,
    ) -> None:
        """Tell samplers what was asked for, and how much of it was fit to be learnt."""
        requested: Counter[Label] = Counter()
        for g in generations:
            if isinstance(g.request, GenerationRequest) and not g.error:
                for label, n in g.request.counts.items():
                    requested.update(dict.fromkeys(labels_of(label), n))
        counts = count_classes(text.label for text in judged if text.verdict == "accepted")
        batch = Batch(requested, counts, self.feedback_report)
        synthetic = tuple(map(to_example, current.parts.get("write", Part()).texts))
        self.state = replace(self.state, batches=(*self.state.batches, batch), synthetic=synthetic)

    def drop_from_pool(self, generations: Sequence[Generation]) -> None:
        """Drop from the pool what the teacher was asked about."""
        over = [g for g in generations if g.is_final or not g.error]
        asked = {text for g in over for text in getattr(g.request, "texts", ())}
        pool = tuple(text for text in self.state.pool if text not in asked)
        self.state = replace(self.state, pool=pool, pool_probabilities=np.empty((0, 0)))

    def _number_folds(self) -> tuple[int, ...]:
        """Number the fold of each text that the teacher may see, if it is judged out of fold."""
        splits = self.decider.splits
        if self.settings.evidence.feedback == "validation" or not splits.shown:
            return ()
        numbers = np.zeros(len(self.decider.labelled), dtype=int)
        for number, split in enumerate(splits.all[i] for i in splits.shown):
            numbers[split.judged] = number
        return tuple(numbers[splits.visible].tolist())
