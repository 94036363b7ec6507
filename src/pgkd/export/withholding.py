"""Labels that are withheld from texts of which the student is not sure. Needs numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.labels import to_plain


def find_unsure(probabilities: NDArray[np.float64], threshold: float | None) -> NDArray[np.bool_]:
    """Return which rows have no probability that reaches the threshold.

    Raises
    ------
    InvalidInputError
        If there is no threshold.
    """
    if threshold is None:
        raise InvalidInputError(
            "There is no threshold to abstain by: call `fit_threshold` of the fitted "
            "PGKDClassifier, and before `save` and `export`, which keep it."
        )
    unsure: NDArray[np.bool_] = probabilities.max(axis=1, initial=0) < threshold
    return unsure


def check_abstain_label(label: Any, classes: NDArray[Any]) -> None:
    """Refuse a label that could be taken for a class.

    Raises
    ------
    InvalidInputError
    """
    if np.ndim(label):
        raise InvalidInputError(f"`abstain_label` must be one str, int or bool. Got {label!r}.")
    if label in classes.tolist():  # also 1 for True, which are equal
        raise InvalidInputError(
            f"`abstain_label` must be none of the classes. Got {label!r}: pass another, e.g. "
            f"{'unsure' if classes.dtype.kind in 'UO' else -1!r}."
        )


def withhold(labels: NDArray[Any], unsure: NDArray[np.bool_], label: Any) -> NDArray[Any]:
    """Put `label` in the place of the unsure ones.

    Labels keep their type: what numpy would convert, such as int beside str, is of dtype object.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.export.withholding import withhold
    >>> withhold(np.array(["card", "pin"]), np.array([False, True]), "unsure").tolist()
    ['card', 'unsure']
    >>> withhold(np.array([3, 4]), np.array([False, True]), "unsure").tolist()
    [3, 'unsure']
    """
    given = np.array(to_plain(label))
    if given.dtype.kind != labels.dtype.kind:
        labels, given = labels.astype(object), given.astype(object)
    return np.where(unsure, given, labels)
