"""Whether a training set is better than another."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Of a gain in score before any text is seen; what a nat of the log loss is worth in score. Found
#: by simulation, which hardly depends on them: benchmarks/deciders.py.
PRIOR_SPREAD, POINTS_PER_NAT = 0.03, 0.25
#: No difference is known better than that, and no smaller one is a difference.
MIN_ERROR, ROUNDING = 1e-4, 1e-9


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Two training sets, compared text by text on labelled texts that neither student has learnt.

    Attributes
    ----------
    scoring : str
        Name of the score; greater is better.
    before, after : float
    standard_error : float
        Of ``after - before``, over the texts.
    log_loss_gain, log_loss_error : float
        By how much the log loss falls, in nats a text, after temperature scaling; and its standard
        error.
    correlation : float
        Of the two gains, text by text.
    n_texts : int
    """

    scoring: str
    before: float
    after: float
    standard_error: float
    log_loss_gain: float
    log_loss_error: float
    correlation: float
    n_texts: int

    def __str__(self) -> str:
        return (
            f"{self.scoring} {self.before:.3f} -> {self.after:.3f}, {self.difference} on "
            f"{self.n_texts} labelled texts"
        )

    def __repr__(self) -> str:
        return f"Comparison({self})"

    @property
    def difference(self) -> str:
        """``after - before`` with its interval, as it is printed."""
        low, high = self.interval
        return f"{self.after - self.before:+.3f} (95 %: {low:+.3f} to {high:+.3f})"

    @property
    def log_loss_change(self) -> str:
        """What becomes of the log loss, as it is printed; it is the better, the lower it is."""
        change = f"{abs(self.log_loss_gain):.3f}"
        if not float(change):
            return "log loss stays the same"
        return f"log loss {'falls' if self.log_loss_gain > 0 else 'rises'} by {change}"

    @property
    def gain(self) -> float:
        """The gain in score that is to be expected: both measures together, shrunk towards none.

        A gain is thought to be normally distributed around 0 before any text is seen. The score and
        the log loss are two looks at it: the score is what is wanted, and few texts change sides
        in it; in the log loss every text has a part. They are weighed by their precision.
        """
        return self._posterior[0]

    @property
    def gain_error(self) -> float:
        """The standard deviation of that."""
        return self._posterior[1]

    @property
    def taken(self) -> bool:
        """Whether the second is to be preferred: it is expected to be better."""
        return self.gain > ROUNDING

    @property
    def _posterior(self) -> tuple[float, float]:
        is_log_loss = self.scoring == "neg_log_loss"
        slope = 1.0 if is_log_loss else POINTS_PER_NAT
        spread = PRIOR_SPREAD / POINTS_PER_NAT if is_log_loss else PRIOR_SPREAD
        # Where no text changes sides, one might have.
        looks = [(self.after - self.before, max(self.standard_error, 1 / self.n_texts))]
        looks += [(slope * self.log_loss_gain, max(slope * self.log_loss_error, MIN_ERROR))]
        precision = [1 / error**2 for _, error in looks]
        mean = sum(p * value for p, (value, _) in zip(precision, looks)) / sum(precision)
        # The looks are at the same texts, so that together they tell less than two would.
        total = sum(precision) / (1 + max(self.correlation, 0.0))
        prior = 1 / spread**2
        return mean * total / (total + prior), 1 / math.sqrt(total + prior)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of ``after - before``."""
        return t_interval(self.after - self.before, self.standard_error, self.n_texts)


def t_interval(value: float, standard_error: float, n_texts: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean over texts, by Student's t: a few of them tell little.

    Examples
    --------
    >>> from pgkd.records.comparison import t_interval
    >>> [round(end, 2) for n_texts in (3, 400) for end in t_interval(0.5, 0.1, n_texts)]
    [0.07, 0.93, 0.3, 0.7]
    """
    from scipy.special import stdtrit  # which an export does without

    half = float(stdtrit(max(n_texts - 1, 1), 0.975)) * standard_error
    return value - half, value + half
