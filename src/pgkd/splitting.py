"""Train, feedback and gate: what the teacher may see, and what it never sees."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold

from pgkd.exceptions import InvalidInputError
from pgkd.records import LabelArray
from pgkd.text import fold_text

Indices = NDArray[np.intp]


def hold_out(
    texts: Sequence[str], y: LabelArray, fraction: float, rng: np.random.RandomState
) -> tuple[Indices, Indices]:
    """Split off `fraction` of the texts, class by class, and leave every class at least one.

    scikit-learn's stratified splitters refuse a class with a single text; with hundreds of classes
    and few texts such classes are common. Copies of a text stay together.

    Returns
    -------
    kept, held_out : arrays of int
        Indices, ascending.

    Raises
    ------
    InvalidInputError
        If no class can spare a text.
    """
    first, group = _group_copies(texts)
    codes = np.unique(y[first], return_inverse=True)[1]
    sizes = np.bincount(codes)
    shares = sizes * fraction
    take = np.minimum(np.floor(shares).astype(int), sizes - 1)
    # The rest goes to the classes with the largest remainders; ties are broken at random, so that
    # with few texts a class the gate is not always made of the first classes.
    missing = round(fraction * len(first)) - take.sum()
    order = np.lexsort((rng.permutation(len(sizes)), -(shares - take)))
    for code in [c for c in order if take[c] < sizes[c] - 1][: max(missing, 0)]:
        take[code] += 1
    if take.sum() == 0:
        raise InvalidInputError(
            f"The {len(y)} labelled texts of {len(sizes)} classes leave none to hold out: "
            f"validation_fraction={fraction!r}, and the largest class has {sizes.max()} text(s). "
            "Label more texts, raise `validation_fraction`, or pass `X_val` and `y_val`."
        )
    held_out = np.concatenate(
        [rng.permutation(np.flatnonzero(codes == c))[:n] for c, n in enumerate(take)]
    )
    mask = np.isin(group, held_out)
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def make_folds(
    texts: Sequence[str], y: LabelArray, n_folds: int, random_state: Any
) -> list[tuple[Indices, Indices]]:
    """Cut the texts into stratified folds, as many as the largest class allows.

    Copies of a text stay together.

    Classes with fewer texts than folds are spread as far as they go: a class's only text is always
    predicted by a student that has not seen the class, which is what "out of fold" says about it.
    """
    first, group = _group_copies(texts)
    if len(first) < 2:
        raise InvalidInputError(
            f"The {len(texts)} training texts are copies of one another: label at least two "
            "different ones."
        )
    y = y[first]
    largest = np.unique(y, return_counts=True)[1].max()
    splitter: Any
    if largest < 2:
        splitter = KFold(min(n_folds, len(y)), shuffle=True, random_state=random_state)
    else:
        splitter = StratifiedKFold(min(n_folds, largest), shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # "The least populated class has only 1 member": known, and dealt with above.
        warnings.simplefilter("ignore", UserWarning)
        folds = [np.isin(group, fold) for _, fold in splitter.split(first, y)]
    return [(np.flatnonzero(~mask), np.flatnonzero(mask)) for mask in folds]


def _group_copies(texts: Sequence[str]) -> tuple[Indices, Indices]:
    """Return the first index of each different text, and the number of each text's group."""
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(fold_text(text), len(numbers)) for text in texts])
    return np.unique(group, return_index=True)[1], group
