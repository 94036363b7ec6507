"""Train students on labelled texts and on further ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier

from pgkd.exceptions import InvalidInputError, StudentError
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.labels import to_array
from pgkd.inputs.splitting import make_folds
from pgkd.inputs.targets import Target
from pgkd.records import Example, FloatArray, LabelArray
from pgkd.students.any_student import predict_label_proba, predict_proba, train, weight_parameter
from pgkd.system.ranks import broadcast

#: Folds of out-of-fold predictions.
N_FOLDS = 5


class Learner:
    """Trains clones of one student.

    Parameters
    ----------
    student : classifier
    classes : array of shape (n_classes,)
    multilabel : bool
        Whether texts have several labels.
    seed : int
    on_trained : callable, default=None
        Called after each training.
    """

    def __init__(
        self,
        student: Any,
        classes: LabelArray,
        *,
        multilabel: bool,
        seed: int,
        on_trained: Callable[[], None] | None = None,
    ) -> None:
        self.student = student
        self.classes = classes
        self.multilabel = multilabel
        self.seed = seed
        self.on_trained = on_trained

    @property
    def takes_weights(self) -> bool:
        """Whether the student's `fit` takes sample weights."""
        return weight_parameter(self.student) is not None

    def fit(self, labelled: LabelledTexts, more: Sequence[Example] = ()) -> Any:
        """Train on labelled texts, and on more of them with weights of their own."""
        texts = labelled.texts + [example.text for example in more]
        y = labelled.y
        if more:
            y = np.append(y, to_array([example.label for example in more], self.classes))
        if len(set(y.tolist())) == 1:  # a fold of two texts of two classes: nothing to train
            return DummyClassifier().fit([""], Target.of(y[:1], self.classes).for_fit)
        weights = labelled.weights
        new_weights = np.array([example.weight for example in more])
        # A student that takes no weights learns all alike.
        if self.takes_weights and (weights is not None or (new_weights != 1.0).any()):
            weights = np.ones(len(labelled)) if weights is None else weights
            weights = np.append(weights, new_weights)
        try:
            labels = Target.of(y, self.classes).for_fit
            student = train(self.student, texts, labels, weights, self.seed)
        except InvalidInputError:
            raise
        except ValueError as error:
            self._explain(y, error)
            raise
        if self.on_trained is not None:
            self.on_trained()
        return student

    def _explain(self, y: LabelArray, error: ValueError) -> None:
        """Say what a student of several labels cannot bear, if that may be it."""
        if not self.multilabel:
            return
        shares = Target.of(y, self.classes).indicator.mean(axis=0)
        constant = self.classes[(shares == 0) | (shares == 1)].tolist()
        if constant:
            raise StudentError(
                f"The student cannot be trained ({error}). No text that it was to learn, or "
                f"every one, has the label {constant[0]!r}, as happens in a fold: label more "
                "texts of it, or use a student that can, such as OneVsRestClassifier."
            ) from error

    def predict_out_of_fold(self, labelled: LabelledTexts, n_folds: int = N_FOLDS) -> FloatArray:
        """Predict each labelled text with a student that has not learnt it.

        Returns
        -------
        probabilities : array of shape (n_labelled, n_classes)
        """
        probabilities = np.zeros((len(labelled), len(self.classes)))
        for rest, fold in make_folds(labelled.texts, labelled.y, n_folds, self.seed):
            student = self.fit(labelled.take(rest))
            probabilities[fold] = self.predict(student, [labelled.texts[i] for i in fold])
        return probabilities

    def predict(self, student: Any, texts: Sequence[str]) -> FloatArray:
        """Return probabilities of shape (n_texts, n_classes)."""
        if not texts:
            return np.empty((0, len(self.classes)))
        if self.multilabel:
            probabilities = predict_label_proba(student, list(texts), len(self.classes))
        else:
            probabilities = predict_proba(student, texts, self.classes)
        # Two processes' numbers may differ in the last bit, and so would what they decide.
        return broadcast(probabilities)
