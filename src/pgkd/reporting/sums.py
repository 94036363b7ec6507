"""What a report has of each class, each route, and each reason for a loss."""

from __future__ import annotations

from dataclasses import dataclass

from pgkd.records import Label, Usage


@dataclass(frozen=True)
class ClassGain:
    """F1 of a class on its `support` labelled texts, out of fold: of the labelled texts alone, and
    of all that was learnt.
    """

    label: Label
    before: float
    after: float
    support: int

    @property
    def gain(self) -> float:
        """What was gained."""
        return self.after - self.before


@dataclass(frozen=True)
class RouteSum:
    """What a route has taken and brought in all.

    Attributes
    ----------
    route : str
    n_learnt : int
        Texts that the student has learnt.
    usage : Usage
    gain : float or None
        In `scoring`, out of fold: the sum over the steps that were taken.
    """

    route: str
    n_learnt: int
    usage: Usage
    gain: float | None


@dataclass(frozen=True)
class Loss:
    """Texts that were not learnt, by step and reason.

    Attributes
    ----------
    step : int
    verdict : {"rejected", "dropped", "not read"}
        Not read: what was in an answer and could not be read, or a request that failed; there is no
        text to show.
    reason : str
    n : int
    """

    step: int
    verdict: str
    reason: str
    n: int
