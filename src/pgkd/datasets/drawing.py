"""Which texts of a data set are given out, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgkd.exceptions import InvalidInputError

Pairs = Sequence[tuple[str, str]]
Sides = tuple[list[str], list[str], list[str], list[str]]


def draw(
    train: Pairs,
    test: Pairs,
    first: list[int],
    rng: np.random.Generator,
    n_train: int,
    n_test: int,
    where: str,
) -> Sides:
    """Draw from two sides; the training texts of the indices `first` come first."""
    others = np.setdiff1d(np.arange(len(train)), first)
    train_order = np.r_[rng.permutation(first), rng.permutation(others)]
    test_order = rng.permutation(len(test))

    for name, n, low, high in [
        ("n_train", n_train, len(first), len(train)),
        ("n_test", n_test, 1, len(test)),
    ]:
        if not low <= n <= high:
            raise InvalidInputError(f"`{name}` must be in [{low}, {high}] at {where}. Got {n}.")
    X_train, y_train = zip(*(train[i] for i in train_order[:n_train]))
    X_test, y_test = zip(*(test[i] for i in test_order[:n_test]))
    return list(X_train), list(y_train), list(X_test), list(y_test)
