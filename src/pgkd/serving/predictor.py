"""A model, as a service asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pgkd.inputs.labels import decide, to_sets


@dataclass(frozen=True)
class Prediction:
    """What a model says of a text.

    Attributes
    ----------
    label : label or list of labels
    confidence : float
        The probability of the label; with several labels a text, the least one with which any class
        is given or not.
    is_unsure : bool
        Whether `confidence` is below the threshold.
    """

    label: Any
    confidence: float
    is_unsure: bool


class Predictor:
    """A model, and below which confidence it is unsure.

    Parameters
    ----------
    model : classifier
        As :func:`pgkd.load` returns it.
    min_confidence : float, default=None
        ``None``: the model's own threshold; without one it is never unsure.
    """

    def __init__(self, model: Any, min_confidence: float | None = None) -> None:
        self.model = model
        own = None if model.multilabel_ else model.threshold_
        self.min_confidence = own if min_confidence is None else min_confidence

    def predict(self, texts: list[str]) -> list[Prediction]:
        """Return what the model says of each text.

        Raises
        ------
        InvalidInputError
            If a text is empty or no valid str.
        """
        classes = self.model.classes_
        probabilities = self.model.predict_proba(texts)
        if self.model.multilabel_:
            given = decide(probabilities, self.model.label_thresholds_)
            labels: list[Any] = [list(own) for own in to_sets(given, classes)]
            confidences = np.where(given, probabilities, 1 - probabilities).min(axis=1)
        else:
            labels = classes[probabilities.argmax(axis=1)].tolist()
            confidences = probabilities.max(axis=1)
        threshold = self.min_confidence
        return [
            Prediction(label, confidence, threshold is not None and confidence < threshold)
            for label, confidence in zip(labels, confidences.tolist())
        ]
