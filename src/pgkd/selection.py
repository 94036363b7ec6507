"""Which generated texts are learnt, and with what weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pgkd.curation import find_plausible, find_plausible_sets
from pgkd.evaluation import ROUNDING, Z_WORSE, GateScorer
from pgkd.exceptions import InvalidInputError
from pgkd.label_sets import indicate
from pgkd.learning import LabelledTexts, Learner
from pgkd.records import Example, FloatArray, SyntheticText

#: Factors of the weights of generated texts that are tried.
FACTORS = (1.0, 0.3, 0.1)
#: Why a whole batch is not learnt.
HARMFUL = "harmful batch"

Examples = tuple[Example, ...]


@dataclass(frozen=True)
class Version:
    """Generated texts to learn, the factor of their weights, and what speaks for them.

    Attributes
    ----------
    fold_synthetic : tuple of tuples of Example
        The same for each of the students that predict a fold of the training texts, but for what
        was written after a text of the fold: it would be known before it is predicted. What each of
        them takes of a batch is its own choice: a student that has learnt the fold's labels would
        betray them by what it finds plausible.
    probabilities : array or None
        Of the feedback texts, by students that learnt this version.
    fold_students : tuple of classifiers
        Those of `probabilities`, where these are out of fold.
    student : classifier or None
        Trained on all training texts, where that was done already.
    """

    synthetic: Examples
    fold_synthetic: tuple[Examples, ...]
    factor: float = 1.0
    probabilities: FloatArray | None = None
    fold_students: tuple[Any, ...] = ()
    student: Any = None

    def add(self, batch: Examples, fold_batches: Iterable[Examples]) -> Version:
        """Add texts to learn; nothing speaks for the result yet."""
        grown = tuple(old + new for old, new in zip(self.fold_synthetic, fold_batches))
        return Version(self.synthetic + batch, grown, self.factor)

    def weigh(self, factor: float) -> Version:
        """Change the factor; nothing speaks for the result yet."""
        return Version(self.synthetic, self.fold_synthetic, factor)


def to_example(text: SyntheticText) -> Example:
    """Keep of a text what is learnt."""
    return Example(text.text, text.label, text.weight)


class Selector:
    """Chooses among versions by what they do to the student on the feedback texts.

    Not on the gate, which would no longer be a fair judge.

    Parameters
    ----------
    learner : Learner
    train, shown : LabelledTexts
        What is learnt, and what the feedback is about.
    scorer : GateScorer
        Of `shown`.
    out_of_fold : bool
        Whether `shown` are the training texts, each predicted by a student that has not seen it.
    synthetic_weight : float or "auto"
    seed : int
    """

    def __init__(
        self,
        learner: Learner,
        train: LabelledTexts,
        shown: LabelledTexts,
        scorer: GateScorer,
        *,
        out_of_fold: bool,
        synthetic_weight: float | str,
        seed: int,
    ) -> None:
        self.learner = learner
        self.train = train
        self.shown = shown
        self.scorer = scorer
        self.out_of_fold = out_of_fold
        self.synthetic_weight = synthetic_weight
        self.seed = seed

    def predict_out_of_fold(self, version: Version) -> Version:
        """Predict the training texts with students that have learnt `version`."""
        probabilities, students = self.learner.predict_out_of_fold(
            version.fold_synthetic, version.factor
        )
        return replace(version, probabilities=probabilities, fold_students=students)

    def evaluate(self, version: Version, start: Any = None) -> Version:
        """Predict the feedback texts with students that have learnt `version`."""
        if self.out_of_fold:
            return self.predict_out_of_fold(version)
        student = version.student
        if student is None:
            student = self.learner.fit(self.train, version.synthetic, version.factor, start)
        probabilities = self.learner.predict(student, self.shown.texts)
        return replace(version, probabilities=probabilities, student=student)

    def choose(self, current: Version, texts: Sequence[SyntheticText], student: Any) -> Version:
        """Choose what of the batch is learnt, and the weight of all generated texts.

        The texts that surprise the student are worth most from a good teacher, and from a weak one
        they are mostly mistakes; and the weaker it is, the less its texts should weigh. Where the
        student is worse than without the batch at all weights, it has none: `current` is returned.

        Parameters
        ----------
        current : Version
        texts : sequence of SyntheticText
            The batch.
        student : classifier
            Has learnt `current`.
        """
        if not texts:
            return current
        batch = tuple(map(to_example, texts))
        plausible = self._find_plausible(student, batch)
        is_filtered = 0 < len(plausible) < len(batch)
        is_weighed = self.synthetic_weight == "auto" and self.learner.takes_weights
        if (is_filtered or is_weighed) and current.probabilities is None:
            current = self.evaluate(current, student)
        fold_batches = self._spread(texts)
        versions = [current.add(batch, fold_batches)]
        if is_filtered:
            versions.append(self._add_plausible(current, plausible, fold_batches))
        if self.synthetic_weight != "auto":
            versions = [version.weigh(float(self.synthetic_weight)) for version in versions]
        if len(versions) == 1 and not is_weighed:
            return versions[0]
        best = self.evaluate(versions[0], student)
        for version in versions[1:]:
            best = self._prefer(self.evaluate(version, student), best)
        if not is_weighed:
            return best
        tried = [best]
        for factor in FACTORS:
            if factor != best.factor:
                tried.append(self.evaluate(best.weigh(factor), student))
                best = self._prefer(tried[-1], best)
        # No labelled text tells what a class without any gains.
        is_judged = all(self.learner.knows(example) for example in batch)
        if is_judged and all(self._prefer(current, v, Z_WORSE) is current for v in tried):
            return current
        return best

    def _spread(self, texts: Sequence[SyntheticText]) -> list[Examples]:
        """Leave out of each fold's batch what was written after one of its texts."""
        folds = [{self.train.texts[i] for i in fold} for _, fold in self.learner.folds]
        return [
            tuple(
                to_example(text)
                for text in texts
                if text.source == "pool" or fold.isdisjoint(text.seed_texts)
            )
            for fold in folds
        ]

    def _add_plausible(
        self, current: Version, plausible: Examples, fold_batches: Sequence[Examples]
    ) -> Version:
        if not self.out_of_fold:
            return current.add(plausible, [()] * len(fold_batches))  # nobody asks
        pairs = zip(current.fold_students, fold_batches)
        return current.add(plausible, [self._find_plausible(*pair) for pair in pairs])

    def _find_plausible(self, student: Any, batch: Examples) -> Examples:
        if not batch:
            return ()
        texts, labels = [e.text for e in batch], [e.label for e in batch]
        probabilities = self.learner.predict(student, texts)
        if self.learner.multilabel:
            prior = indicate(self.train.y, self.learner.classes).mean(axis=0)
            mask = find_plausible_sets(labels, probabilities, self.learner.classes, prior)
            return tuple(e for e, keep in zip(batch, mask) if keep)
        mask = find_plausible(labels, probabilities, self.learner.classes)
        known = set(np.asarray(student.classes_).tolist())  # of other classes it cannot judge
        return tuple(e for e, keep in zip(batch, mask) if keep or e.label not in known)

    def _prefer(self, challenger: Version, best: Version, n_errors: float = 1.0) -> Version:
        """Take the challenger if it is better by more than `n_errors` standard errors.

        Texts that were paid for are not given up by chance.
        """
        a, b = challenger.probabilities, best.probabilities
        assert a is not None
        assert b is not None
        try:
            gain = self.scorer.score(a) - self.scorer.score(b)
        except InvalidInputError:  # what can be computed on the gate need not be on these texts
            return best
        rng = np.random.RandomState(self.seed)
        error = self.scorer.standard_error(a, b, rng) if gain > 0 else 0.0
        is_better = gain > 0 and gain > n_errors * error + ROUNDING
        return challenger if is_better else best
