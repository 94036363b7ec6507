"""How good a student is, class by class, and what it says about each text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from pgkd.evaluation.scoring import compute_f1, log_likelihood
from pgkd.inputs.labels import decide, to_sets
from pgkd.inputs.targets import Target
from pgkd.records import ClassScore, FloatArray, LabelArray, Prediction, StudentReport


def make_report(y: LabelArray, probabilities: FloatArray, classes: LabelArray) -> StudentReport:
    """Evaluate `probabilities` (n_texts, n_classes) against the true labels `y` (n_texts,)."""
    target = Target.of(y, classes)
    true, given = target.indicator, decide(probabilities, multilabel=target.multilabel)
    hits, support, n_given = (m.sum(axis=0) for m in (true & given, true, given))
    f1 = compute_f1(hits, support + n_given)
    scores = zip(hits / np.maximum(n_given, 1), hits / np.maximum(support, 1), f1, support)
    micro = compute_f1(hits.sum(keepdims=True), (support + n_given).sum(keepdims=True))
    return StudentReport(
        accuracy=float(target.is_right(probabilities).mean()),
        f1_macro=float(f1[support > 0].mean()) if support.any() else 0.0,
        log_loss=float(-log_likelihood(*target.list_decisions(probabilities)).mean()),
        classes={
            name: ClassScore(float(p), float(r), float(f), int(n))
            for name, (p, r, f, n) in zip(classes.tolist(), scores)
        },
        confusions=_count_confusions(target, true & ~given, given & ~true),
        f1_micro=float(micro[0]) if target.multilabel else None,
        n_texts=len(y),
    )


def _count_confusions(target: Target, missed: Any, wrong: Any) -> dict[tuple[Any, Any], int]:
    """Count the pairs of a missed label and one that is given in its place."""
    both = zip(to_sets(missed, target.classes), to_sets(wrong, target.classes))
    pairs = [pair for labels in both for pair in product(*labels)]
    # Of equally frequent ones, the first class or, of several labels, the first text comes first.
    return dict(Counter(pairs if target.multilabel else sorted(pairs)).most_common())


def make_predictions(
    texts: Sequence[str], y: LabelArray, probabilities: FloatArray, classes: LabelArray
) -> tuple[Prediction, ...]:
    """Pair each text with the student's label and confidence.

    Of several labels, that of the least sure right decision or, if some are wrong, of the surest
    wrong one.
    """
    target = Target.of(y, classes)
    codes, choices = target.list_decisions(probabilities)
    certainty, is_wrong = choices.max(axis=2), choices.argmax(axis=2) != codes
    confidence = np.where(
        is_wrong.any(axis=1),
        np.where(is_wrong, certainty, 0).max(axis=1),
        certainty.min(axis=1),
    )
    labels = target.decode(target.predict(probabilities))
    return tuple(map(Prediction, texts, y.tolist(), labels, confidence.tolist()))
