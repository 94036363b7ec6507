"""The threshold above which the student is right as often as it has to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from pgkd.cascade_report import Estimate, estimate_share
from pgkd.exceptions import InvalidInputError
from pgkd.records import FloatArray
from pgkd.thresholds import N_THRESHOLDS, divide_level


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
        Whether these are the gate's, which have chosen the student as well; or texts that had no
        part in `fit`.
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
        whose = "gate texts, which have also chosen the student" if self.on_gate else "texts"
        return (
            f"With a probability below {self.threshold:.3f} there is no label. On {self.n_texts} "
            f"{whose}, {self.coverage} of them get one, and of these {self.accuracy} are right, "
            f"to {self.accuracy_of_all} of all. Asked for: {self.min_accuracy:g}, with "
            f"{self.confidence:.0%} confidence."
        )


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
    >>> from pgkd.abstention import choose_threshold
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
