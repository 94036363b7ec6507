"""What a report has of each class, each route, each confusion, and each reason for a loss."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pgkd.records import Label, Records, Step, StudentReport, SyntheticText, Usage
from pgkd.records.comparison import t_interval


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
class Confusion:
    """How many labelled texts of a class are taken for another one, out of fold: by a student of
    the labelled texts alone, and of all that was learnt.
    """

    label: Label
    predicted: Label
    before: int
    after: int


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
    standard_error : float
        Of `gain`, over the texts. Those of several steps are added as if these were independent. A
        text that one step has put right no other can put right again, so that this is rather too
        much than too little.
    saved : Usage
        What answers that were kept in `run_dir` had taken when they were bought.
    n_texts : int
        Labelled texts that judged it.
    """

    route: str
    n_learnt: int
    usage: Usage
    gain: float | None
    standard_error: float = 0.0
    saved: Usage = field(default_factory=Usage)
    n_texts: int = 0

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of `gain`."""
        if self.gain is None:
            return None
        return t_interval(self.gain, self.standard_error, self.n_texts)

    @property
    def gain_per_dollar(self) -> float | None:
        """Of what the route took, now or when it was bought; ``None`` if that is not known or 0."""
        cost = (self.usage + self.saved).cost
        return None if self.gain is None or not cost else self.gain / cost


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


def sum_up_routes(history: Sequence[Step], texts: Sequence[SyntheticText]) -> Records[RouteSum]:
    """Sum up each route, in the order in which they were first taken."""
    sums: Records[RouteSum] = Records()
    for route in dict.fromkeys(step.route for step in history[1:]):
        own = [step for step in history if step.route == route]
        numbers = {step.number for step in own}
        learnt = {t.text for t in texts if t.verdict == "accepted" and t.cycle in numbers}
        taken = [s.comparison for s in own if s.comparison and s.taken]
        is_judged = any(step.comparison for step in own)
        sums.append(
            RouteSum(
                route,
                len(learnt),
                sum((step.usage for step in own), Usage()),
                sum(c.after - c.before for c in taken) if is_judged else None,
                math.hypot(*(c.standard_error for c in taken)),
                sum((step.saved for step in own), Usage()),
                max((c.n_texts for c in taken), default=0),
            )
        )
    return sums


def find_gains(first: StudentReport | None, last: StudentReport | None) -> Records[ClassGain]:
    """Set the classes with labelled texts beside each other, the largest gain first."""
    if first is None or last is None:
        return Records()
    gains = [
        ClassGain(label, score.f1, last.classes[label].f1, score.support)
        for label, score in first.classes.items()
        if score.support
    ]
    return Records(sorted(gains, key=lambda gain: -gain.gain))


def find_confusions(first: StudentReport | None, last: StudentReport | None) -> Records[Confusion]:
    """Set the mistakes beside each other, the most frequent first."""
    if first is None or last is None:
        return Records()
    before, after = first.confusions, last.confusions
    found = [
        Confusion(*pair, before.get(pair, 0), after.get(pair, 0))
        for pair in dict.fromkeys([*before, *after])
    ]
    return Records(sorted(found, key=lambda own: (-max(own.before, own.after), -own.after)))


def count_losses(history: Sequence[Step], rejected: Sequence[SyntheticText]) -> Records[Loss]:
    """Count the texts that were not learnt, by step and reason."""
    counts = Counter((t.cycle, t.verdict, str(t.reason)) for t in rejected)
    for step in history:
        for reason, n in step.rejected.items():
            # The step counts what has no row in `synthetic_` as well.
            if unread := n - counts[step.number, "rejected", reason]:
                counts[step.number, "not read", reason] = unread
    return Records(Loss(*key, n) for key, n in sorted(counts.items()) if n)
