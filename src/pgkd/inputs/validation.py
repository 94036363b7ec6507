"""Checks of what the user gives, before any time or money is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d

from pgkd.exceptions import InvalidInputError, TeacherError
from pgkd.inputs.text import is_valid
from pgkd.records import (
    AnnotationRequest,
    Example,
    Generation,
    GenerationRequest,
    Label,
    LabelArray,
    Refusal,
    SyntheticText,
)


def check_texts(X: Any, name: str = "X", *, allow_empty: bool = False) -> list[str]:
    """Return `X` as a list of str.

    Parameters
    ----------
    X : list, tuple, 1-D array or Series of str
    name : str, default="X"
        For the message.
    allow_empty : bool, default=False
        Whether no text at all will do.

    Raises
    ------
    InvalidInputError
    """
    expected = f"{name} must be a list, 1-D array or Series of str"
    if isinstance(X, (str, bytes)):
        raise InvalidInputError(
            f"{expected}. Got a single {type(X).__name__} instead: pass [text]."
        )
    if isinstance(X, Mapping) or hasattr(X, "columns"):
        raise InvalidInputError(
            f"{expected}. Got a {type(X).__name__} instead: pass its text column, e.g. df['text']."
        )
    if getattr(X, "ndim", 1) != 1:
        raise InvalidInputError(
            f"{expected}. Got an array of shape {X.shape} instead: pass its text column, "
            "e.g. X[:, 0]."
        )
    if isinstance(X, Set) or not hasattr(X, "__len__") or not hasattr(X, "__iter__"):
        raise InvalidInputError(f"{expected}. Got {type(X).__name__} instead: pass list(X).")
    texts = list(X)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            fix = "drop the missing texts" if is_missing(text) else f"convert {name} with str"
            raise InvalidInputError(f"{expected}. Got {text!r} at position {i} instead: {fix}.")
        if not is_valid(text):
            raise InvalidInputError(
                f"{expected}. Got {text!r} at position {i}, which no file can hold: drop its "
                "surrogates, e.g. text.encode(errors='ignore').decode()."
            )
    if not texts and not allow_empty:
        raise InvalidInputError(f"{expected}. Got no text (0 samples): pass at least one.")
    return [str(text) for text in texts]


def check_labels(y: Any, n_texts: int, name: str = "y") -> LabelArray:
    """Return `y` as an array of one class label a text.

    Raises
    ------
    InvalidInputError
        If lengths differ, a label is missing, or `y` is not one class label a text.
    """
    if y is None:
        raise InvalidInputError(f"{name} is None: pass a label for each text.")
    try:
        # Before numpy makes them all str: it turns a missing label into the class "nan".
        given = y.tolist() if hasattr(y, "tolist") else list(y)
        missing = [i for i, label in enumerate(given) if is_missing(label)]
        if missing:
            raise InvalidInputError(
                f"{name} has {len(missing)} missing label(s), the first at position {missing[0]}: "
                "drop these texts."
            )
        if len({isinstance(label, str) for label in given}) > 1:
            raise InvalidInputError(f"{name} must be labels of one type. Got str and others.")
        if not isinstance(getattr(y, "dtype", np.dtype(object)), np.dtype):
            y = given  # pandas' own types, such as "boolean", would become float
        array: LabelArray = column_or_1d(y, warn=True)
        kind = type_of_target(array, input_name=name)
        np.unique(array)  # what cannot be sorted has no order of classes
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{name} must be one class label a text. {error}") from error
    if array.dtype.kind in "mM":  # times, which have no name in a prompt and none in JSON
        raise InvalidInputError(
            f"{name} must be class labels (str, int or bool). Got {array.dtype}: pass str, e.g. "
            f"{name}.astype(str)."
        )
    if len(array) != n_texts:
        raise InvalidInputError(
            f"{name} must have a label for each text. Got {n_texts} texts and {len(array)} labels."
        )
    if kind not in ("binary", "multiclass"):
        raise InvalidInputError(
            f"Unknown label type: {name} must be class labels (str, int or bool). Got {kind!r} "
            "values instead."
        )
    return array


def is_missing(value: Any) -> bool:
    """Whether a value stands for a missing one, whatever package it is of."""
    # pandas' NA answers no comparison, so it is known by its name.
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def check_classes(y: LabelArray) -> LabelArray:
    """Return the sorted classes of `y`, at least two."""
    classes = np.unique(y)
    if len(classes) < 2:
        raise InvalidInputError(
            f"y must have at least two classes. Got one class, {classes.tolist()[0]!r}: add "
            "labelled texts of another one."
        )
    return classes


def check_descriptions(
    descriptions: Mapping[Label, str] | None, classes: LabelArray, owner: str = "PGKDClassifier"
) -> tuple[LabelArray, dict[Label, str]]:
    """Return all classes, those without a labelled text included, and their descriptions.

    Raises
    ------
    InvalidInputError
        If some classes of y have no description, or a new one is of another type than they are.
    """
    if descriptions is None:
        return classes, {}
    if not isinstance(descriptions, Mapping):
        raise InvalidInputError(
            f"The `class_descriptions` parameter of {owner} must be a dict of label to str "
            f"or None. Got {descriptions!r} instead."
        )
    wanted = classes.tolist()
    new = [label for label in descriptions if label not in set(wanted)]
    lacking = [label for label in wanted + new if not isinstance(descriptions.get(label), str)]
    if lacking:
        others = f", but one of {new[0]!r}, which y has not" if new else ""
        raise InvalidInputError(
            f"The `class_descriptions` parameter of {owner} must describe every class of y. "
            f"Got no description of {lacking[0]!r} ({len(lacking)} lacking){others}."
        )
    foreign = [label for label in new if type(label) is not type(wanted[0])]
    if foreign:
        raise InvalidInputError(
            f"The `class_descriptions` parameter of {owner} must have keys of the type of "
            f"the labels, {type(wanted[0]).__name__}. Got {foreign[0]!r} instead."
        )
    every = np.unique(np.array(wanted + new)) if new else classes
    return every, {label: descriptions[label] for label in every.tolist()}


def check_mask(
    mask: Any, synthetic: Sequence[SyntheticText], classes: LabelArray
) -> NDArray[np.bool_]:
    """Return which generated texts a mask chooses, shape (n_synthetic,).

    Parameters
    ----------
    mask : array-like of bool, callable or None
        A callable is asked for each text; ``None`` chooses the accepted ones.

    Raises
    ------
    InvalidInputError
        If it is no mask of these texts, or chooses one that cannot be learnt.
    """
    if mask is None:
        chosen = np.array([text.verdict == "accepted" for text in synthetic], dtype=bool)
    elif callable(mask):
        chosen = np.array([bool(mask(text)) for text in synthetic], dtype=bool)
    else:
        chosen = np.asarray(mask)
        if chosen.shape != (len(synthetic),) or (len(chosen) and chosen.dtype != np.bool_):
            raise InvalidInputError(
                f"`mask` must be {len(synthetic)} values of bool, one for each text of "
                "`synthetic_`, or a function of such a text. Got an array of shape "
                f"{chosen.shape} and type {chosen.dtype} instead."
            )
        chosen = chosen.astype(bool)
    known = set(classes.tolist())
    for i in np.flatnonzero(chosen).tolist():
        text = synthetic[i]
        if not set(text.labels) <= known or not is_valid(text.text):
            raise InvalidInputError(
                f"`mask` chooses text {i} of `synthetic_`, {text.text!r} with the label "
                f"{text.label!r}, which cannot be learnt ({text.reason}): leave it out, e.g. with "
                "`text.label in clf.classes_`."
            )
    return chosen


def check_generation(generation: Any, teacher: str) -> None:
    """Refuse what a teacher must not yield, before the loop trips over it.

    Raises
    ------
    TeacherError
    """
    problem = None
    if not isinstance(generation, Generation):
        problem = f"{generation!r} instead of a Generation"
    elif not isinstance(generation.request, (GenerationRequest, AnnotationRequest)):
        problem = f"a Generation with the request {generation.request!r}"
    else:
        if not all(isinstance(refusal, Refusal) for refusal in generation.refused):
            problem = f"{generation.refused!r} instead of a tuple of Refusal"
        for example in generation.examples:
            whole = isinstance(example, Example) and isinstance(example.text, str)
            if not whole or not _is_hashable(example.label):
                problem = f"{example!r} instead of an Example of a str and a label"
    if problem:
        raise TeacherError(f"{teacher} yielded {problem}: see pgkd.testing.check_teacher.")


def _is_hashable(label: Any) -> bool:
    try:
        hash(label)  # a tuple is, unless what is in it is not
    except TypeError:
        return False
    return True


def check_component(
    component: Any, name: str, methods: tuple[str, ...], owner: str = "PGKDClassifier"
) -> None:
    """Refuse a component given as a class, or without one of its methods."""
    if isinstance(component, type):
        raise InvalidInputError(
            f"The `{name}` parameter of {owner} must be an instance. Got the class "
            f"{component.__name__} instead: pass `{component.__name__}(...)`."
        )
    for method in methods:
        if not callable(getattr(component, method, None)):
            raise InvalidInputError(
                f"The `{name}` parameter of {owner} must have a method `{method}`. Got "
                f"{component!r} instead: see `pgkd.protocols`."
            )
