"""Checks of what the user gives, before any time or money is spent."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d

from pgkd.exceptions import InvalidInputError, TeacherError, did_you_mean
from pgkd.inputs.columns import name_columns, to_list, to_matrix
from pgkd.inputs.labels import to_plain
from pgkd.inputs.text import explain_single, is_valid
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
        Of NumPy, pandas, polars, pyarrow, datasets, or any of their kind.
    name : str, default="X"
        For the message.
    allow_empty : bool, default=False
        Whether no text at all will do.

    Raises
    ------
    InvalidInputError
    """
    expected = f"{name} must be a list, 1-D array or Series of str"
    if isinstance(X, (str, bytes, os.PathLike)):
        raise InvalidInputError(f"{expected}. {explain_single(X)}")
    if isinstance(X, Mapping) or name_columns(X) is not None:
        raise InvalidInputError(
            f"{expected}. Got a {type(X).__name__} instead: pass its text column, e.g. df['text']."
        )
    if getattr(X, "ndim", 1) > 1:
        raise InvalidInputError(
            f"{expected}. Got an array of shape {X.shape} instead: pass its text column, "
            "e.g. X[:, 0]."
        )
    is_single = getattr(X, "ndim", 1) == 0
    if is_single or isinstance(X, Set) or not hasattr(X, "__len__") or not hasattr(X, "__iter__"):
        raise InvalidInputError(f"{expected}. Got {type(X).__name__} instead: pass list(X).")
    texts = to_list(X)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            fix = "drop the missing texts" if is_missing(text) else f"convert {name} with str"
            if isinstance(text, bytes):  # str(b"a") is "b'a'"
                fix = "decode the texts, e.g. text.decode()"
            raise InvalidInputError(f"{expected}. Got {text!r} at position {i} instead: {fix}.")
        if not is_valid(text):
            raise InvalidInputError(
                f"{expected}. Got {text!r} at position {i}, which no file can hold: drop its "
                "surrogates, e.g. text.encode(errors='ignore').decode()."
            )
    if not texts and not allow_empty:
        raise InvalidInputError(f"{expected}. Got no text (0 samples): pass at least one.")
    return [str.__str__(text) for text in texts]  # of an Enum, the value


def check_labels(y: Any, n_texts: int, name: str = "y") -> LabelArray:
    """Return `y` as an array of one class label a text.

    Raises
    ------
    InvalidInputError
        If lengths differ, a label is missing, or `y` is not one class label a text.
    """
    if y is None:
        raise InvalidInputError(f"{name} is None: pass a label for each text.")
    if isinstance(y, (str, bytes, Mapping, Set)) or not hasattr(y, "__len__"):
        raise InvalidInputError(
            f"{name} must be a list, 1-D array or Series of labels. Got {type(y).__name__} "
            "instead: pass a list of one label for each text."
        )
    if getattr(y, "ndim", 1) != 1 or name_columns(y) is not None:
        try:
            y = column_or_1d(y if hasattr(y, "ndim") else to_matrix(y), warn=True)
        except ValueError as error:
            raise InvalidInputError(f"{name} must be one class label a text. {error}") from error
    # As Python's own: NumPy turns a missing label into the class "nan", and an Enum into its name.
    plain = [to_plain(label) for label in to_list(y)]
    _check_each(plain, name)
    if len(plain) != n_texts:
        raise InvalidInputError(
            f"{name} must have a label for each text. Got {n_texts} texts and {len(plain)} labels."
        )
    dtype = getattr(y, "dtype", None)
    given = dtype.kind if isinstance(dtype, np.dtype) else ""
    array: LabelArray = np.asarray(y) if given and given in "biufU" else np.array(plain)
    changed = [own for own, kept in zip(plain, array.tolist()) if own != kept]
    if changed or array.dtype == object:
        own = (changed or plain)[0]
        fix = "strip the NUL at its end" if isinstance(own, str) else "pass such numbers as str"
        raise InvalidInputError(f"{name} must be labels that NumPy can hold. Got {own!r}: {fix}.")
    if given == "O" and array.dtype.kind == "U":  # `classes_` keep what was given
        array = np.array(plain, dtype=object)
    kind = type_of_target(array, input_name=name)
    if kind not in ("binary", "multiclass"):
        raise InvalidInputError(
            f"Unknown label type: {name} must be class labels (str, int or bool). Got {kind!r} "
            "values instead."
        )
    return array


def _check_each(labels: Sequence[Any], name: str) -> None:
    missing = [i for i, label in enumerate(labels) if is_missing(label)]
    if missing:
        raise InvalidInputError(
            f"{name} has {len(missing)} missing label(s), the first at position {missing[0]}: "
            "drop these texts."
        )
    for i, label in enumerate(labels):
        if fix := find_fix(label):
            raise InvalidInputError(
                f"{name} must be class labels (str, int or bool). Got {label!r} at position {i} "
                f"instead: {fix}."
            )
        if isinstance(label, str):
            check_writable(label, f"{name} must be class labels that can be written")
    kinds = {t.__name__ if (t := type(label)) in (str, bool) else "number" for label in labels}
    if len(kinds) > 1:
        raise InvalidInputError(
            f"{name} must be labels of one type. Got {' and '.join(sorted(kinds))}: convert them, "
            "e.g. with str."
        )


def find_fix(label: Any) -> str | None:
    """Say what to do about what is no label, ``None`` if it is one."""
    if isinstance(label, (str, int, float)):
        return "leave it out" if is_missing(label) else None
    if isinstance(label, bytes):  # str(b"a") is "b'a'"
        return "pass label.decode()"
    if isinstance(label, Enum):
        return "pass label.value"
    is_none = is_missing(label) or isinstance(label, (list, tuple, Set)) or hasattr(label, "shape")
    return "leave it out" if is_none else "pass str, e.g. str(label)"


def check_writable(text: str, expected: str) -> None:
    """Refuse half of a surrogate pair, which neither a request nor a file can hold.

    Raises
    ------
    InvalidInputError
    """
    if not is_valid(text):
        raise InvalidInputError(
            f"{expected}. Got {text!r} instead: drop its surrogates, e.g. "
            "text.encode(errors='ignore').decode()."
        )


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
    check_spelling(classes.tolist())
    return classes


def check_spelling(classes: Sequence[Label]) -> None:
    """Refuse classes that an answer of the teacher could not tell apart.

    Raises
    ------
    InvalidInputError
    """
    known: dict[str, Label] = {}
    for label in classes:
        other = known.setdefault(_show(str(label)), label)
        if other != label:
            raise InvalidInputError(
                "Classes must differ in more than white space, and in what can be seen. Got "
                f"{other!a} and {label!a}: make them one, e.g. [label.strip() for label "
                "in y]."
            )


def _show(name: str) -> str:
    """Leave out what cannot be seen: white space, zero-width characters, how accents are coded."""
    seen = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c) != "Cf")
    return " ".join(seen.split())


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
    descriptions = {to_plain(label): text for label, text in descriptions.items()}
    wanted = classes.tolist()
    new = [label for label in descriptions if label not in set(wanted)]
    lacking = [label for label in wanted + new if not isinstance(descriptions.get(label), str)]
    if lacking:
        others = f", but one of {new[0]!r}, which y has not" if new else ""
        hint = did_you_mean(new[0], lacking) if new else ""
        raise InvalidInputError(
            f"The `class_descriptions` parameter of {owner} must describe every class of y. "
            f"Got no description of {lacking[0]!r} ({len(lacking)} lacking){others}.{hint}"
        )
    foreign = [label for label in new if type(label) is not type(wanted[0])]
    if foreign:
        raise InvalidInputError(
            f"The `class_descriptions` parameter of {owner} must have keys of the type of "
            f"the labels, {type(wanted[0]).__name__}. Got {foreign[0]!r} instead."
        )
    for label, text in descriptions.items():
        check_writable(text, f"The description of {label!r} must be a str that can be written")
    if not new:
        return classes, {label: descriptions[label] for label in wanted}
    keys = "The keys of `class_descriptions`"
    every = check_classes(check_labels(wanted + new, len(wanted + new), keys))
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
    ready = "students" if name == "scout" else f"{name.removesuffix('s')}s"
    for method in methods:
        if not callable(getattr(component, method, None)):
            raise InvalidInputError(
                f"The `{name}` parameter of {owner} must be an object with a method `{method}`. "
                f"Got {component!r} instead: `pgkd.{ready}` has some that are ready, "
                "and `pgkd.protocols` says what one of your own needs."
            )
