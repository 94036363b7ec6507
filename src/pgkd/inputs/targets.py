"""What `y` may be: a class label a text, several of them, or an indicator matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from pgkd.exceptions import InvalidInputError, did_you_mean
from pgkd.inputs.columns import name_columns, to_list, to_matrix
from pgkd.inputs.labels import (
    THRESHOLD,
    count_classes,
    decide,
    has_sets,
    indicate,
    to_array,
    to_plain,
    to_sets,
)
from pgkd.inputs.validation import (
    check_classes,
    check_labels,
    check_spelling,
    check_texts,
    find_fix,
    is_missing,
)
from pgkd.records import FloatArray, Label, LabelArray


@dataclass(frozen=True)
class Target:
    """Checked labels, with what differs between one and several a text.

    Attributes
    ----------
    y : array of shape (n_texts,)
        A label a text; with several labels, a tuple.
    classes : array of shape (n_classes,)
        Sorted; of an indicator matrix, its columns in their order.
    kind : {"labels", "sets", "indicator"}
        What the user gave: one label a text, or several, as lists or as an indicator matrix.
    is_named : bool
        Whether the classes have names: the columns of a bare matrix have only numbers.
    """

    y: LabelArray
    classes: LabelArray
    kind: str = "labels"
    is_named: bool = True

    @property
    def multilabel(self) -> bool:
        """Whether a text has several labels."""
        return self.kind != "labels"

    @classmethod
    def of(cls, y: LabelArray, classes: LabelArray) -> Target:
        """Take labels that are in order, as they are inside pgkd."""
        return cls(y, classes, "sets" if has_sets(y) else "labels")

    @cached_property
    def indicator(self) -> NDArray[np.int64]:
        """The indicator matrix, shape (n_texts, n_classes), of one label a text as well."""
        return indicate(self.y.tolist(), self.classes)

    @property
    def for_fit(self) -> Any:
        """As a scikit-learn classifier takes it: labels, or an indicator matrix."""
        return self.indicator if self.multilabel else self.y

    def predict(self, probabilities: FloatArray, thresholds: Any = THRESHOLD) -> Any:
        """Return the labels that probabilities come to, in the form of `for_fit`."""
        if self.multilabel:
            return decide(probabilities, thresholds)
        return self.classes[probabilities.argmax(axis=1)]

    def decode(self, given: Any) -> list[Label]:
        """Return labels that have the form of `for_fit` as they are inside pgkd."""
        labels: list[Label] = to_sets(given, self.classes) if self.multilabel else given.tolist()
        return labels

    def list_decisions(self, probabilities: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """Return what is decided about each text: one class of all, or each label by itself.

        Returns
        -------
        codes : array of int of shape (n_texts, n_decisions)
            The right choices. Of several labels, each is a decision between absence and presence.
        choices : array of shape (n_texts, n_decisions, n_choices)
            The probability of each choice.
        """
        if self.multilabel:
            return self.indicator, np.stack([1 - probabilities, probabilities], axis=2)
        codes = np.searchsorted(self.classes, self.y)
        return codes[:, np.newaxis], probabilities[:, np.newaxis]

    def is_right(self, probabilities: FloatArray) -> NDArray[np.bool_]:
        """Return which texts are labelled rightly: of several labels, all of them."""
        codes, choices = self.list_decisions(probabilities)
        right: NDArray[np.bool_] = (choices.argmax(axis=2) == codes).all(axis=1)
        return right

    def check_more(self, y: Any, n_texts: int, name: str) -> LabelArray:
        """Return further labels of these classes, in the form of `y`.

        Raises
        ------
        InvalidInputError
            If they are none.
        """
        if not self.multilabel:
            labels = check_labels(y, n_texts, name)
            _check_known(labels.tolist(), self.classes, name)
            return labels.astype(self.classes.dtype)
        if (matrix := _as_matrix(y)) is not None:
            _check_length(matrix, n_texts, name)
            if self.is_named and name_columns(y) is not None:
                matrix = self._sort_columns(y, name)
            if matrix.shape[1] != len(self.classes):
                raise InvalidInputError(
                    f"{name} must have a column for each of the {len(self.classes)} classes. Got "
                    f"shape {matrix.shape}."
                )
            sets: Any = to_sets(_check_matrix(matrix, name), self.classes)
        elif _has_collections(y):
            sets = _check_sets(y, n_texts, name)
            _check_known(map(tuple, sets), self.classes, name)
            sets = [_order(own, self.classes) for own in sets]
        else:
            raise InvalidInputError(
                f"{name} must be lists of labels or an indicator matrix, as y is. Got one label a "
                "text."
            )
        return to_array(sets, self.classes)

    def _sort_columns(self, y: Any, name: str) -> Any:
        names = self.classes.tolist()
        given = [to_plain(own) for own in name_columns(y) or ()]
        if sorted(given, key=repr) != sorted(names, key=repr):
            raise InvalidInputError(f"{name} must have the columns of y, {names}. Got {given}.")
        return to_matrix(y)[:, [given.index(own) for own in names]]


def check_target(y: Any, n_texts: int, name: str = "y", *, class_names: Any = None) -> Target:
    """Return `y`, checked, with its classes.

    Parameters
    ----------
    y : array-like of shape (n_texts,), sequence of sequences of labels, or array-like, DataFrame \
            or sparse matrix of shape (n_texts, n_classes)
    n_texts : int
    name : str, default="y"
        For the message.
    class_names : sequence of labels, default=None
        Of an indicator matrix, the names of its columns; of labels, all classes, so that one may
        have no text.

    Raises
    ------
    InvalidInputError

    Examples
    --------
    >>> from pgkd.inputs.targets import check_target
    >>> target = check_target([["card", "late"], [], ["card"]], 3)
    >>> target.kind, target.classes.tolist(), target.y.tolist()
    ('sets', ['card', 'late'], [('card', 'late'), (), ('card',)])
    """
    matrix = _as_matrix(y)
    if matrix is not None:
        _check_length(matrix, n_texts, name)
        classes, is_named = _name_columns(y, matrix.shape[1], class_names)
        indicator = _check_matrix(matrix, name)
        return Target(
            to_array(to_sets(indicator, classes), classes), classes, "indicator", is_named
        )
    if _has_collections(y):
        sets = _check_sets(y, n_texts, name)
        flat = [label for own in sets for label in own]
        if not flat:
            raise InvalidInputError(f"{name} must have a label for some text. Got none.")
        classes = _find_classes(check_labels(flat, len(flat), name), class_names, name)
        return Target(to_array([_order(own, classes) for own in sets], classes), classes, "sets")
    labels = check_labels(y, n_texts, name)
    classes = _find_classes(labels, class_names, name)
    return Target(labels.astype(classes.dtype), classes)


def _find_classes(labels: LabelArray, class_names: Any, name: str) -> LabelArray:
    """Return the classes, those of `class_names` that have no text included."""
    if class_names is None:
        return check_classes(labels)
    classes = check_classes(check_labels(list(class_names), len(class_names), "class_names"))
    if foreign := sorted(set(labels.tolist()) - set(classes.tolist()), key=repr):
        raise InvalidInputError(
            f"`class_names` must name every class of {name}, which has the label {foreign[0]!r}. "
            f"Got {list(class_names)!r}: add it, or leave `class_names` out."
            f"{did_you_mean(foreign[0], classes.tolist())}"
        )
    return classes


def check_validation(X_val: Any, y_val: Any, target: Target) -> tuple[list[str], LabelArray] | None:
    """Return validation texts and labels, of the kind that `target` is of; ``None`` without any.

    Raises
    ------
    InvalidInputError
        If only one was given, or they cannot work.
    """
    if X_val is None and y_val is None:
        return None
    if X_val is None or y_val is None:
        given, lacking = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
        raise InvalidInputError(f"`{given}` was given without `{lacking}`: pass both.")
    texts = check_texts(X_val, "X_val")
    return texts, target.check_more(y_val, len(texts), "y_val")


def _check_known(y: Iterable[Label], classes: LabelArray, name: str) -> None:
    """Refuse labels that no training text has."""
    unseen = sorted(count_classes(y).keys() - set(classes.tolist()))
    if unseen:
        raise InvalidInputError(
            f"{name} has {len(unseen)} label(s) that y has not, e.g. {unseen[0]!r}: add labelled "
            f"texts of each to X, or leave them out.{did_you_mean(unseen[0], classes.tolist())}"
        )


def find_kind(y: Any) -> str:
    """Tell the kind of labels, as in `Target`, that are known to be in order."""
    if _as_matrix(y) is not None:
        return "indicator"
    return "sets" if _has_collections(y) else "labels"


def _as_matrix(y: Any) -> Any:
    """Return an indicator matrix, sparse or dense, ``None`` if `y` is none."""
    if issparse(y):
        return y
    if name_columns(y) is not None or getattr(y, "ndim", 1) == 2:
        return to_matrix(y) if y.shape[1] > 1 else None
    if not isinstance(y, (list, tuple)) or not _has_collections(y):
        return None
    # As scikit-learn's `type_of_target` has it, a list of lists of 0 and 1, all of one length.
    rows = list(y)
    if not all(isinstance(row, (list, tuple, np.ndarray)) for row in rows):
        return None
    values = [value for row in rows for value in row]
    is_binary = all(isinstance(v, (int, float, np.number)) and v in (0, 1) for v in values)
    is_matrix = len(set(map(len, rows))) == 1 and len(rows[0]) > 1
    return np.array([list(row) for row in rows]) if is_binary and is_matrix else None


def _has_collections(y: Any) -> bool:
    if isinstance(y, (str, bytes, dict)) or not hasattr(y, "__iter__"):
        return False
    if getattr(y, "ndim", 1) != 1 or getattr(getattr(y, "dtype", None), "kind", "O") in "biufUS":
        return False
    return any(_is_collection(item) for item in to_list(y))


def _is_collection(item: Any) -> bool:
    return isinstance(item, (list, tuple, set, frozenset)) or getattr(item, "ndim", 0) == 1


def _check_length(y: Any, n_texts: int, name: str) -> None:
    n = y.shape[0] if hasattr(y, "shape") else len(y)
    if n != n_texts:
        raise InvalidInputError(
            f"{name} must have a label for each text. Got {n_texts} texts and {n} rows of labels."
        )


def _check_sets(y: Any, n_texts: int, name: str) -> list[set[Any]]:
    expected = f"{name} must be a list, tuple or set of labels for each text"
    rows = to_list(y)
    _check_length(rows, n_texts, name)
    sets = []
    for i, row in enumerate(rows):
        if not _is_collection(row):
            instead = "[] for a text without a label" if is_missing(row) else f"[{row!r}]"
            raise InvalidInputError(f"{expected}. Got {row!r} at position {i}: pass {instead}.")
        own = [to_plain(label) for label in to_list(row)]
        for label in own:
            if fix := find_fix(label):
                raise InvalidInputError(
                    f"{expected}. Got {label!r} among the labels at position {i}: {fix}."
                )
        sets.append(set(own))
    if len({isinstance(label, str) for own in sets for label in own}) > 1:
        raise InvalidInputError(f"{name} must be labels of one type. Got str and others.")
    return sets


def _order(own: set[Any], classes: LabelArray) -> tuple[Any, ...]:
    return tuple(label for label in classes.tolist() if label in own) if own else ()


def _check_matrix(matrix: Any, name: str) -> Any:
    dense = np.asarray(matrix.todense() if issparse(matrix) else matrix)
    strange = [v for v in dense.ravel().tolist() if is_missing(v) or v not in (0, 1)]
    if strange:
        raise InvalidInputError(
            f"{name} has {matrix.shape[1]} columns, so it must be an indicator matrix of 0 and 1: "
            f"a column for each class. Got {strange[0]!r} in it: pass one class label a text, or a "
            "list of labels for each."
        )
    if not dense.any():
        raise InvalidInputError(f"{name} must have a label for some text. Got none: all are 0.")
    return dense.astype(np.int64)


def _name_columns(y: Any, n_columns: int, class_names: Any) -> tuple[LabelArray, bool]:
    names: Sequence[Any] | None = name_columns(y)
    if names and class_names is None and isinstance(names[0], tuple):
        raise InvalidInputError(
            f"y must have one row of column names. Got {len(names[0])} rows, as in {names[0]!r}: "
            "keep one of them, e.g. y.droplevel(0, axis=1), or pass `class_names`."
        )
    if class_names is not None:
        names = list(class_names)
    elif names is None or names == list(range(n_columns)):  # no names, as a DataFrame has it
        return np.arange(n_columns), False
    names = [to_plain(label) for label in names]
    if len(names) != n_columns or len(set(names)) < n_columns:
        raise InvalidInputError(
            f"The {n_columns} columns of y must have as many different names. Got {list(names)!r}."
        )
    if len({isinstance(label, str) for label in names}) > 1 or any(map(is_missing, names)):
        raise InvalidInputError(
            f"The names of the columns of y must be labels of one type. Got {list(names)!r}."
        )
    check_spelling(names)
    return check_labels(names, n_columns, "The names of the columns of y"), True
