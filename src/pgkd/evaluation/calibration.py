"""Temperature scaling: probabilities that say how often the student is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from pgkd.evaluation.estimates import Estimate
from pgkd.evaluation.scoring import TextScorer
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.splitting import Indices, make_folds
from pgkd.inputs.text import fold_text
from pgkd.records import FloatArray, LabelArray

#: Fewer texts tell nothing about the probabilities.
MIN_TEXTS = 20
#: Folds of the cross-fitted scores.
N_FOLDS = 10
#: Bins of equal width of the expected calibration error, as in Guo et al.
N_BINS = 15
#: Resamples of its interval.
N_RESAMPLES = 1000
#: Standard deviation of the logarithm of the temperature before any text is seen: 1/2 and 2 are one
#: away from 1. Without it, texts on which the student is always right ask for temperature 0.
SPREAD = np.log(2)


class Bin(NamedTuple):
    """Texts of which the student is about equally sure: how many, how sure, how often right."""

    n_texts: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, repr=False)
class Calibration:
    """How the student's probabilities were calibrated, and what that is measured to bring.

    The values after it are cross-fitted: the temperature of each tenth of the texts was fitted on
    the other nine. The texts have chosen what the student learns, which flatters both sides alike.

    Attributes
    ----------
    temperature : float
        By which the student's logits are divided; over 1 if it was too sure of itself. 1.0 if
        `fitted` does not better the log loss by more than a standard error.
    fitted : float
        What fits the texts best.
    n_texts : int
        Labelled texts that the student predicted without having learnt them.
    log_loss_before, log_loss_after : float
        In nats a text, less is better.
    standard_error : float
        Of their difference.
    ece_before, ece_after : float
        Expected calibration error, in [0, 1]: by how much the greatest probability and the accuracy
        differ, on average over 15 bins of equal width.
    ece_reduction : Estimate
        The difference, with a 95 % bootstrap interval.
    ece_by_chance : float
        What a perfectly calibrated student would show on so few texts, on average.
    bins_before, bins_after : tuple of Bin
        The bins that have a text, by rising confidence: a reliability diagram. Empty in what an
        earlier pgkd saved.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599
    """

    temperature: float
    fitted: float
    n_texts: int
    log_loss_before: float
    log_loss_after: float
    standard_error: float
    ece_before: float
    ece_after: float
    ece_reduction: Estimate
    ece_by_chance: float
    bins_before: tuple[Bin, ...] = ()
    bins_after: tuple[Bin, ...] = ()

    def __str__(self) -> str:
        return f"{self.verdict} {self.caution}"

    def __repr__(self) -> str:
        return f"Calibration({self.verdict})"

    @property
    def verdict(self) -> str:
        """What was found, in words."""
        gain = self.log_loss_before - self.log_loss_after
        difference = f"{abs(gain):.4f} (standard error {self.standard_error:.2g})"
        if self.temperature != 1:
            why = "too sure of itself" if self.temperature > 1 else "not sure enough of itself"
            return (
                f"The probabilities are calibrated with temperature {self.temperature:.3g}: the "
                f"student was {why}. The log loss falls by {difference}."
            )
        found = f"lower by {difference}, too little to rely on"
        if gain <= 0:
            found = f"higher by {difference}"
        return (
            f"The probabilities are the student's own. With temperature {self.fitted:.3g}, which "
            f"fits the texts best, the log loss of others is {found}."
        )

    @property
    def caution(self) -> str:
        """How far that can be relied on, in words."""
        value, high, low = (-own for own in self.ece_reduction)
        change = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
        return (
            f"The error goes from {self.ece_before:.3f} to {self.ece_after:.3f}: {change} (95 %). "
            f"On only {self.n_texts} texts, a student without any error of the kind would still "
            f"seem to have one of {self.ece_by_chance:.3f}, by chance. "
            "The temperature was fitted on other texts than it is measured on. But all of them "
            "have chosen what the student learns, so measure it on texts of your own."
        )


def calibrate(
    judges: LabelledTexts, probabilities: FloatArray, classes: LabelArray, seed: int
) -> Calibration | None:
    """Choose the temperature by labelled texts; ``None`` for fewer than 20.

    Parameters
    ----------
    judges : LabelledTexts
    probabilities : array of shape (n_gate_texts, n_classes)
        Of a student that has not learnt these texts.
    classes : array of shape (n_classes,)
    seed : int

    Returns
    -------
    calibration : Calibration or None
    """
    if len(set(map(fold_text, judges.texts))) < MIN_TEXTS:
        return None
    codes = np.searchsorted(classes, judges.y)
    fitted = fit_temperature(probabilities, codes)
    after = np.empty_like(probabilities)
    for rest, fold in make_folds(judges.texts, judges.y, N_FOLDS, seed):
        temperature = fit_temperature(probabilities[rest], codes[rest])
        after[fold] = apply_temperature(probabilities[fold], temperature)
    scorer = TextScorer("neg_log_loss", classes, judges.texts, judges.y)
    rng = np.random.RandomState(seed)
    before_score, after_score = scorer.score(probabilities), scorer.score(after)
    error = scorer.standard_error(probabilities, after, rng)
    gaps_before, gaps_after = _Gaps(probabilities, codes), _Gaps(after, codes)
    resamples = [rng.randint(len(judges), size=len(judges)) for _ in range(N_RESAMPLES)]
    reductions = [gaps_before.measure(rows) - gaps_after.measure(rows) for rows in resamples]
    low, high = np.quantile(reductions, [0.025, 0.975]).tolist()
    ece_before, ece_after = gaps_before.measure(), gaps_after.measure()
    return Calibration(
        temperature=fitted if after_score - before_score > error else 1.0,
        fitted=fitted,
        n_texts=len(judges),
        log_loss_before=-before_score,
        log_loss_after=-after_score,
        standard_error=error,
        ece_before=ece_before,
        ece_after=ece_after,
        ece_reduction=Estimate(ece_before - ece_after, low, high),
        ece_by_chance=gaps_after.simulate(rng),
        bins_before=gaps_before.list_bins(),
        bins_after=gaps_after.list_bins(),
    )


def fit_temperature(probabilities: FloatArray, codes: Indices) -> float:
    """Return the temperature with which the labels are most probable, drawn towards 1.

    scikit-learn 1.8 has temperature scaling in ``CalibratedClassifierCV``, but that draws towards
    nothing, and wants a text of every class.

    Parameters
    ----------
    probabilities : array of shape (n_texts, n_classes), or (n_texts, n_decisions, n_choices)
    codes : array of int of shape (n_texts,), or (n_texts, n_decisions)
        The columns of the true labels.

    Returns
    -------
    temperature : float

    Examples
    --------
    A student that is sure of everything, and wrong in one text of four:

    >>> import numpy as np
    >>> from pgkd.evaluation.calibration import fit_temperature
    >>> probabilities = np.tile([0.99, 0.01], (400, 1))
    >>> temperature = fit_temperature(probabilities, np.array([0, 0, 0, 1] * 100))
    >>> print(round(temperature, 1))
    4.1
    """
    probabilities, codes = probabilities.reshape(-1, probabilities.shape[-1]), codes.ravel()
    # Of the rest, the temperature says nothing.
    rows = np.flatnonzero(probabilities[np.arange(len(codes)), codes])
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities[rows])
    own = logits[np.arange(len(rows)), codes[rows]]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        log_likelihood = (own * scale - logsumexp(logits * scale, axis=1)).sum()
        return float((log_temperature / SPREAD) ** 2 / 2 - log_likelihood)

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))


def apply_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Divide the logits by the temperature, in the last axis; the greatest one stays so.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.evaluation.calibration import apply_temperature
    >>> apply_temperature(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    if temperature == 1:
        return probabilities
    powers = (probabilities / probabilities.max(axis=-1, keepdims=True)) ** (1 / temperature)
    scaled: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return scaled


class _Gaps:
    """What the expected calibration error is made of, text by text."""

    def __init__(self, probabilities: FloatArray, codes: Indices) -> None:
        self.confidence = probabilities.max(axis=1)
        self.is_right = probabilities.argmax(axis=1) == codes
        self.bins = np.minimum((self.confidence * N_BINS).astype(int), N_BINS - 1)

    def measure(self, rows: Any = slice(None)) -> float:
        """Return the error on the given texts."""
        return self._measure(self.bins[rows], self.confidence[rows] - self.is_right[rows])

    def simulate(self, rng: np.random.RandomState) -> float:
        """Return the mean error if each text were right with its confidence."""
        n = len(self.confidence)
        draws = (rng.random_sample(n) < self.confidence for _ in range(N_RESAMPLES))
        return float(
            np.mean([self._measure(self.bins, self.confidence - is_right) for is_right in draws])
        )

    def list_bins(self) -> tuple[Bin, ...]:
        """Return the bins that have a text."""
        return tuple(
            Bin(
                int(own.sum()), float(self.confidence[own].mean()), float(self.is_right[own].mean())
            )
            for own in (self.bins == number for number in np.unique(self.bins))
        )

    @staticmethod
    def _measure(bins: Indices, gaps: FloatArray) -> float:
        return float(abs(np.bincount(bins, weights=gaps)).sum() / len(gaps))
