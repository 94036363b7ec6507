"""How the loop trains and asks any student, whatever it is made of."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import ThreadpoolController

from pgkd.exceptions import InvalidInputError, StudentError
from pgkd.records import FloatArray, LabelArray

#: Up to so many texts scikit-learn trains in one thread. Products of such matrices are so short
#: that several threads wait for each other longer than they compute: two took 2 to 7 times as long
#: on two quiet cores, and 4 to 40 times on busy ones.
MAX_TEXTS_OF_A_THREAD = 10_000


def set_random_states(estimator: Any, seed: int) -> None:
    """Seed every ``random_state`` of an estimator and of what is nested in it."""
    names = [k for k in estimator.get_params() if k.split("__")[-1] == "random_state"]
    estimator.set_params(**dict.fromkeys(names, seed))


def weight_parameter(student: Any) -> str | None:
    """Name the fit parameter that takes sample weights, ``None`` if there is none."""
    if has_fit_parameter(student, "sample_weight"):
        return "sample_weight"
    if isinstance(student, OneVsRestClassifier):
        return weight_parameter(student.estimator)
    if isinstance(student, Pipeline):
        name, last = student.steps[-1]
        inner = weight_parameter(last)
        return inner and f"{name}__{inner}"
    return None


def check_takes_weights(student: Any) -> None:
    """Refuse, before anything is spent, a student that takes no weights although there are some.

    Raises
    ------
    InvalidInputError
    """
    if weight_parameter(student) is None:
        raise InvalidInputError(
            "The student takes no `sample_weight` in `fit`, but `sample_weight` was given, or "
            "`synthetic_weight` is not 1. Got "
            f"{student!r}: use a student that takes weights, or leave these out."
        )


def check_takes_several(student: Any) -> None:
    """Refuse a student of scikit-learn's that learns one label a text, where texts have several.

    Raises
    ------
    InvalidInputError
    """
    last = student
    while isinstance(last, Pipeline):
        last = last[-1]
    # These do, and their tags do not say so.
    knows = isinstance(last, (OneVsRestClassifier, MultiOutputClassifier, ClassifierChain))
    knows = knows or isinstance(last, DummyClassifier)
    is_own = type(last).__module__.startswith("sklearn.")
    if is_own and not knows and not get_tags(last).classifier_tags.multi_label:
        raise InvalidInputError(
            "Where texts have several labels, a classifier must take an indicator matrix. Got "
            f"{last!r}, which learns one label a text: pass OneVsRestClassifier({last!r}) instead."
        )


def train(
    student: Any,
    texts: Sequence[str],
    y: LabelArray,
    weights: FloatArray | None,
    seed: int,
    start: Any = None,
) -> Any:
    """Train a clone of `student`, or go on with a copy of `start`, which has ``partial_fit``.

    Weights are passed only when there are some.
    """
    if np.ndim(y) == 2:
        check_takes_several(student)
    fresh = clone(student) if start is None else copy.deepcopy(start)
    if start is None:
        set_random_states(fresh, seed)
    params = {} if weights is None else {str(weight_parameter(fresh)): weights}
    if start is None:
        return fit_quietly(fresh, list(texts), y, params)
    with _quiet(), config_context(enable_metadata_routing=False):
        return fresh.partial_fit(list(texts), y, **params)


def fit_quietly(estimator: Any, X: Any, y: Any, params: Mapping[str, Any]) -> Any:
    """Fit an estimator with weights, whether or not a user's metadata routing is on.

    OneVsRestClassifier hands weights on only by routing, in which each step must have declared
    them. So its classifier holds the weights while it is trained, and nothing of that is left.
    """
    last = estimator
    while isinstance(last, Pipeline):
        last = last[-1]
    # The weights' way is known here; routing would ask for it to be declared.
    with _quiet(), _few_threads(estimator, X), config_context(enable_metadata_routing=False):
        if not params or not isinstance(last, OneVsRestClassifier):
            return estimator.fit(X, y, **params)
        own = last.estimator
        last.estimator = _Weighted(own, next(iter(params.values())))
        try:
            estimator.fit(X, y)
        finally:
            last.estimator = own
    last.estimators_ = [getattr(each, "fitted_", each) for each in last.estimators_]
    return estimator


class _Weighted(BaseEstimator):  # type: ignore[misc]
    """A classifier that is trained with weights that it was made with."""

    def __init__(self, estimator: Any, weights: Any) -> None:
        self.estimator = estimator
        self.weights = weights

    def fit(self, X: Any, y: Any) -> _Weighted:
        params = {str(weight_parameter(self.estimator)): self.weights}
        self.fitted_ = fit_quietly(clone(self.estimator), X, y, params)
        for name in ("n_features_in_", "feature_names_in_"):  # which OneVsRestClassifier asks for
            if hasattr(self.fitted_, name):
                setattr(self, name, getattr(self.fitted_, name))
        return self


def _few_threads(estimator: Any, X: Any) -> AbstractContextManager[Any]:
    n_texts = X.shape[0] if hasattr(X, "shape") else len(X)
    # Others may be at home in the same libraries: torch's may be those of NumPy.
    if not type(estimator).__module__.startswith("sklearn.") or n_texts > MAX_TEXTS_OF_A_THREAD:
        return nullcontext()
    limited: AbstractContextManager[Any] = _find_libraries().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _find_libraries() -> Any:
    return ThreadpoolController()


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # With a text or two a class scikit-learn suspects a regression problem.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        # A fold, or a batch, need not have a text of every label.
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        yield


def predict_proba(student: Any, texts: Sequence[str], classes: LabelArray) -> FloatArray:
    """Return probabilities of shape (n_texts, n_classes) with the columns of `classes`.

    A student that has not seen some class (a fold without it) gets a column of zeros there.

    Raises
    ------
    StudentError
        If the student's probabilities have another shape, or are not finite.
    """
    columns = np.searchsorted(classes, student.classes_)
    found = np.asarray(student.predict_proba(list(texts)), dtype=float)
    if found.shape != (len(texts), len(columns)) or not np.isfinite(found).all():
        raise StudentError(
            f"{type(student).__name__}.predict_proba must return finite numbers of shape "
            f"({len(texts)}, {len(columns)}), a column for each of its classes. Got shape "
            f"{found.shape}, {np.count_nonzero(~np.isfinite(found))} of them not finite."
        )
    aligned = np.zeros((len(texts), len(classes)))
    aligned[:, columns] = found
    return aligned


def predict_label_proba(student: Any, texts: Any, n_classes: int) -> FloatArray:
    """Return the probability of each label, shape (n_texts, n_classes), of several labels a text.

    Students of scikit-learn return such an array (OneVsRestClassifier, MLPClassifier), or a list
    with the probabilities of absence and presence for each label (RandomForestClassifier,
    MultiOutputClassifier).

    Raises
    ------
    StudentError
        If the student's probabilities have another shape, or are not finite.
    """
    found = student.predict_proba(texts)
    if isinstance(found, list):
        pairs = zip(found, student.classes_)
        found = np.column_stack([_presence(np.asarray(p), own) for p, own in pairs])
    found = np.asarray(found, dtype=float)
    if found.shape != (len(texts), n_classes) or not np.isfinite(found).all():
        raise StudentError(
            f"{type(student).__name__}.predict_proba must return finite numbers of shape "
            f"({len(texts)}, {n_classes}), a column for each label, when it was fitted on an "
            f"indicator matrix. Got shape {found.shape}, {np.count_nonzero(~np.isfinite(found))} "
            "of them not finite."
        )
    return found


def _presence(probabilities: FloatArray, classes: Any) -> FloatArray:
    """Return the column of presence; there is none if no text that was learnt has the label."""
    present = np.flatnonzero(np.asarray(classes) == 1)
    column: FloatArray = (
        probabilities[:, present[0]] if len(present) else np.zeros(len(probabilities))
    )
    return column
