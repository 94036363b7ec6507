"""The threshold above which the student is right as often as it has to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc
from sklearn.utils.validation import check_is_fitted

from pgkd.evaluation.calibration import apply_temperature
from pgkd.evaluation.estimates import Estimate, estimate_share
from pgkd.evaluation.thresholds import N_THRESHOLDS, divide_level
from pgkd.exceptions import InvalidInputError
from pgkd.export.withholding import check_abstain_label, find_unsure, withhold
from pgkd.inputs.validation import check_labels, check_texts
from pgkd.records import FloatArray, Label, LabelArray
from pgkd.students._text_classifier import TextClassifier
from pgkd.students.any_student import predict_proba

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Abstention:
    """A threshold, and what it was measured to do.

    Attributes
    ----------
    threshold : float
        Texts whose greatest probability is below get no label; 0.0: each gets one.
    min_accuracy, confidence : float
        With probability `confidence`, labels that are given are right more often than
        `min_accuracy`.
    n_texts : int
        Labelled texts that it was measured on.
    on_gate : bool
        Whether these are the texts that have chosen what the student learns, predicted without
        having been learnt; or texts that had no part in `fit`.
    coverage : Estimate
        Share of the texts that get a label, with its interval.
    accuracy : Estimate
        Of the labels that are given, with the exact interval that allows for the thresholds that
        were tried.
    accuracy_of_all : Estimate
        If every text got a label.
    """

    threshold: float
    min_accuracy: float
    confidence: float
    n_texts: int
    on_gate: bool
    coverage: Estimate
    accuracy: Estimate
    accuracy_of_all: Estimate

    def __str__(self) -> str:
        whose = "labelled texts, which have also chosen what it learns" if self.on_gate else "texts"
        given = "Every text gets a label."
        if self.threshold:
            given = f"A text gets a label if its probability is at least {self.threshold:.3f}."
        return (
            f"{given} Measured on {self.n_texts} {whose}: {_percent(self.coverage)} get one. "
            f"{_percent(self.accuracy)} of these labels are right. If each text got one, "
            f"{_percent(self.accuracy_of_all)} would be right. Asked for: more than "
            f"{100 * self.min_accuracy:g} %, with {100 * self.confidence:g} % confidence."
        )


def _percent(share: Estimate) -> str:
    value, low, high = (f"{100 * own:.1f}" for own in share)
    return f"{value} % ({low} to {high} %)"


def choose_threshold(
    top: FloatArray,
    is_right: NDArray[np.bool_],
    *,
    min_accuracy: float,
    confidence: float,
    on_gate: bool,
) -> Abstention:
    """Choose the lowest threshold above which the student is shown to be right often enough.

    The quarter of the texts that it is surest of, the half, three quarters and all are tried. Each
    is an exact binomial test of whether the accuracy is over `min_accuracy`; what the tests may err
    is divided among those that could pass.

    Parameters
    ----------
    top : array of float of shape (n_texts,)
        The student's greatest probability.
    is_right : array of bool of shape (n_texts,)
    min_accuracy, confidence : float
        In (0, 1).
    on_gate : bool

    Returns
    -------
    abstention : Abstention

    Raises
    ------
    InvalidInputError
        If no threshold passes.

    References
    ----------
    Geifman and El-Yaniv, Selective Classification for Deep Neural Networks,
    https://arxiv.org/abs/1705.08500

    Examples
    --------
    A student that is right where it is over 0.5 sure, and in half of the rest:

    >>> import numpy as np
    >>> from pgkd.models.abstention import choose_threshold
    >>> top = np.linspace(0.01, 1, 400)
    >>> is_right = (top > 0.5) | (np.arange(400) % 2 == 0)
    >>> found = choose_threshold(
    ...     top, is_right, min_accuracy=0.95, confidence=0.95, on_gate=False
    ... )
    >>> round(found.threshold, 2), found.coverage.value
    (0.51, 0.5)
    """
    n = len(top)
    descending = np.sort(top)[::-1]
    ends = np.ceil(n * np.arange(1, N_THRESHOLDS + 1) / N_THRESHOLDS).astype(int)
    thresholds = np.unique(descending[ends - 1])
    kept = top >= thresholds[:, None]
    n_kept, n_right = kept.sum(axis=1), (kept & is_right).sum(axis=1)
    level = divide_level(n_kept.tolist(), 1 - confidence, min_accuracy)
    # Of at least so many right ones, if `min_accuracy` were all there is.
    passed = np.flatnonzero(bdtrc(n_right - 1.0, n_kept, min_accuracy) <= level)
    if not len(passed):
        n_least = int(np.ceil(np.log(1 - confidence) / np.log(min_accuracy)))
        raise InvalidInputError(
            f"No threshold is shown to give labels with an accuracy over {min_accuracy:g}: the "
            f"student labels {is_right.sum()} of {n} texts rightly, and of the {n_kept[-1]} that "
            f"it is surest of, {n_right[-1]}. That takes at least {n_least} texts without a "
            "mistake. Pass more labelled texts as `X` and `y`, or a lower `min_accuracy` or "
            "`confidence`."
        )
    best = passed[0]  # the lowest
    k, right = int(n_kept[best]), int(n_right[best])
    # Between two texts: computed in another batch or engine, neither must change sides.
    threshold = 0.0 if k == n else float(descending[k - 1 : k + 1].mean())
    return Abstention(
        threshold=threshold,
        min_accuracy=min_accuracy,
        confidence=confidence,
        n_texts=n,
        on_gate=on_gate,
        coverage=estimate_share(k, n, confidence),
        accuracy=estimate_share(right, k, 1 - 2 * level),
        accuracy_of_all=estimate_share(int(is_right.sum()), n, confidence),
    )


class AbstainingClassifier(TextClassifier):
    """A classifier of texts that can withhold labels of which it is not sure enough.

    A subclass's `fit` sets these.

    Attributes
    ----------
    student_ : classifier
    abstention_ : Abstention or None
        ``None`` before `fit_threshold`.
    _judged : tuple of (probabilities, labels) or None
        What the student, not calibrated, said of texts that it had not learnt; `fit_threshold`
        takes them if it gets none.
    """

    student_: Any
    abstention_: Abstention | None
    _judged: tuple[FloatArray, LabelArray] | None

    @property
    def temperature_(self) -> float:
        """By which the student's logits are divided."""
        return 1.0

    @property
    def threshold_(self) -> float | None:
        """The least probability of a label for `predict` with `abstain_label`."""
        return None if self.abstention_ is None else self.abstention_.threshold

    def fit_threshold(
        self,
        X: Any = None,
        y: Any = None,
        *,
        min_accuracy: float = 0.95,
        confidence: float = 0.95,
    ) -> Self:
        """Choose below which probability `predict` with `abstain_label` gives no label.

        It is the lowest of four thresholds above which an exact test shows the labels to be right
        often enough. The teacher is not asked, and the student stays as it is.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,), default=None
            Labelled texts that had no part in `fit`. ``None``: those of `fit`, as students
            predicted them that had not learnt them. They have chosen what is learnt as well, which
            makes them a little too kind.
        y : array-like of shape (n_texts,), default=None
            Their labels.
        min_accuracy : float, default=0.95
            In (0, 1): the share of right labels among those that are given is to be greater.
        confidence : float, default=0.95
            In (0, 1): the probability with which it is, over draws of `X`.

        Returns
        -------
        self
            With `threshold_` and `abstention_`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            If no threshold can be shown to do, or there are no such texts: after `refit` and
            `load`, and without labelled texts.

        Examples
        --------
        >>> clf.fit_threshold(min_accuracy=0.9)  # doctest: +SKIP
        >>> clf.predict(["good fun", "who knows"], abstain_label="unsure")  # doctest: +SKIP
        array(['pos', 'unsure'], dtype='<U6')
        """
        check_is_fitted(self)
        if self.multilabel_:
            raise InvalidInputError(
                "`fit_threshold` is for one label a text. Where texts have several, each is given "
                "above its own threshold: see `label_threshold` and ``label_thresholds_``."
            )
        for name, value in (("min_accuracy", min_accuracy), ("confidence", confidence)):
            if not 0 < value < 1:
                raise InvalidInputError(f"`{name}` must be a float in (0, 1). Got {value!r}.")
        if X is not None:
            texts = check_texts(X)
            labels = check_labels(y, len(texts))
            if set(labels.tolist()).isdisjoint(self.classes_.tolist()):
                raise InvalidInputError(
                    f"y must have labels of the classes {self.classes_.tolist()[:5]!r} and so on. "
                    f"Got none of them, but e.g. {labels.tolist()[0]!r}: pass labels as `fit` got "
                    "them."
                )
            answers = predict_proba(self.student_, texts, self.classes_), labels
        elif self._judged is not None:
            answers = self._judged
        else:
            raise InvalidInputError(
                "`fit_threshold` needs labelled texts that the student has not learnt, as `X` and "
                "`y`: those of `fit` are gone after `load`, and tell nothing after `refit`."
            )
        probabilities = apply_temperature(answers[0], self.temperature_)
        self.abstention_ = choose_threshold(
            probabilities.max(axis=1),
            self.classes_[probabilities.argmax(axis=1)] == answers[1],
            min_accuracy=min_accuracy,
            confidence=confidence,
            on_gate=X is None,
        )
        return self

    def abstains(self, X: Any) -> NDArray[np.bool_]:
        """Return which texts the student is less sure of than ``threshold_``.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)

        Returns
        -------
        unsure : array of bool of shape (n_texts,)

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            Without a threshold, which `fit_threshold` chooses.
        """
        return find_unsure(self.predict_proba(X), self.threshold_)

    def predict(self, X: Any, abstain_label: Label | None = None) -> Any:
        """Return the most probable class of each text.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)
        abstain_label : str, int or bool, default=None
            For texts that the student is less sure of than ``threshold_``; none of the classes.
            ``None``: every text gets a class.

        Returns
        -------
        labels : array of shape (n_texts,)
            With several labels a text: those above their threshold in ``label_thresholds_``, as an
            indicator matrix of shape (n_texts, n_classes), or as a list of tuples if `fit` got
            lists of labels.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            If `X` is no sequence of str, or for an `abstain_label` without a threshold.
        """
        if abstain_label is None:
            return super().predict(X)
        probabilities = self.predict_proba(X)
        check_abstain_label(abstain_label, self.classes_)
        labels = self.classes_[probabilities.argmax(axis=1)]
        return withhold(labels, find_unsure(probabilities, self.threshold_), abstain_label)
