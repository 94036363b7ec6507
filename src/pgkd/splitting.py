"""Train, feedback and gate: what the teacher may see, and what it never sees."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold

from pgkd.exceptions import InvalidInputError
from pgkd.records import LabelArray

Indices = NDArray[np.intp]


def hold_out(y: LabelArray, fraction: float, rng: np.random.RandomState) -> tuple[Indices, Indices]:
    """Split off `fraction` of the texts, class by class, and leave every class at least one.

    scikit-learn's stratified splitters refuse a class with a single text; with hundreds of classes
    and few texts such classes are common.

    Returns
    -------
    kept, held_out : arrays of int
        Indices into `y`, ascending.

    Raises
    ------
    InvalidInputError
        If no class can spare a text.
    """
    codes = np.unique(y, return_inverse=True)[1]
    sizes = np.bincount(codes)
    shares = sizes * fraction
    take = np.minimum(np.floor(shares).astype(int), sizes - 1)
    # The rest goes to the classes with the largest remainders; ties are broken at random, so that
    # with few texts a class the gate is not always made of the first classes.
    missing = round(fraction * len(y)) - take.sum()
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
    mask = np.zeros(len(y), dtype=bool)
    mask[held_out] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def make_folds(y: LabelArray, n_folds: int, random_state: Any) -> list[tuple[Indices, Indices]]:
    """Cut the texts into stratified folds, as many as the largest class allows.

    Classes with fewer texts than folds are spread as far as they go: a class's only text is always
    predicted by a student that has not seen the class, which is what "out of fold" says about it.
    """
    largest = np.unique(y, return_counts=True)[1].max()
    splitter: Any
    if largest < 2:
        splitter = KFold(min(n_folds, len(y)), shuffle=True, random_state=random_state)
    else:
        splitter = StratifiedKFold(min(n_folds, largest), shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # "The least populated class has only 1 member": known, and dealt with above.
        warnings.simplefilter("ignore", UserWarning)
        return list(splitter.split(np.zeros(len(y)), y))
