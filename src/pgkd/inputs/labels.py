"""Labels as they are inside pgkd: one class a text, or the tuple of its classes.

A tuple has the order of ``classes_``. What asks for the classes of a text, whichever it is, asks
`labels_of`. Needs numpy alone, as what is exported does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgkd.records import FloatArray, Label, LabelArray, labels_of

#: Decision threshold of a label's probability, unless another one is measured to be better.
THRESHOLD = 0.5
#: Jaccard similarity from which two label sets agree; for one label each, that is equality.
AGREEMENT = 0.5


def to_plain(label: Any) -> Any:
    """Return a label of a type of NumPy's or of one's own, such as an Enum, as Python's.

    Examples
    --------
    >>> from enum import Enum
    >>> from pgkd.inputs.labels import to_plain
    >>> Intent = Enum("Intent", {"CARD_LATE": "card late"}, type=str)
    >>> to_plain(Intent.CARD_LATE)
    'card late'
    """
    if getattr(label, "ndim", 1) == 0:  # a scalar of NumPy's or torch's
        label = label.item()
    if isinstance(label, str):
        return str.__str__(label)  # whatever its own `__str__` says, which NumPy would ask
    if isinstance(label, int) and not isinstance(label, bool):
        return int.__int__(label)
    return label


def has_sets(y: Sequence[Label] | LabelArray) -> bool:
    """Whether the labels are tuples of classes."""
    return len(y) > 0 and isinstance(y[0], tuple)


def to_array(labels: Sequence[Label], classes: LabelArray) -> LabelArray:
    """Return labels as a 1-D array; numpy would make a matrix of tuples of one length."""
    if not has_sets(labels):
        # The dtype of these labels would cut a longer name of another class.
        return np.array(labels, dtype=classes.dtype)
    array: LabelArray = np.empty(len(labels), dtype=object)
    array[:] = labels
    return array


def indicate(labels: Iterable[Label], classes: Sequence[Label] | LabelArray) -> NDArray[np.int64]:
    """Return the indicator matrix, shape (n_texts, n_classes).

    Examples
    --------
    >>> from pgkd.inputs.labels import indicate
    >>> indicate([("a", "c"), (), "b"], ["a", "b", "c"]).tolist()
    [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    """
    names = classes.tolist() if isinstance(classes, np.ndarray) else classes
    column = {label: c for c, label in enumerate(names)}
    rows = [[column[own] for own in labels_of(label)] for label in labels]
    indicator = np.zeros((len(rows), len(column)), dtype=np.int64)
    for i, columns in enumerate(rows):
        indicator[i, columns] = 1
    return indicator


def to_sets(indicator: Any, classes: LabelArray) -> list[tuple[Label, ...]]:
    """Return the label set of each row of an indicator matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.inputs.labels import to_sets
    >>> to_sets(np.array([[1, 0, 1], [0, 0, 0]]), np.array(["a", "b", "c"]))
    [('a', 'c'), ()]
    """
    names = classes.tolist()
    return [tuple(names[c] for c in np.flatnonzero(row)) for row in indicator]


def decide(
    probabilities: FloatArray, thresholds: Any = THRESHOLD, *, multilabel: bool = True
) -> NDArray[np.int64]:
    """Return the indicator matrix of the labels that are given, shape (n_texts, n_classes).

    Those above their threshold or, if a text has one label, the most probable one.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.inputs.labels import decide
    >>> probabilities = np.array([[0.7, 0.6, 0.1], [0.4, 0.3, 0.2]])
    >>> decide(probabilities).tolist()
    [[1, 1, 0], [0, 0, 0]]
    >>> decide(probabilities, multilabel=False).tolist()
    [[1, 0, 0], [1, 0, 0]]
    """
    best = probabilities.argmax(axis=1)[:, np.newaxis]
    given = probabilities > thresholds if multilabel else np.arange(probabilities.shape[1]) == best
    indicator: NDArray[np.int64] = given.astype(np.int64)
    return indicator


def tidy(label: Any, order: Mapping[Label, int], multilabel: bool) -> Label | None:
    """Return a teacher's label in the form that labels have here, ``None`` if it is none.

    Parameters
    ----------
    label : label, or tuple or frozenset of labels
    order : mapping of label to int
        The place of each class.
    multilabel : bool
        Whether a text has several labels.
    """
    if not multilabel:
        return label if not isinstance(label, tuple) and label in order else None
    given = set(label) if isinstance(label, (tuple, frozenset)) else {label}
    return tuple(sorted(given, key=order.__getitem__)) if given <= order.keys() else None


def agree(a: Label, b: Label) -> bool:
    """Whether two labels are the same, or two label sets have at least half in common.

    Examples
    --------
    >>> from pgkd.inputs.labels import agree
    >>> agree("a", "a"), agree("a", "b"), agree(("a", "b"), ("b",)), agree(("a",), ())
    (True, False, True, False)
    """
    first, second = set(labels_of(a)), set(labels_of(b))
    return len(first & second) >= AGREEMENT * len(first | second)


def count_classes(labels: Iterable[Label]) -> dict[Label, int]:
    """Count the texts that have each class.

    Examples
    --------
    >>> from pgkd.inputs.labels import count_classes
    >>> count_classes(["a", "a", ("a", "b")])
    {'a': 3, 'b': 1}
    """
    counts: dict[Label, int] = {}
    for label in labels:
        for own in labels_of(label):
            counts[own] = counts.get(own, 0) + 1
    return counts
