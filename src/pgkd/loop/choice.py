"""Which of the texts that a route brings are learnt, and with what weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pgkd.inputs.labels import count_classes
from pgkd.loop.decider import Decider
from pgkd.loop.evidence import Evidence
from pgkd.loop.training_set import Part, TrainingSet, spread
from pgkd.records import Comparison, SyntheticText

#: Weights of a teacher's texts that are tried, against 1 for a labelled text; and of those whose
#: weight has been found once for all (docs/defaults.md).
FACTORS = (1.0, 0.3, 0.1)
FIXED_FACTORS = {"names": 1.0, "unlabelled": 0.1}
#: The part of texts whose classes have no labelled text: nothing can say what they gain.
UNJUDGED = "unjudged"


class Trial(NamedTuple):
    """What the student would learn after a step.

    Attributes
    ----------
    route : str
    part : Part
        All that the route has brought, as far as labelled texts can judge it.
    current : TrainingSet
        What is learnt then.
    comparison : Comparison or None
        Of the best way to learn `part` with what was learnt before.
    taken : bool
    factor : float
        Of the weights of `part`; 0 if it is not learnt.
    """

    route: str
    part: Part
    current: TrainingSet
    comparison: Comparison | None
    taken: bool
    factor: float


class Choice:
    """Tries what the routes bring, and keeps what helps.

    Parameters
    ----------
    decider : Decider
    evidence : Evidence

    Attributes
    ----------
    baseline, current : TrainingSet
        What the student learnt at first and learns now, beside the labelled texts.
    bought : dict of str to Part
        All that each route has brought, learnt or not: what one batch cannot show, two may.
    """

    def __init__(self, decider: Decider, evidence: Evidence) -> None:
        self.decider = decider
        self.evidence = evidence
        self.baseline = TrainingSet()
        self.current = self.baseline
        self.bought: dict[str, Part] = {}
        self._known = set(count_classes(decider.labelled.y.tolist()))

    def try_out(self, route: str, texts: Sequence[SyntheticText], part: Part | None) -> Trial:
        """Find out whether texts that are fit to be learnt help, and at what weight.

        Parameters
        ----------
        route : str
        texts : sequence of SyntheticText
        part : Part or None
            The same, where each split's student learns labels of its own.
        """
        current = self.current
        unjudged: list[SyntheticText] = []
        if part is None:
            judged, unjudged = self._separate(texts)
            part = spread(judged, self.decider.labelled, self.decider.splits)
        if unjudged:
            unjudged = [*current.parts.get(UNJUDGED, Part()).texts, *unjudged]
            moderate = self._moderate(unjudged, current)
            current = current.put(
                UNJUDGED, spread(moderate, self.decider.labelled, self.decider.splits)
            )
        if not part.texts:
            return Trial(route, part, current, None, bool(unjudged), 1.0 if unjudged else 0.0)
        part = self.bought[route].add(part) if route in self.bought else part
        chosen, comparison = self._choose(current, route, part)
        factor = chosen.parts[route].factor if route in chosen.parts else 0.0
        return Trial(route, part, chosen, comparison, chosen is not current, factor)

    def adopt(self, trial: Trial) -> None:
        """Learn from now on what came out."""
        if trial.part.texts:
            self.bought[trial.route] = trial.part
        if trial.current is not self.current:
            self.current.forget_students()
        self.current = trial.current

    def promote(self, decider: Decider) -> None:
        """Let the student itself judge, all at once, what its scout has learnt."""
        learnt = TrainingSet(self.current.parts)
        self.decider = decider
        self.baseline = self.current = TrainingSet()
        if learnt.parts:
            is_judged = decider.splits.decide
            self.current = decider.choose(self.baseline, [learnt])[0] if is_judged else learnt

    def find_factors(self, route: str, known: Part | None = None) -> tuple[float, ...]:
        """Return the weights to try; a route's next texts weigh no less than its first ones."""
        if self.evidence.synthetic_weight != "auto":
            return (float(self.evidence.synthetic_weight),)
        if not self.decider.learner.takes_weights:
            return (1.0,)
        if route in FIXED_FACTORS:
            return (FIXED_FACTORS[route],)
        return tuple(f for f in FACTORS if known is None or f >= known.factor)

    def _choose(
        self, current: TrainingSet, route: str, grown: Part
    ) -> tuple[TrainingSet, Comparison | None]:
        before = current
        if route == "label" and "unlabelled" in before.parts:  # the teacher has labelled them now
            asked = {text.text for text in grown.texts}
            before = before.put("unlabelled", before.parts["unlabelled"].without(asked))
        factors = self.find_factors(route, before.parts.get(route))
        candidates = [before.put(route, grown.weigh(factor)) for factor in factors]
        if not self.decider.splits.decide:
            return candidates[0], None
        chosen, comparison = self.decider.choose(current, candidates)
        if self.evidence.keep_all and chosen is current:
            chosen = candidates[0]
        return chosen, comparison

    def _separate(
        self, texts: Sequence[SyntheticText]
    ) -> tuple[list[SyntheticText], list[SyntheticText]]:
        """Tell texts whose classes have labelled texts from the others."""
        if not self.decider.splits.decide:
            return list(texts), []
        known = [all(label in self._known for label in text.labels) for text in texts]
        return (
            [text for text, is_known in zip(texts, known) if is_known],
            [text for text, is_known in zip(texts, known) if not is_known],
        )

    def _moderate(
        self, unjudged: Sequence[SyntheticText], current: TrainingSet
    ) -> list[SyntheticText]:
        """Weigh texts of classes without a labelled text: no such class outweighs the others.

        However many texts a teacher writes for it, nothing tells how many are right.
        """
        learnt = Counter(count_classes(self.decider.visible.y.tolist()))
        for route, part in current.parts.items():
            for text in part.texts if route != UNJUDGED else ():
                learnt.update(dict.fromkeys(text.labels, text.weight * part.factor))
        fair = float(np.mean([learnt[label] for label in self._known]))
        counts = count_classes(text.label for text in unjudged)
        most = {label: min(1.0, fair / n) for label, n in counts.items()}
        return [replace(t, weight=min(most[label] for label in t.labels)) for t in unjudged]
