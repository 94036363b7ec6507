"""Texts with several labels: the report, the scores, the decision thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import get_scorer, precision_recall_fscore_support

from pgkd.evaluation.scoring import KnownStudent, TextScorer
from pgkd.inputs.label_sets import THRESHOLD, decide, indicate, to_sets
from pgkd.records import ClassScore, FloatArray, LabelArray, Prediction, StudentReport

#: Thresholds that are tried.
GRID = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9)
#: Folds in which thresholds are chosen without the texts that they are tried on.
N_FOLDS = 5


def make_set_report(y: LabelArray, probabilities: FloatArray, classes: LabelArray) -> StudentReport:
    """Evaluate `probabilities` (n_texts, n_classes) against the true label sets `y`."""
    true, given = indicate(y, classes), decide(probabilities)
    precision, recall, f1, support = precision_recall_fscore_support(true, given, zero_division=0)
    hits, n_decided = (true & given).sum(), true.sum() + given.sum()
    names = classes.tolist()
    confusions: Counter[Any] = Counter()
    for missed, wrong in zip(to_sets(true & ~given, classes), to_sets(given & ~true, classes)):
        confusions.update((a, b) for a in missed for b in wrong)
    return StudentReport(
        accuracy=float((true == given).all(axis=1).mean()),
        f1_macro=float(f1[support > 0].mean()) if support.any() else 0.0,
        log_loss=float(-log_likelihood(true, probabilities).mean()),
        classes={
            name: ClassScore(float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(names, precision, recall, f1, support)
        },
        confusions=dict(confusions.most_common()),
        f1_micro=float(2 * hits / n_decided) if n_decided else 0.0,
        n_texts=len(y),
    )


def make_set_predictions(
    texts: Sequence[str], y: LabelArray, probabilities: FloatArray, classes: LabelArray
) -> tuple[Prediction, ...]:
    """Pair each text with the student's label set and confidence."""
    true, given = indicate(y, classes), decide(probabilities)
    certainty = np.where(given, probabilities, 1 - probabilities)
    is_wrong = true != given
    confidence = np.where(
        is_wrong.any(axis=1),
        np.where(is_wrong, certainty, 0).max(axis=1),
        certainty.min(axis=1),
    )
    sets = to_sets(given, classes)
    return tuple(map(Prediction, texts, y.tolist(), sets, confidence.tolist()))


def log_likelihood(true: NDArray[np.int64], probabilities: FloatArray) -> FloatArray:
    """Return that of each text, shape (n_texts,): each label is one binary decision."""
    tiny = np.finfo(probabilities.dtype).eps  # as scikit-learn's log_loss does
    found: FloatArray = np.log(np.clip(np.where(true, probabilities, 1 - probabilities), tiny, 1))
    total: FloatArray = found.sum(axis=1)
    return total


def _negative_log_loss(estimator: Any, X: Any, y: Any) -> float:
    """Score the sum over the labels; scikit-learn's takes the labels of a text for exclusive."""
    return float(log_likelihood(y, estimator.predict_proba(X)).mean())


class _KnownSets(KnownStudent):
    """Its labels are indicator matrices."""

    def __init__(self, classes: LabelArray, probabilities: FloatArray) -> None:
        super().__init__(classes, probabilities)
        # For scikit-learn, each of several outputs has the classes 0 and 1.
        self.classes_ = [np.array([0, 1])] * len(classes)  # type: ignore[assignment]

    def predict(self, X: Any) -> Any:
        return decide(self.predict_proba(X))


class SetScorer(TextScorer):
    """A `TextScorer` for texts with several labels.

    ``"neg_log_loss"`` is the sum over the labels, ``"accuracy"`` wants the whole set to be right.
    Decisions are those at 0.5.
    """

    means = ("accuracy", "neg_log_loss", "f1_samples")
    counted = ("f1_macro", "f1_micro")

    def __init__(
        self, scoring: Any, classes: LabelArray, texts: Sequence[str], y: LabelArray
    ) -> None:
        super().__init__(scoring, classes, texts, y)
        self._y = indicate(y, classes)

    def _make_scorer(self, scoring: Any, classes: LabelArray) -> Any:
        return _negative_log_loss if scoring == "neg_log_loss" else get_scorer(scoring)

    def _make_student(self, probabilities: FloatArray) -> Any:
        return _KnownSets(self._classes, probabilities)

    def _resample_f1(self, probabilities: FloatArray, resamples: Sequence[Any]) -> FloatArray:
        given = decide(probabilities)
        hits, counts = self._y & given, self._y + given
        scores = []
        for rows in resamples:
            own = hits[rows].sum(axis=0), counts[rows].sum(axis=0)
            if self._scoring == "f1_micro":
                own = own[0].sum(keepdims=True), own[1].sum(keepdims=True)
            scores.append(_f1(*own).mean())
        return np.array(scores)

    def _score_texts(self, probabilities: FloatArray) -> FloatArray:
        if self._scoring == "neg_log_loss":
            return log_likelihood(self._y, probabilities)
        given = decide(probabilities)
        if self._scoring == "f1_samples":
            return _f1((self._y & given).sum(axis=1), (self._y + given).sum(axis=1))
        is_right: FloatArray = (self._y == given).all(axis=1).astype(float)
        return is_right

    def _find_one_of_each(self) -> Any:
        return np.unique(self._y.argmax(axis=0))

    def choose_thresholds(self, probabilities: FloatArray, seed: int) -> FloatArray:
        """Choose the threshold of each label; 0.5 unless others are measured to be better.

        They are tried on texts that they were not chosen on, fold by fold, and must win by more
        than a standard error, as labels with few texts invite luck.

        Parameters
        ----------
        probabilities : array of shape (n_texts, n_classes)
            Of a student that has not learnt these texts.
        seed : int

        Returns
        -------
        thresholds : array of shape (n_classes,)
        """
        default = np.full(probabilities.shape[1], THRESHOLD)
        if not self.is_of_decisions or len(self._y) < 2 * N_FOLDS:
            return default
        rng = np.random.RandomState(seed)
        fold = rng.permutation(len(self._y)) % N_FOLDS
        crossed = np.empty_like(probabilities)
        for k in range(N_FOLDS):
            thresholds = self._fit_thresholds(probabilities, fold != k)
            crossed[fold == k] = decide(probabilities[fold == k], thresholds)
        gain = self.score(crossed) - self.score(probabilities)
        if gain <= 0 or gain <= self.standard_error(crossed, probabilities, rng):
            return default
        return self._fit_thresholds(probabilities, np.ones(len(self._y), dtype=bool))

    def _fit_thresholds(self, probabilities: FloatArray, rows: NDArray[np.bool_]) -> FloatArray:
        """Choose each label's threshold by its own F1 or accuracy; of equals the nearest to 0.5."""
        true = self._y[rows]
        scores = []
        for threshold in GRID:
            given = decide(probabilities[rows], threshold)
            if self._scoring == "accuracy":
                scores.append((true == given).mean(axis=0))
            else:
                scores.append(_f1((true & given).sum(axis=0), (true + given).sum(axis=0)))
        chosen: FloatArray = np.array(GRID)[np.argmax(scores, axis=0)]
        return chosen


def _f1(hits: Any, counts: Any) -> FloatArray:
    """Compute 2 hits / (true + given), and 0 where there is neither, as scikit-learn has it."""
    score: FloatArray = np.zeros(len(counts))
    np.divide(2 * hits, counts, out=score, where=counts > 0)
    return score
