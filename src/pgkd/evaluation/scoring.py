"""Validation report, hard negatives' raw material, and the score of labelled texts."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import (
    confusion_matrix,
    get_scorer,
    log_loss,
    make_scorer,
    precision_recall_fscore_support,
)

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.label_sets import has_sets
from pgkd.records import (
    ClassScore,
    FloatArray,
    LabelArray,
    Prediction,
    StudentReport,
)

#: One text more that is right is a gain of exactly one standard error: rounding must not decide.
ROUNDING = 1e-12
#: Scores of a student from its probabilities: ``score(y, probabilities, rows)``, greater is better.
Scorer = Callable[[Any, Any, Any], float]

#: In the names of scorers in which every class counts the same; else a class counts by its texts.
MACRO = ("_macro", "balanced_accuracy")


def is_macro(scoring: Any) -> bool:
    """Whether a score is a mean over the classes, however many texts each has.

    Examples
    --------
    >>> from pgkd.evaluation.scoring import is_macro
    >>> is_macro("f1_macro"), is_macro("accuracy")
    (True, False)
    """
    return isinstance(scoring, str) and any(name in scoring for name in MACRO)


def make_report(y: LabelArray, probabilities: FloatArray, classes: LabelArray) -> StudentReport:
    """Evaluate `probabilities` (n_texts, n_classes) against the true labels `y` (n_texts,)."""
    if has_sets(y):
        from pgkd.evaluation.sets import make_set_report

        return make_set_report(y, probabilities, classes)
    codes = np.searchsorted(classes, y)
    predicted = probabilities.argmax(axis=1)
    every = np.arange(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        codes, predicted, labels=every, zero_division=0
    )
    matrix = confusion_matrix(codes, predicted, labels=every)
    np.fill_diagonal(matrix, 0)
    pairs = np.argwhere(matrix)
    pairs = pairs[np.argsort(-matrix[tuple(pairs.T)], kind="stable")]
    names = classes.tolist()
    return StudentReport(
        accuracy=float(np.mean(codes == predicted)),
        f1_macro=float(f1[support > 0].mean()),
        log_loss=float(-_log_likelihood(codes, probabilities).mean()),
        classes={
            name: ClassScore(float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(names, precision, recall, f1, support)
        },
        confusions={(names[i], names[j]): int(matrix[i, j]) for i, j in pairs},
        n_texts=len(y),
    )


def _log_likelihood(codes: NDArray[np.intp], probabilities: FloatArray) -> FloatArray:
    """Return that of each text's true class, shape (n_texts,), as scikit-learn's log_loss does."""
    tiny = np.finfo(probabilities.dtype).eps
    own = probabilities[np.arange(len(codes)), codes] / probabilities.sum(axis=1)
    found: FloatArray = np.log(np.clip(own, tiny, 1))
    return found


def make_predictions(
    texts: Sequence[str], y: LabelArray, probabilities: FloatArray, classes: LabelArray
) -> tuple[Prediction, ...]:
    """Pair each text with the student's label and confidence."""
    if has_sets(y):
        from pgkd.evaluation.sets import make_set_predictions

        return make_set_predictions(texts, y, probabilities, classes)
    predicted = classes[probabilities.argmax(axis=1)].tolist()
    confidence = probabilities.max(axis=1).tolist()
    return tuple(map(Prediction, texts, y.tolist(), predicted, confidence))


class _JudgedText(str):
    """A text that knows its row among the texts."""

    row: int


class KnownStudent(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A student whose probabilities of the texts are known: any scorer takes it."""

    def __init__(self, classes: LabelArray, probabilities: FloatArray) -> None:
        self.classes_ = classes
        self.probabilities = probabilities

    def predict_proba(self, X: Any) -> FloatArray:
        rows: FloatArray = self.probabilities[[text.row for text in X]]
        return rows

    def predict(self, X: Any) -> LabelArray:
        labels: LabelArray = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels

    def __sklearn_is_fitted__(self) -> bool:
        return True


class TextScorer:
    """Score students on the texts, and compare two of them in pairs.

    Parameters
    ----------
    scoring : str or callable
        A scikit-learn scorer name, or ``scorer(estimator, X, y)``.
    classes : array of shape (n_classes,)
    texts : sequence of str, of length n_texts
    y : array of shape (n_texts,)
        True labels.

    Attributes
    ----------
    name : str
        Of the score.

    References
    ----------
    https://scikit-learn.org/stable/modules/model_evaluation.html
    """

    #: The scorings that are a mean over the texts.
    means: tuple[str, ...] = ("accuracy", "neg_log_loss")
    #: Those that `_resample_f1` computes.
    counted: tuple[str, ...] = ("f1_macro",)

    def __init__(
        self, scoring: Any, classes: LabelArray, texts: Sequence[str], y: LabelArray
    ) -> None:
        self._scorer = self._make_scorer(scoring, classes)
        self._scoring = scoring
        self.name = str(getattr(scoring, "__name__", scoring))
        self._classes = classes
        self._texts = [_JudgedText(text) for text in texts]
        for row, text in enumerate(self._texts):
            text.row = row
        self._y = y

    @property
    def is_of_decisions(self) -> bool:
        """Whether the score is known to depend on labels, and not on probabilities."""
        return getattr(self._scorer, "_response_method", None) == "predict"

    def _make_scorer(self, scoring: Any, classes: LabelArray) -> Any:
        if scoring != "neg_log_loss":
            return get_scorer(scoring)
        # sklearn's own takes the classes from y, and a gate need not have a text of each.
        return make_scorer(
            log_loss, greater_is_better=False, response_method="predict_proba", labels=classes
        )

    def _make_student(self, probabilities: FloatArray) -> Any:
        return KnownStudent(self._classes, probabilities)

    def score(self, probabilities: FloatArray) -> float:
        """Score `probabilities` (n_texts, n_classes), greater is better.

        Raises
        ------
        InvalidInputError
            If the scorer cannot be computed on the texts, which may lack some classes.
        """
        try:
            if self._scoring in self.means:  # as scikit-learn's, and many times as fast
                score = float(self._score_texts(probabilities).mean())
            else:
                score = self._score(probabilities, np.arange(len(self._y)))
        except Exception as error:  # a stranger's scorer may raise anything
            raise InvalidInputError(
                f"scoring={self._scoring!r} cannot be computed on the {len(self._y)} labelled "
                f"texts that decide, of {len(self._find_one_of_each())} of the "
                f"{len(self._classes)} classes: {error} Label more texts, or choose another "
                "scorer."
            ) from error
        if not np.isfinite(score):
            raise InvalidInputError(
                f"scoring={self._scoring!r} is {score} on the {len(self._y)} labelled texts that "
                "decide: label more texts, or choose another scorer."
            )
        return score

    def _score(self, probabilities: FloatArray, rows: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # classes that a resample lacks
            X = [self._texts[row] for row in rows]
            return float(self._scorer(self._make_student(probabilities), X, self._y[rows]))

    def standard_error(
        self, a: FloatArray, b: FloatArray, rng: np.random.RandomState, n_resamples: int = 200
    ) -> float:
        """Return the standard error of ``score(a) - score(b)`` over the texts.

        Both students are scored on the same texts, so what is hard for both cancels out. For a mean
        over texts it is that of the mean difference; the bootstrap serves every other scoring, such
        as macro F1, and comes to the same for a mean, two hundred times as slow.

        References
        ----------
        Efron and Tibshirani, An Introduction to the Bootstrap, chapter 6.
        """
        n = len(self._y)
        if n < 2:
            return float("inf")
        if self._scoring in self.means:
            differences = self._score_texts(a) - self._score_texts(b)
            return float(np.std(differences, ddof=1) / np.sqrt(n))
        resamples = [rng.randint(n, size=n) for _ in range(n_resamples)]
        if self._scoring in self.counted:
            differences = self._resample_f1(a, resamples) - self._resample_f1(b, resamples)
        else:
            differences = np.array([self._difference(a, b, rows) for rows in resamples])
            differences = differences[np.isfinite(differences)]
            if len(differences) < n_resamples / 2:  # nothing can be told
                return float("inf")
        return float(np.std(differences, ddof=1))

    def _resample_f1(self, probabilities: FloatArray, resamples: Sequence[Any]) -> FloatArray:
        """Compute scikit-learn's macro F1 on each resample, by counting: 100 times as fast."""
        codes = np.searchsorted(self._classes, self._y)
        predicted = probabilities.argmax(axis=1)
        scores = []
        for rows in resamples:
            true, given = codes[rows], predicted[rows]
            hits = np.bincount(true[true == given], minlength=len(self._classes))
            counts = np.bincount(np.append(true, given), minlength=len(self._classes))
            scores.append(np.mean(2 * hits[counts > 0] / counts[counts > 0]))
        return np.array(scores)

    def _score_texts(self, probabilities: FloatArray) -> FloatArray:
        """Score each text, for scorings that are a mean over texts."""
        codes = np.searchsorted(self._classes, self._y)
        if self._scoring == "accuracy":
            is_correct: FloatArray = (probabilities.argmax(axis=1) == codes).astype(float)
            return is_correct
        return _log_likelihood(codes, probabilities)

    def _find_one_of_each(self) -> Any:
        """Return the row of a text of every class that there is."""
        return np.unique(self._y, return_index=True)[1]

    def _difference(self, a: FloatArray, b: FloatArray, rows: Any) -> float:
        """Score the difference on a resample; not finite if that cannot be done."""
        # Some scorers want a text of every class that there is.
        filled = np.append(rows, self._find_one_of_each())
        for chosen in (rows, filled):
            with contextlib.suppress(Exception):  # a stranger's scorer may raise anything
                difference = self._score(a, chosen) - self._score(b, chosen)
                if np.isfinite(difference):
                    return difference
        return float("nan")


def make_scorer_of_texts(
    scoring: Any, classes: LabelArray, texts: Sequence[str], y: LabelArray
) -> TextScorer:
    """Make the scorer for labels of this kind, one or several a text."""
    if has_sets(y):
        from pgkd.evaluation.sets import SetScorer

        return SetScorer(scoring, classes, texts, y)
    return TextScorer(scoring, classes, texts, y)
