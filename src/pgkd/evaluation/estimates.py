"""Values with confidence intervals."""

from __future__ import annotations

from typing import NamedTuple

from scipy.stats import binomtest


class Estimate(NamedTuple):
    """A value and its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def estimate_share(n: int, n_texts: int, confidence: float) -> Estimate:
    """Return the share `n` of `n_texts` with its Clopper-Pearson interval.

    Examples
    --------
    >>> from pgkd.evaluation.estimates import estimate_share
    >>> print(estimate_share(45, 50, 0.95))
    0.9 (0.782 to 0.967)
    """
    interval = binomtest(n, n_texts).proportion_ci(confidence, method="exact")
    return Estimate(n / n_texts, float(interval.low), float(interval.high))


def estimate_gain(n_won: int, n_lost: int, n_texts: int, confidence: float) -> Estimate:
    """Return the gain in accuracy, with an interval that is exact given how many texts differ.

    Examples
    --------
    >>> from pgkd.evaluation.estimates import estimate_gain
    >>> print(estimate_gain(9, 1, 100, 0.95))
    0.08 (0.011 to 0.0995)
    """
    n = n_won + n_lost
    if not n:
        return Estimate(0.0, 0.0, 0.0)
    won = estimate_share(n_won, n, confidence)
    return Estimate(*((2 * share - 1) * n / n_texts for share in won))
