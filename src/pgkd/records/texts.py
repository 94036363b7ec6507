"""Texts and their labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: A class label as the user gave it: str, int or bool. Of a text with several labels, the tuple of
#: them in the order of ``classes_``.
Label: TypeAlias = Any
FloatArray: TypeAlias = NDArray[np.float64]
LabelArray: TypeAlias = NDArray[Any]


def labels_of(label: Label) -> tuple[Label, ...]:
    """Return the classes of a text: a label is one of them, or the tuple of them."""
    return label if isinstance(label, tuple) else (label,)


@dataclass(frozen=True, slots=True)
class Example:
    """A text, its label and its weight in training."""

    text: str
    label: Label
    weight: float = field(default=1.0, repr=False)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes of the text."""
        return labels_of(self.label)


class UnlabeledTexts:
    """Texts without a label, in a wrapping that cross-validation leaves alone.

    scikit-learn cuts any argument of `fit` that has as many items as `X` to the rows of a fold.
    This one has no length that it can see.

    Parameters
    ----------
    texts : list, 1-D array or Series of str

    Examples
    --------
    >>> from pgkd import UnlabeledTexts
    >>> UnlabeledTexts(["how do I change my pin", "where is my card"])
    UnlabeledTexts(2 texts)
    """

    def __init__(self, texts: Any) -> None:
        self.texts = texts

    def __repr__(self) -> str:
        return f"UnlabeledTexts({len(self.texts)} texts)"
