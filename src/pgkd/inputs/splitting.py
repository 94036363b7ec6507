"""Train, feedback and gate: what the teacher may see, and what it never sees."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import check_random_state

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.labels import count_classes, has_sets, indicate
from pgkd.inputs.text import fold_text
from pgkd.records import LabelArray

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
    _check_copies(texts, first)
    if has_sets(y):
        return _hold_out_sets(first, group, y, fraction, rng)
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
            f"The {len(first)} different texts of {len(sizes)} classes leave none to hold out: "
            f"validation_fraction={fraction!r}, and the largest class has {sizes.max()} of them. "
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
    _check_copies(texts, first)
    y = y[first]
    if has_sets(y):
        n_folds = min(n_folds, len(first))
        part = deal_out(y, np.full(n_folds, 1 / n_folds), check_random_state(random_state))
        return [_divide(group, part == k) for k in range(n_folds)]
    largest = np.unique(y, return_counts=True)[1].max()
    splitter: Any
    if largest < 2:
        splitter = KFold(min(n_folds, len(y)), shuffle=True, random_state=random_state)
    else:
        splitter = StratifiedKFold(min(n_folds, largest), shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # "The least populated class has only 1 member": known, and dealt with above.
        warnings.simplefilter("ignore", UserWarning)
        return [
            _divide(group, np.isin(np.arange(len(first)), f)) for _, f in splitter.split(first, y)
        ]


def deal_out(y: LabelArray, shares: Any, rng: np.random.RandomState) -> Indices:
    """Deal texts with several labels out, so that each part gets its share of each label.

    Label by label, the one with the fewest texts left first, each text goes to the part that lacks
    most of the label; of equals, to the one that lacks most texts.

    Parameters
    ----------
    y : array of tuples of shape (n_texts,)
    shares : array of shape (n_parts,)
        Of the texts; their sum is 1.
    rng : RandomState

    Returns
    -------
    part : array of int of shape (n_texts,)

    References
    ----------
    Iterative stratification: Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-label
    Data, ECML PKDD 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.inputs.labels import to_array
    >>> from pgkd.inputs.splitting import deal_out
    >>> y = to_array([("a",)] * 4 + [("a", "b")] * 4, np.array(["a", "b"]))
    >>> part = deal_out(y, np.array([0.5, 0.5]), np.random.RandomState(0))
    >>> sorted(part[:4].tolist()), sorted(part[4:].tolist())
    ([0, 0, 1, 1], [0, 0, 1, 1])
    """
    left = indicate(y, list(count_classes(y))).astype(bool)
    wanted = np.outer(shares, left.sum(axis=0))
    wanted_texts = shares * len(y)
    part = np.full(len(y), -1, dtype=np.intp)

    def assign(row: int, lacking: Any) -> None:
        chosen = np.lexsort((rng.random(len(shares)), -wanted_texts, -lacking))[0]
        part[row] = chosen
        wanted[chosen] -= left[row]
        wanted_texts[chosen] -= 1
        left[row] = False

    while left.any():
        counts = left.sum(axis=0)
        rarest = np.argmin(np.where(counts, counts, len(y) + 1))
        for row in rng.permutation(np.flatnonzero(left[:, rarest])):
            assign(row, wanted[:, rarest])
    for row in rng.permutation(np.flatnonzero(part < 0)):  # texts without a label
        assign(row, wanted_texts)
    return part


def _hold_out_sets(
    first: Indices, group: Indices, y: LabelArray, fraction: float, rng: np.random.RandomState
) -> tuple[Indices, Indices]:
    part = deal_out(y[first], np.array([1 - fraction, fraction]), rng)
    kept, held_out = _divide(group, part == 1)
    if not len(kept) or not len(held_out):
        raise InvalidInputError(
            f"The {len(first)} different texts leave none to hold out, or none to learn: "
            f"validation_fraction={fraction!r}. Label more texts, change `validation_fraction`, or "
            "pass `X_val` and `y_val`."
        )
    return kept, held_out


def _divide(group: Indices, is_chosen: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Return the texts of the other groups, and those of the chosen ones."""
    mask = is_chosen[group]
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _check_copies(texts: Sequence[str], first: Indices) -> None:
    if len(first) < 2:
        raise InvalidInputError(
            f"The {len(texts)} training texts are copies of one another, e.g. {texts[0]!r}: label "
            "at least two different ones."
        )


def _group_copies(texts: Sequence[str]) -> tuple[Indices, Indices]:
    """Return the first index of each different text, and the number of each text's group."""
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(fold_text(text), len(numbers)) for text in texts])
    return np.unique(group, return_index=True)[1], group
