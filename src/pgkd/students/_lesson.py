"""What is learnt of each text: a distribution over the classes, and a weight in the loss."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import xlogy
from sklearn.utils.validation import _check_sample_weight

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.splitting import hold_out
from pgkd.inputs.targets import Target
from pgkd.inputs.validation import check_classes, check_labels
from pgkd.records import FloatArray, LabelArray


@dataclass(frozen=True)
class Lesson:
    """Texts with targets of shape (n_texts, n_classes), and weights.

    The rows of the targets sum to 1 or, if texts have several labels, are of 0 and 1.
    """

    texts: list[str]
    targets: FloatArray
    weights: FloatArray
    multilabel: bool = False

    def take(self, rows: Any) -> Lesson:
        """Return the given rows."""
        texts = [self.texts[i] for i in rows]
        return Lesson(texts, self.targets[rows], self.weights[rows], self.multilabel)

    def hold_out(self, labels: LabelArray, fraction: float, seed: int) -> tuple[Lesson, Lesson]:
        """Split off texts for the validation loss, of those that weigh anything."""
        rows = np.flatnonzero(self.weights)
        texts = [self.texts[i] for i in rows]
        held_out = rows[hold_out(texts, labels[rows], fraction, np.random.RandomState(seed))[1]]
        return self.take(np.setdiff1d(np.arange(len(labels)), held_out)), self.take(held_out)

    def make_rows(self, tokens: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what `fine_tune` learns of each text, given its tokens."""
        weights = self.weights / self.weights.mean()  # so that they keep the learning rate
        return [
            {**own, "labels": target, "weight": weight}
            for own, target, weight in zip(tokens, self.targets.tolist(), weights.tolist())
        ]

    def measure_loss(self, probabilities: FloatArray) -> float:
        """Return the weighted mean of the cross-entropy, in nats a text."""
        # As scikit-learn's log loss: a class that was ruled out costs much, not infinity.
        likely = np.clip(probabilities, np.finfo(np.float64).eps, 1.0)
        losses = -xlogy(self.targets, likely).sum(axis=1)
        if self.multilabel:
            unlikely = np.clip(1 - probabilities, np.finfo(np.float64).eps, 1.0)
            losses -= xlogy(1 - self.targets, unlikely).sum(axis=1)
        return float(np.average(losses, weights=self.weights))


def make_lesson(texts: list[str], target: Target, sample_weight: Any = None) -> Lesson:
    """Return what `fit` got as a lesson; without weights, each text has 1.

    Raises
    ------
    InvalidInputError
        If no text has a weight.
    """
    weights: FloatArray = _check_sample_weight(
        sample_weight, target.y, dtype=np.float64, ensure_non_negative=True
    )
    if not weights.any():
        raise InvalidInputError("sample_weight is 0 for every text: give some text a weight.")
    return Lesson(texts, target.indicator.astype(float), weights, target.multilabel)


def check_known(labels: LabelArray, classes: Any, learnt: LabelArray | None) -> LabelArray:
    """Return the classes that `partial_fit` goes on with: those learnt or, at first, all.

    Raises
    ------
    InvalidInputError
        If `labels` or `classes` have others.
    """
    known = labels if learnt is None else learnt
    if classes is not None:
        known = check_labels(classes, len(classes), "classes")
    known = check_classes(known)
    learnt = known if learnt is None else learnt
    unknown = sorted(set(labels.tolist()) - set(known.tolist()))
    if unknown or not np.array_equal(known, learnt):
        raise InvalidInputError(
            f"`partial_fit` goes on with the classes of the first call, {learnt.tolist()!r}, or "
            f"those of `classes` then. Got {unknown or known.tolist()!r}: use `fit` for others."
        )
    return known


def check_soft_labels(soft_labels: Any, labels: LabelArray, classes: LabelArray) -> FloatArray:
    """Return `soft_labels` as an array whose rows sum to 1.

    Raises
    ------
    InvalidInputError
    """
    shape = (len(labels), len(classes))
    expected = (
        f"soft_labels must be probabilities of shape {shape}, a row for each text and a column for "
        "each class of y in sorted order"
    )
    names = getattr(soft_labels, "columns", None)  # a DataFrame's
    if names is not None and list(names) != list(range(len(names))):
        if sorted(map(str, names)) != sorted(map(str, classes)):
            raise InvalidInputError(f"{expected}. Got columns {list(names)[:5]!r} instead.")
        by_name = {str(name): i for i, name in enumerate(names)}
        soft_labels = soft_labels.iloc[:, [by_name[str(label)] for label in classes]]
    try:
        array: FloatArray = np.array(soft_labels, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{expected}. {error}") from error
    if array.shape != shape:
        raise InvalidInputError(f"{expected}. Got shape {array.shape} instead.")
    sums = array.sum(axis=1)
    wrong = np.flatnonzero(~((np.abs(sums - 1) < 1e-3) & (array >= 0).all(axis=1)))
    if len(wrong):
        raise InvalidInputError(
            f"{expected}. Got {array[wrong[0]].tolist()} in row {wrong[0]}: each row must be of "
            "numbers in [0, 1] that sum to 1."
        )
    array /= sums[:, np.newaxis]
    return array


def weigh_classes(lesson: Lesson, class_weight: Any, classes: LabelArray) -> Lesson:
    """Multiply what each class adds to the loss by its weight.

    The loss of a text is the sum, over the classes, of -target * log(probability). Weights of the
    classes are the same as other targets, scaled to sum to 1, and another weight of the text.
    """
    if class_weight is None:
        return lesson
    factors = _get_factors(lesson, class_weight, classes)
    targets = lesson.targets * factors
    sums = targets.sum(axis=1)
    kept = sums > 0  # of classes that weigh nothing, the target does not matter
    targets[kept] /= sums[kept, np.newaxis]
    targets[~kept] = lesson.targets[~kept]
    weights = lesson.weights * sums
    if not weights.any():
        raise InvalidInputError(
            "No text has a weight: `class_weight` or `sample_weight` is 0 for each. Give some a "
            "weight."
        )
    return replace(lesson, targets=targets, weights=weights)


def _get_factors(lesson: Lesson, class_weight: Any, classes: LabelArray) -> FloatArray:
    if isinstance(class_weight, str):  # "balanced"
        totals = lesson.weights @ lesson.targets
        balanced: FloatArray = totals.sum() / (len(classes) * np.where(totals > 0, totals, np.inf))
        return balanced
    _check_class_weight(class_weight)
    known = classes.tolist()
    unknown = [label for label in class_weight if label not in known]
    if unknown:  # no error: a fold need not have every class
        warnings.warn(
            f"`class_weight` has {len(unknown)} label(s) that y has not, e.g. {unknown[0]!r}; "
            "they are ignored.",
            stacklevel=4,
        )
    return np.array([class_weight.get(label, 1.0) for label in known], dtype=np.float64)


def _check_class_weight(class_weight: Mapping[Any, Any]) -> None:
    for label, weight in class_weight.items():
        if not isinstance(weight, (int, float, np.number)) or not 0 <= weight < np.inf:
            raise InvalidInputError(
                "The `class_weight` parameter of TransformerStudent must have numbers in [0, inf). "
                f"Got {weight!r} for {label!r} instead."
            )
