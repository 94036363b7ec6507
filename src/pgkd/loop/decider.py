"""The one decider: is a training set better than another, as far as labelled texts can tell."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pgkd.evaluation.calibration import apply_temperature, fit_temperature
from pgkd.evaluation.report import make_report
from pgkd.evaluation.scoring import TextScorer, is_macro, log_likelihood
from pgkd.exceptions import InvalidInputError
from pgkd.inputs.labelled import LabelledTexts
from pgkd.loop.learner import Learner
from pgkd.loop.shelf import KeptStudent
from pgkd.loop.training_set import Result, Splits, TrainingSet
from pgkd.records import Comparison, FloatArray, StudentReport

#: Splits on which all candidates are tried, and candidates that go on to the others: those that
#: come close to the best one. That saves a third of the trainings (benchmarks/deciders.py).
N_SCREENING, N_FINISHED = 2, 2
#: Key of the student that has learnt all that the teacher may see, which is no split's.
VISIBLE = -1


class Decider:
    """Compares training sets in pairs, text by text, by students that have not learnt the text.

    Parameters
    ----------
    learner : Learner
    labelled : LabelledTexts
    splits : Splits
    scoring : str or callable
    seed : int
        Of the bootstrap.
    """

    def __init__(
        self, learner: Learner, labelled: LabelledTexts, splits: Splits, scoring: Any, seed: int
    ) -> None:
        self.learner = learner
        self.labelled = labelled
        self.splits = splits
        self.scoring = scoring
        self.seed = seed
        self.visible = labelled.take(splits.visible)
        self._scorers: dict[tuple[int, ...], TextScorer] = {}

    def predict(self, candidate: TrainingSet, numbers: Sequence[int]) -> FloatArray:
        """Return probabilities of the judges of some splits, in the order of `rows`."""
        found = np.zeros((len(self.labelled), len(self.learner.classes)))
        for number in numbers:
            found[self.splits.all[number].judged] = self._ask(candidate, number).probabilities
        own: FloatArray = found[self.rows(numbers)]
        return own

    def students(self, candidate: TrainingSet) -> list[Any]:
        """Return the student that has learnt all that the teacher may see, and that of each split.

        What those of the splits say of a text betrays none of their judges.
        """
        of_splits = (self._student(candidate, number) for number in range(len(self.splits.all)))
        return [self.fit_visible(candidate), *of_splits]

    def fit_visible(self, candidate: TrainingSet) -> Any:
        """Train the student, once, on all that the teacher may see and on a training set."""
        if VISIBLE not in candidate.results:
            student = self.learner.fit(self.visible, candidate.examples)
            candidate.results[VISIBLE] = Result(student, np.empty((0, 0)), np.empty((0, 0)))
        return candidate.results[VISIBLE].student

    @property
    def shown(self) -> LabelledTexts:
        """The texts whose predictions the teacher may see."""
        return self.labelled.take(self.rows(self.splits.shown))

    def predict_shown(self, candidate: TrainingSet) -> FloatArray:
        """Return probabilities of these, by students that have not learnt them."""
        return self.predict(candidate, self.splits.shown)

    def rows(self, numbers: Sequence[int]) -> Any:
        """Return the labelled texts that judge some splits, ascending."""
        return np.sort(np.concatenate([self.splits.all[n].judged for n in numbers]))

    def score(self, candidate: TrainingSet) -> float:
        """Score a training set by all its judges."""
        deciding = self.splits.deciding
        return self._scorer(deciding).score(self._predict_fairly(candidate, deciding))

    def report(self, candidate: TrainingSet) -> StudentReport:
        """Evaluate a training set class by class."""
        deciding = self.splits.deciding
        y = self.labelled.y[self.rows(deciding)]
        return make_report(y, self.predict(candidate, deciding), self.learner.classes)

    def compare(
        self, before: TrainingSet, after: TrainingSet, numbers: Sequence[int] | None = None
    ) -> Comparison:
        """Compare two training sets by the judges of some splits, of all that decide by default."""
        numbers = self.splits.deciding if numbers is None else numbers
        scorer = self._scorer(numbers)
        a, b = (self._predict_fairly(candidate, numbers) for candidate in (before, after))
        score_a, score_b = scorer.score(a), scorer.score(b)
        rng = np.random.RandomState(self.seed)
        weights = self._weigh(numbers)
        loss = weights * (self._log_likelihood(b, numbers) - self._log_likelihood(a, numbers))
        hits = weights * (self._is_right(b, numbers) - self._is_right(a, numbers))
        return Comparison(
            scorer.name,
            before=score_a,
            after=score_b,
            standard_error=scorer.standard_error(b, a, rng) if score_a != score_b else 0.0,
            log_loss_gain=float(loss.mean()),
            log_loss_error=float(loss.std(ddof=1) / math.sqrt(len(loss))) if len(loss) > 1 else 0.0,
            correlation=float(np.corrcoef(hits, loss)[0, 1]) if hits.std() and loss.std() else 0.0,
            n_texts=len(loss),
        )

    def choose(
        self, current: TrainingSet, candidates: Sequence[TrainingSet]
    ) -> tuple[TrainingSet, Comparison]:
        """Choose the best training set, `current` among them.

        Returns
        -------
        chosen : TrainingSet
        comparison : Comparison
            Of the best candidate with `current`.
        """
        few = self.splits.deciding[:N_SCREENING]
        left = list(candidates)
        if len(few) < len(self.splits.deciding):
            with contextlib.suppress(InvalidInputError):  # what few judges cannot compute
                first = [self.compare(current, candidate, few) for candidate in left]
                best = max(first, key=lambda c: c.gain)
                hope = [c.gain + c.gain_error for c in first]
                if max(hope) < 0:
                    return current, best
                close = [i for i, most in enumerate(hope) if most >= best.gain]
                close.sort(key=lambda i: -first[i].gain)
                left = [left[i] for i in close[:N_FINISHED]]
        found = [self.compare(current, candidate) for candidate in left]
        number = max(range(len(left)), key=lambda i: found[i].gain)
        return (left[number] if found[number].taken else current), found[number]

    def _ask(self, candidate: TrainingSet, number: int) -> Result:
        """Train the student of a split, once, and let it predict its judges."""
        if number not in candidate.results:
            student = self._fit(candidate, number)
            judges = self.labelled.take(self.splits.all[number].judged)
            probabilities = self.learner.predict(student, judges.texts)
            fair = probabilities
            if not self.learner.multilabel:
                fair = self._credit_guesses(probabilities, np.isin(judges.y, student.classes_))
            candidate.results[number] = Result(student, probabilities, fair)
        return candidate.results[number]

    def _student(self, candidate: TrainingSet, number: int) -> Any:
        """Return the student of a split; of another process, as far as it was kept."""
        result = self._ask(candidate, number)
        student = result.student
        if isinstance(student, KeptStudent):
            student = student.load(self.learner.student)
        if student is None:
            student = self._fit(candidate, number)
            candidate.results[number] = result._replace(student=student)
        return student

    def _fit(self, candidate: TrainingSet, number: int) -> Any:
        learnt = self.labelled.take(self.splits.all[number].learnt)
        return self.learner.fit(learnt, candidate.for_split(number))

    def _credit_guesses(self, probabilities: FloatArray, is_known: Any) -> FloatArray:
        """Credit a student with a guess where it cannot know the answer.

        In a fold, a class with one labelled text is unknown to the student that has not learnt that
        text. It will be known in the end; counted as a mistake, any second text of the class would
        look like a gain, however useless.
        """
        fair = probabilities.copy()
        fair[~is_known] = 1 / len(self.learner.classes)
        return fair

    def _predict_fairly(self, candidate: TrainingSet, numbers: Sequence[int]) -> FloatArray:
        found = np.zeros((len(self.labelled), len(self.learner.classes)))
        for number in numbers:
            found[self.splits.all[number].judged] = self._ask(candidate, number).fair
        own: FloatArray = found[self.rows(numbers)]
        return own

    def _log_likelihood(self, probabilities: FloatArray, numbers: Sequence[int]) -> FloatArray:
        """Return that of each text, after temperature scaling.

        The log loss of a student that is too sure of itself falls by whatever makes it less so,
        wrong labels included.
        """
        codes, choices = self._scorer(numbers).target.list_decisions(probabilities)
        choices = np.clip(choices, np.finfo(float).eps, 1)
        return log_likelihood(codes, apply_temperature(choices, fit_temperature(choices, codes)))

    def _weigh(self, numbers: Sequence[int]) -> FloatArray:
        """Weigh the texts as `scoring` does: where it averages over classes, all count alike."""
        y = self.labelled.y[self.rows(numbers)]
        if self.learner.multilabel or not is_macro(self.scoring):
            return np.ones(len(y))
        _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        weights: FloatArray = len(y) / len(counts) / counts[codes]
        return weights

    def _is_right(self, probabilities: FloatArray, numbers: Sequence[int]) -> FloatArray:
        """Return 1 for each text that is labelled rightly, and 0 for others."""
        return self._scorer(numbers).target.is_right(probabilities).astype(float)

    def _scorer(self, numbers: Sequence[int]) -> TextScorer:
        key = tuple(numbers)
        if key not in self._scorers:
            rows = self.rows(numbers)
            texts = [self.labelled.texts[i] for i in rows]
            self._scorers[key] = TextScorer(
                self.scoring, self.learner.classes, texts, self.labelled.y[rows]
            )
        return self._scorers[key]

    def check_score(self) -> None:
        """Raise, before anything is trained, if the score cannot be computed on the judges.

        Raises
        ------
        InvalidInputError
        """
        if self.splits.decide:
            n_classes = len(self.learner.classes)
            scorer = self._scorer(self.splits.deciding)
            scorer.score(np.full((len(self.rows(self.splits.deciding)), n_classes), 1 / n_classes))
