"""The score of labelled texts, and how sure the difference of two scores is."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names

from pgkd.exceptions import InvalidInputError, did_you_mean
from pgkd.inputs.labels import decide
from pgkd.inputs.targets import Target
from pgkd.records import FloatArray, LabelArray

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


def find_scorer(scoring: Any) -> Any:
    """Return a scorer, by its name or itself.

    Raises
    ------
    InvalidInputError
        If scikit-learn has none of that name.
    """
    try:
        return get_scorer(scoring)
    except ValueError:
        raise InvalidInputError(
            "The `scoring` parameter of PGKDClassifier must be a callable or one of "
            f"sklearn.metrics.get_scorer_names(). Got {scoring!r} instead."
            f"{did_you_mean(scoring, get_scorer_names())}"
        ) from None


def log_likelihood(codes: NDArray[np.int64], choices: FloatArray) -> FloatArray:
    """Return that of each text, shape (n_texts,), as scikit-learn's log_loss does.

    Parameters
    ----------
    codes, choices
        Of `Target.list_decisions`.
    """
    tiny = np.finfo(choices.dtype).eps
    own = np.take_along_axis(choices, codes[..., np.newaxis], axis=2)[..., 0] / choices.sum(axis=2)
    found: FloatArray = np.log(np.clip(own, tiny, 1)).sum(axis=1)
    return found


def compute_f1(hits: Any, counts: Any) -> FloatArray:
    """Compute 2 hits / (true + given), and 0 where there is neither, as scikit-learn has it."""
    score: FloatArray = 2 * hits / np.maximum(counts, 1)
    return score


class _JudgedText(str):
    """A text that knows its row among the texts."""

    row: int


class _KnownStudent(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A student whose probabilities of the texts are known: any scorer takes it."""

    def __init__(self, target: Target, probabilities: FloatArray) -> None:
        self.target = target
        self.probabilities = probabilities
        # For scikit-learn, each of several outputs has the classes 0 and 1.
        several = [np.array([0, 1])] * len(target.classes)
        self.classes_ = several if target.multilabel else target.classes

    def predict_proba(self, X: Any) -> FloatArray:
        rows: FloatArray = self.probabilities[[text.row for text in X]]
        return rows

    def predict(self, X: Any) -> Any:
        return self.target.predict(self.predict_proba(X))

    def __sklearn_is_fitted__(self) -> bool:
        return True


class TextScorer:
    """Score students on the texts, and compare two of them in pairs.

    With several labels a text, ``"neg_log_loss"`` is the sum over the labels, ``"accuracy"`` wants
    the whole set to be right, and decisions are those at 0.5.

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
    target : Target

    References
    ----------
    https://scikit-learn.org/stable/modules/model_evaluation.html
    """

    def __init__(
        self, scoring: Any, classes: LabelArray, texts: Sequence[str], y: LabelArray
    ) -> None:
        self._scorer = find_scorer(scoring)
        self.scoring = scoring
        self.name = str(getattr(scoring, "__name__", scoring))
        self.target = Target.of(y, classes)
        self._texts = [_JudgedText(text) for text in texts]
        for row, text in enumerate(self._texts):
            text.row = row

    @property
    def is_of_decisions(self) -> bool:
        """Whether the score is known to depend on labels, and not on probabilities."""
        return getattr(self._scorer, "_response_method", None) == "predict"

    @property
    def is_mean(self) -> bool:
        """Whether the score is a mean over the texts."""
        per_set = ("f1_samples",) if self.target.multilabel else ()
        return self.scoring in ("accuracy", "neg_log_loss", *per_set)

    def score(self, probabilities: FloatArray) -> float:
        """Score `probabilities` (n_texts, n_classes), greater is better.

        Raises
        ------
        InvalidInputError
            If the scorer cannot be computed on the texts, which may lack some classes.
        """
        try:
            if self.is_mean:  # as scikit-learn's, and many times as fast
                score = float(self._score_texts(probabilities).mean())
            else:
                score = self._score(probabilities, np.arange(len(self._texts)))
        except Exception as error:  # a stranger's scorer may raise anything
            raise InvalidInputError(
                f"scoring={self.scoring!r} cannot be computed on the {len(self._texts)} "
                f"labelled texts that decide, of {len(self._find_one_of_each())} of the "
                f"{len(self.target.classes)} classes: {error} Label more texts, or choose another "
                "scorer."
            ) from error
        if not np.isfinite(score):
            raise InvalidInputError(
                f"scoring={self.scoring!r} is {score} on the {len(self._texts)} labelled texts "
                "that decide: label more texts, or choose another scorer."
            )
        return score

    def _score(self, probabilities: FloatArray, rows: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # classes that a resample lacks
            X = [self._texts[row] for row in rows]
            student = _KnownStudent(self.target, probabilities)
            return float(self._scorer(student, X, self.target.for_fit[rows]))

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
        n = len(self._texts)
        if n < 2:
            return float("inf")
        if self.is_mean:
            differences = self._score_texts(a) - self._score_texts(b)
            return float(np.std(differences, ddof=1) / np.sqrt(n))
        resamples = [rng.randint(n, size=n) for _ in range(n_resamples)]
        if self.scoring in ("f1_macro", "f1_micro"):
            differences = self._resample_f1(a, resamples) - self._resample_f1(b, resamples)
        else:
            differences = np.array([self._difference(a, b, rows) for rows in resamples])
            differences = differences[np.isfinite(differences)]
            if len(differences) < n_resamples / 2:  # nothing can be told
                return float("inf")
        return float(np.std(differences, ddof=1))

    def _resample_f1(self, probabilities: FloatArray, resamples: Sequence[Any]) -> FloatArray:
        """Compute scikit-learn's F1 on each resample, by counting: 100 times as fast."""
        several = self.target.multilabel
        true, given = self.target.indicator, decide(probabilities, multilabel=several)
        n_drawn = np.array([np.bincount(rows, minlength=len(true)) for rows in resamples], float)
        hits, counts = (n_drawn @ m.astype(float) for m in (true & given, true + given))
        if self.scoring == "f1_micro":
            return compute_f1(hits.sum(axis=1), counts.sum(axis=1))
        f1 = compute_f1(hits, counts)
        # Of one label a text, scikit-learn leaves out a class that no text has or is given.
        return np.array(
            [own.mean() if several else own[n > 0].mean() for own, n in zip(f1, counts)]
        )

    def _score_texts(self, probabilities: FloatArray) -> FloatArray:
        """Score each text, for scorings that are a mean over texts."""
        if self.scoring == "accuracy":
            return self.target.is_right(probabilities).astype(float)
        if self.scoring == "neg_log_loss":
            return log_likelihood(*self.target.list_decisions(probabilities))
        true, given = self.target.indicator, decide(probabilities)
        return compute_f1((true & given).sum(axis=1), (true + given).sum(axis=1))

    def _find_one_of_each(self) -> Any:
        """Return the row of a text of every class that there is."""
        return np.unique(self.target.indicator.argmax(axis=0))

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
