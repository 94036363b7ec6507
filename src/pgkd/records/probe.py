"""What a teacher is found to be good for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pgkd.records.answers import Usage


@dataclass(frozen=True, slots=True, repr=False)
class Probe:
    """How well the teacher labels the labelled texts of which the student is least sure.

    Attributes
    ----------
    n_texts : int
        Texts that the teacher answered about.
    n_teacher, n_student, n_fused : int
        Those that the teacher labels rightly, the student out of fold, and both opinions together.
    n_only_teacher, n_only_student : int
        Those that only one of the two labels rightly.
    weight : float
        Of the teacher's opinion beside the student's, as an exponent; 0: it adds nothing.
    has_probabilities : bool
        Whether the teacher gave probabilities, and not only labels.
    usage : Usage
        What the probe took from the teacher; no step of ``history_`` counts it.
    """

    n_texts: int
    n_teacher: int
    n_student: int
    n_fused: int
    n_only_teacher: int
    n_only_student: int
    weight: float
    has_probabilities: bool = False
    usage: Usage = field(default_factory=Usage)

    def __repr__(self) -> str:
        return f"Probe({self.verdict})"

    @property
    def teacher_accuracy(self) -> float:
        """Share of the texts, in [0, 1]."""
        return self.n_teacher / self.n_texts

    @property
    def student_accuracy(self) -> float:
        """Share of the texts, in [0, 1], out of fold."""
        return self.n_student / self.n_texts

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the teacher's accuracy (Wilson)."""
        return wilson_interval(self.n_teacher, self.n_texts)

    @property
    def is_useless(self) -> bool:
        """Whether the teacher is worse than the student beyond doubt, and adds nothing to it.

        Only texts that one of the two gets right tell which is better. If they are equally good,
        each is the toss of a coin: a lead of twice its standard error is no chance.
        """
        n = self.n_only_teacher + self.n_only_student
        is_worse = self.n_only_student - self.n_only_teacher > 2 * math.sqrt(n)
        return self.weight == 0 and (is_worse or self.n_teacher == 0)

    @property
    def verdict(self) -> str:
        """What the probe says about the teacher, in words."""
        low, high = self.interval
        if self.is_useless:
            advice = "It is not worth asking"
        elif not self.weight:
            advice = "Its labels add nothing; whether texts that it writes do remains to be seen"
        elif self.n_teacher > self.n_student:
            advice = "It is worth asking"
        elif self.n_fused > self.n_student:
            advice = "Alone it is no better, but its opinion adds to the student's"
        else:
            advice = (
                "Its opinion makes the true labels more probable, but it puts no more of these "
                "answers right"
            )
        return (
            f"On the {self.n_texts} texts that your student is least sure of, the teacher is right "
            f"on {self.teacher_accuracy:.0%} ({low * 100:.0f}-{high * 100:.0f}), the student on "
            f"{self.student_accuracy:.0%}, both together on {self.n_fused / self.n_texts:.0%}. "
            f"{advice}."
        ).replace("%", " %")


def wilson_interval(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a share, k of n.

    Examples
    --------
    >>> from pgkd.records import wilson_interval
    >>> [round(end, 2) for end in wilson_interval(25, 40)]
    [0.47, 0.76]
    """
    centre = k + z**2 / 2
    radius = z * math.sqrt(k * (n - k) / max(n, 1) + z**2 / 4)
    return (centre - radius) / (n + z**2), (centre + radius) / (n + z**2)
