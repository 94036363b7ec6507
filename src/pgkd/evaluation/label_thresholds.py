"""Texts with several labels: from which probability a label is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pgkd.evaluation.scoring import TextScorer, compute_f1
from pgkd.inputs.labels import THRESHOLD, decide
from pgkd.records import FloatArray

#: Thresholds that are tried.
GRID = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9)
#: Folds in which thresholds are chosen without the texts that they are tried on.
N_FOLDS = 5


def choose_label_thresholds(scorer: TextScorer, probabilities: FloatArray, seed: int) -> FloatArray:
    """Choose the threshold of each label; 0.5 unless others are measured to be better.

    They are tried on texts that they were not chosen on, fold by fold, and must win by more than a
    standard error, as labels with few texts invite luck.

    Parameters
    ----------
    scorer : TextScorer
    probabilities : array of shape (n_texts, n_classes)
        Of a student that has not learnt the scorer's texts.
    seed : int

    Returns
    -------
    thresholds : array of shape (n_classes,)
    """
    n_texts, n_classes = probabilities.shape
    default = np.full(n_classes, THRESHOLD)
    if not scorer.is_of_decisions or n_texts < 2 * N_FOLDS:
        return default
    rng = np.random.RandomState(seed)
    fold = rng.permutation(n_texts) % N_FOLDS
    crossed = np.empty_like(probabilities)
    for k in range(N_FOLDS):
        thresholds = _fit(scorer, probabilities, fold != k)
        crossed[fold == k] = decide(probabilities[fold == k], thresholds)
    gain = scorer.score(crossed) - scorer.score(probabilities)
    if gain <= 0 or gain <= scorer.standard_error(crossed, probabilities, rng):
        return default
    return _fit(scorer, probabilities, np.ones(n_texts, dtype=bool))


def _fit(scorer: TextScorer, probabilities: FloatArray, rows: NDArray[np.bool_]) -> FloatArray:
    """Choose each label's threshold by its own F1 or accuracy; of equals the nearest to 0.5."""
    true = scorer.target.indicator[rows]
    scores = []
    for threshold in GRID:
        given = decide(probabilities[rows], threshold)
        if scorer.scoring == "accuracy":
            scores.append((true == given).mean(axis=0))
        else:
            scores.append(compute_f1((true & given).sum(axis=0), (true + given).sum(axis=0)))
    chosen: FloatArray = np.array(GRID)[np.argmax(scores, axis=0)]
    return chosen
