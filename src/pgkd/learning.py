"""Train students on labelled and generated texts, whole and out of fold."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier

from pgkd.exceptions import StudentError
from pgkd.label_sets import count_classes, has_sets, indicate, to_array
from pgkd.ranks import broadcast
from pgkd.records import Example, FloatArray, LabelArray, SyntheticText
from pgkd.splitting import Indices, make_folds
from pgkd.students.base import predict_label_proba, predict_proba, train, weight_parameter

#: Folds of the out-of-fold predictions.
N_FOLDS = 5


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, their labels and, where given, their weights, row by row."""

    texts: list[str]
    y: LabelArray
    weights: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Any) -> LabelledTexts:
        """Return the given rows."""
        return LabelledTexts(
            [self.texts[i] for i in rows],
            self.y[rows],
            None if self.weights is None else self.weights[rows],
        )


class Learner:
    """Trains clones of one student.

    Parameters
    ----------
    student : classifier
    classes : array of shape (n_classes,)
    labelled : LabelledTexts
        What `predict_out_of_fold` predicts.
    warm_start : bool
        Whether to go on from a given student's weights.
    seed : int
    """

    def __init__(
        self,
        student: Any,
        classes: LabelArray,
        labelled: LabelledTexts,
        *,
        warm_start: bool = False,
        seed: int,
    ) -> None:
        self.student = student
        self.classes = classes
        self.labelled = labelled
        self.warm_start = warm_start
        self.seed = seed
        self.multilabel = has_sets(labelled.y)
        self._labelled_classes = count_classes(labelled.y.tolist())

    @property
    def takes_weights(self) -> bool:
        """Whether the student's `fit` takes sample weights."""
        return weight_parameter(self.student) is not None

    @property
    def is_fitted(self) -> bool:
        """Whether training begins with a student that was fitted before."""
        return self.warm_start and hasattr(self.student, "classes_")

    def fit(
        self,
        labelled: LabelledTexts,
        synthetic: Sequence[Example],
        factor: float = 1.0,
        start: Any = None,
    ) -> Any:
        """Train on labelled texts, and on generated ones with `factor` times their weights.

        Without `warm_start`, or a student to `start` from, from scratch.
        """
        texts = labelled.texts + [example.text for example in synthetic]
        y = labelled.y
        if synthetic:
            y = np.append(y, to_array([example.label for example in synthetic], self.classes))
        new_weights = np.array([self.weigh(example, factor) for example in synthetic])
        weights = labelled.weights
        # A student that takes no weights learns alike what a teacher has weighed.
        if self.takes_weights and (weights is not None or (new_weights != 1.0).any()):
            weights = np.ones(len(labelled)) if weights is None else weights
            weights = np.append(weights, new_weights)
        if not self.warm_start or not self._is_known(y, start):
            start = None  # one that does not know a class cannot learn it
        try:
            return train(self.student, texts, self._encode(y), weights, self.seed, start=start)
        except ValueError as error:
            self._explain(y, error)
            raise

    def _is_known(self, y: LabelArray, student: Any) -> bool:
        own = set(getattr(student, "classes_", []))
        return len(own) == len(self.classes) if self.multilabel else set(y.tolist()) <= own

    def _explain(self, y: LabelArray, error: ValueError) -> None:
        """Say what a student of several labels cannot bear, if that may be it."""
        if not self.multilabel:
            return
        shares = indicate(y, self.classes).mean(axis=0)
        constant = self.classes[(shares == 0) | (shares == 1)].tolist()
        if constant:
            raise StudentError(
                f"The student cannot be trained ({error}). No text that it was to learn, or "
                f"every one, has the label {constant[0]!r}, as happens in a fold: label more "
                "texts of it, or use a student that can, such as OneVsRestClassifier."
            ) from error

    def _encode(self, y: LabelArray) -> Any:
        """Return labels as scikit-learn's classifiers take them."""
        return indicate(y, self.classes) if self.multilabel else y

    def weigh(self, text: Example | SyntheticText, factor: float) -> float:
        """Weigh a generated text; `factor` is no judgement of a class without labelled texts."""
        return text.weight * (factor if self.knows(text) else 1.0)

    def knows(self, text: Example | SyntheticText) -> bool:
        """Whether there are labelled texts of all of a text's labels."""
        return all(label in self._labelled_classes for label in text.labels)

    def fit_baseline(self, labelled: LabelledTexts, synthetic: Sequence[Example]) -> Any:
        """Train on the labelled texts; with `warm_start` a fitted student is the baseline as is."""
        if self.is_fitted:
            return copy.deepcopy(self.student)
        return self.fit(labelled, synthetic)

    def predict(self, student: Any, texts: Sequence[str]) -> FloatArray:
        """Return probabilities of shape (n_texts, n_classes)."""
        if self.multilabel:
            probabilities = predict_label_proba(student, list(texts), len(self.classes))
        else:
            probabilities = predict_proba(student, texts, self.classes)
        # Two processes' numbers may differ in the last bit, and so would what they decide.
        return broadcast(probabilities)

    @cached_property
    def folds(self) -> list[tuple[Indices, Indices]]:
        """The rest and the fold, each time, of `labelled`."""
        return make_folds(self.labelled.texts, self.labelled.y, N_FOLDS, self.seed)

    @property
    def fold_numbers(self) -> tuple[int, ...]:
        """The fold of each text of `labelled`."""
        numbers = np.empty(len(self.labelled), dtype=int)
        for number, (_, fold) in enumerate(self.folds):
            numbers[fold] = number
        return tuple(numbers.tolist())

    def predict_out_of_fold(
        self, synthetic: Sequence[Sequence[Example]], factor: float = 1.0
    ) -> tuple[FloatArray, tuple[Any, ...]]:
        """Predict each labelled text with a student that has not seen it.

        Parameters
        ----------
        synthetic : sequence of sequences of Example
            What is learnt beside the rest of `labelled`, fold by fold.

        Returns
        -------
        probabilities : array of shape (n_labelled, n_classes)
        students : tuple of classifiers
            Fold by fold.
        """
        labelled = self.labelled
        probabilities = np.zeros((len(labelled), len(self.classes)))
        students = []
        for (rest, fold), examples in zip(self.folds, synthetic):
            seen = {*labelled.y[rest].tolist(), *(example.label for example in examples)}
            if len(seen) == 1:  # two texts of two classes: nothing to train
                only = self._encode(to_array(list(seen), self.classes))
                student: Any = DummyClassifier().fit([""], only)
            else:
                student = self.fit(labelled.take(rest), examples, factor)
            probabilities[fold] = self.predict(student, [labelled.texts[i] for i in fold])
            students.append(student)
        return probabilities, tuple(students)
