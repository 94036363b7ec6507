"""How different from each other texts are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pgkd.records.texts import Label


class ClassDiversity(NamedTuple):
    """How different from each other the texts of one class are: see `Diversity`."""

    n_texts: int
    distinct_1: float
    distinct_2: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Diversity:
    """How different from each other the texts of a class are, as the mean over the classes.

    Classes with fewer than two texts do not count.

    Attributes
    ----------
    distinct_1, distinct_2 : float
        Different words, and pairs of neighbouring words, as a share of all, in (0, 1]. The more
        texts, the lower.
    similarity : float
        Mean cosine similarity of character trigrams of two texts, in [0, 1]. The number of texts
        does not matter.
    classes : mapping of label to ClassDiversity
        The same of each class with two texts or more.
    """

    distinct_1: float
    distinct_2: float
    similarity: float
    classes: Mapping[Label, ClassDiversity] = field(default_factory=dict, repr=False)
