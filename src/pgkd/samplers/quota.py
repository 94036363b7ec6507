"""How a batch is shared out among the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pgkd.evaluation.scoring import is_macro
from pgkd.inputs.labels import count_classes, indicate
from pgkd.records import Example, Feedback, FloatArray, Label, State, StudentReport

#: A further text of a class with n texts is worth n to the power of minus that. Found, as the next,
#: with hidden parts of four training files.
_DECAY = 0.75
#: Power of a class's share where all classes count the same: the frequent ones take more texts from
#: others when they are not well known.
_MACRO_POWER = 0.75
#: Yield of a class of which nothing came the last times that so many texts were asked for.
_DRY = 0.02
_DRY_AFTER = 3
#: Share of a batch that is shared out evenly, whatever the classes' weakness.
_FLOOR = 0.25
#: Deficiency of a class without a mistake, so that no class is left out for good.
MIN_WEAKNESS = 0.05


def by_expected_gain(state: State, feedback: Feedback) -> FloatArray:
    """Weigh each class by what a text of it is expected to add to the score.

    The product of what a class counts in `State.scoring`, of how much is still wrong in it, of how
    fast that falls with another text, and of the share of texts that the teacher delivers.

    Returns
    -------
    weights : array of shape (n_classes,)
    """
    counts = _count([*state.examples, *state.synthetic], state.classes)
    value = _measure_shares(state) ** (_MACRO_POWER if is_macro(state.scoring) else 1.0)
    yields = _measure_yield(state)
    weights: FloatArray = value * _measure_deficiency(state, feedback) * yields * counts**-_DECAY
    mixed: FloatArray = (1 - _FLOOR) * weights / weights.sum() + _FLOOR * yields / yields.sum()
    return mixed


def by_weakness(state: State, feedback: Feedback) -> FloatArray:
    """Weigh each class by 1 - F1."""
    scores = [feedback.report.classes[label] for label in state.classes]
    known = [1 - score.f1 for score in scores if score.support]
    mean = float(np.mean(known)) if known else 1.0  # of a class without a text nothing is known
    return np.array([max(1 - s.f1 if s.support else mean, MIN_WEAKNESS) for s in scores])


def by_errors(state: State, feedback: Feedback) -> FloatArray:
    """Weigh each class by the number of its texts that are got wrong."""
    labels, given = _read(state, feedback)
    missed = np.maximum(labels - given, 0).sum(axis=0)
    if state.multilabel:  # else what is given wrongly is missed elsewhere
        missed += np.maximum(given - labels, 0).sum(axis=0)
    weights: FloatArray = missed + MIN_WEAKNESS
    return weights


def by_confusion(state: State, feedback: Feedback) -> FloatArray:
    """Weigh each class by the mistakes it has a part in, as the true or as the given label."""
    weights = dict.fromkeys(state.classes, MIN_WEAKNESS)
    for pair, n in feedback.report.confusions.items():
        for label in pair:
            weights[label] += n / 2
    return np.array([weights[label] for label in state.classes])


def by_past_gain(state: State, feedback: Feedback) -> FloatArray:
    """Weigh each class by the F1 that a text of it brought in earlier cycles: a bandit.

    A class's gain a text is shrunk to the mean of all classes, as if one text more had brought
    that, and what is left to gain is its limit. In the first cycle all that is known is the
    weakness.
    """
    weakness = by_weakness(state, feedback)
    batches = [b for b in state.batches if b.feedback is not None]
    if not batches:
        return weakness
    reports: list[StudentReport | None] = [*(b.feedback for b in batches[1:]), feedback.report]
    gain = np.zeros(len(state.classes))
    spent = np.zeros(len(state.classes))
    for batch, after in zip(batches, reports):
        for i, label in enumerate(state.classes):
            if batch.counts.get(label) and after and batch.feedback:
                gain[i] += after.classes[label].f1 - batch.feedback.classes[label].f1
                spent[i] += batch.counts[label]
    mean = max(gain.sum() / max(spent.sum(), 1), 0.01)
    per_text = np.maximum((gain + mean) / (spent + 1), 0.1 * mean)
    relative: FloatArray = np.minimum(per_text / mean, 10)
    return relative * weakness


def uniform(state: State, feedback: Feedback | None = None) -> FloatArray:
    """Weigh all classes alike."""
    return np.ones(len(state.classes))


def by_prior(state: State, feedback: Feedback | None = None) -> FloatArray:
    """Weigh each class by its labelled texts; one without any as if it had one."""
    return _count(state.examples, state.classes)


def _count(examples: Sequence[Example], classes: Sequence[Label]) -> FloatArray:
    """Count the texts of each class; one without any as if it had one."""
    n_texts = count_classes(example.label for example in examples)
    return np.array([max(n_texts.get(label, 0), 1) for label in classes], dtype=float)


#: The quotas of `PerformanceGuidedSampler`.
QUOTAS: dict[str, Any] = {
    "auto": by_expected_gain,
    "weakness": by_weakness,
    "errors": by_errors,
    "confusion": by_confusion,
    "past_gain": by_past_gain,
    "uniform": uniform,
    "prior": by_prior,
}


def weigh(quota: str, state: State, feedback: Feedback) -> FloatArray:
    """Weigh the classes by a quota of `QUOTAS`."""
    weights: FloatArray = QUOTAS[quota](state, feedback)
    return weights


def _measure_shares(state: State) -> FloatArray:
    """Measure how frequent each class is, against the mean class.

    The shares are known from few texts. They are shrunk to equal ones by as much of their spread as
    chance explains (empirical Bayes).
    """
    n = by_prior(state)
    mean = n.mean()
    true_spread = max(0.0, n.var(ddof=1) - mean)
    reliability = true_spread / (true_spread + mean)
    shares: FloatArray = 1 + reliability * (n - mean) / mean
    return shares


def _measure_deficiency(state: State, feedback: Feedback) -> FloatArray:
    """Measure what is wrong in each class: 1 - F1, steadier.

    With a few texts a class, counts of hits are coarse: a half of each text counts by its
    probabilities. And one text is added as if the class were like all others.
    """
    true, given = _read(state, feedback)
    if feedback.probabilities is not None:
        given = (given + feedback.probabilities) / 2
    hits = (given * true).sum(axis=0)
    wrong = given.sum(axis=0) + true.sum(axis=0) - 2 * hits
    mean = wrong.sum() / (wrong + 2 * hits).sum()
    deficiency: FloatArray = np.maximum((wrong + mean) / (wrong + 2 * hits + 1), MIN_WEAKNESS)
    return deficiency


def _read(state: State, feedback: Feedback) -> tuple[FloatArray, FloatArray]:
    """Return the true labels and those of the student, as indicator matrices."""
    predictions = feedback.predictions
    labels, given = ([getattr(p, name) for p in predictions] for name in ("label", "predicted"))
    return (
        indicate(labels, state.classes).astype(float),
        indicate(given, state.classes).astype(float),
    )


def _measure_yield(state: State) -> FloatArray:
    """Measure the share of the texts asked for that could be learnt.

    A class of which several were asked for and nothing came has run out, as far as this teacher
    goes; a single text may have been refused by chance.
    """
    asked, got = Counter[Label](), Counter[Label]()
    in_vain = Counter[Label]()
    for batch in state.batches:
        asked.update(batch.requested)
        got.update(batch.counts)
        in_vain.update(batch.requested)
        in_vain -= Counter({label: in_vain[label] for label, n in batch.counts.items() if n})
    return np.array(
        [
            _DRY if in_vain[c] >= _DRY_AFTER else min(1.0, (got[c] + 0.5) / (asked[c] + 0.5))
            for c in state.classes
        ]
    )
