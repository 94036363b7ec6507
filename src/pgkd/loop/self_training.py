"""Self-training: the student teaches itself unlabelled texts, each as far as it is sure of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgkd.loop.decider import Decider
from pgkd.loop.training_set import Part, TrainingSet, to_example
from pgkd.records import FloatArray, LabelArray, SyntheticText

#: Times that the texts are labelled, each by students that have learnt the labels before.
N_ROUNDS = 3
#: Unlabelled texts that are looked at; more of them would only take time.
MAX_POOL = 2000
#: Of the texts' weights. Students differ in how sure they are of all; what counts is of which texts
#: they are surer.
MEAN_WEIGHT = 1 / 3
#: A student that takes no weights learns the texts that weigh at least so much.
MIN_WEIGHT = 0.5


def pseudo_label(
    pool: Sequence[str], probabilities: FloatArray, classes: LabelArray
) -> list[SyntheticText]:
    """Label each text with its likeliest class, and weigh it by the square of its probability.

    A student's own labels drift towards the classes that it knows best. So the weights of each
    class are scaled to add up to the square root of its share of the pool, as the probabilities
    have it: half the way between the pool's own mix and as much of each class. Their mean is
    `MEAN_WEIGHT`.

    Parameters
    ----------
    pool : sequence of str
    probabilities : array of shape (n_texts, n_classes)
    classes : array of shape (n_classes,)

    Returns
    -------
    texts : list of SyntheticText
        All of the pool, with weights in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.loop.self_training import pseudo_label
    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    >>> texts = pseudo_label(["x", "y", "z"], probabilities, np.array(["a", "b"]))
    >>> [(text.text, text.label, round(text.weight, 2)) for text in texts]
    [('x', 'a', 0.38), ('y', 'a', 0.17), ('z', 'b', 0.45)]
    """
    given = probabilities.argmax(axis=1)
    weights = probabilities.max(axis=1) ** 2
    wanted = np.sqrt(probabilities.mean(axis=0))
    found = np.bincount(given, weights, minlength=len(classes))
    scale = np.divide(wanted, found, out=np.zeros_like(found), where=found > 0)
    total = MEAN_WEIGHT * len(pool)
    weights = np.minimum(weights * scale[given] * total / wanted.sum(), 1.0)
    labels = classes[given].tolist()
    return [
        SyntheticText(
            text, label, 0, "", cost=0.0, verdict="accepted", source="unlabelled", weight=weight
        )
        for text, label, weight in zip(pool, labels, weights.tolist())
    ]


def self_train(decider: Decider, current: TrainingSet, pool: Sequence[str], factor: float) -> Part:
    """Label the pool in rounds; each student does so by itself, the first one for the rest.

    One that has learnt a split's judges would betray them by its labels.

    Parameters
    ----------
    decider : Decider
    current : TrainingSet
        What is learnt without the pool.
    pool : sequence of str
    factor : float
        Of the weights of the texts in training.
    """
    part = _label(decider, current, pool)
    for _ in range(N_ROUNDS - 1):
        part = _label(decider, current.put("unlabelled", part.weigh(factor)), pool)
    return part


def draw_pool(texts: Sequence[str], seed: int) -> list[str]:
    """Draw the unlabelled texts that are looked at."""
    order = np.random.default_rng([seed, 1]).permutation(len(texts))
    return [texts[i] for i in np.sort(order[:MAX_POOL])]


def _label(decider: Decider, learnt: TrainingSet, pool: Sequence[str]) -> Part:
    learner = decider.learner
    every = [
        pseudo_label(pool, learner.predict(student, pool), learner.classes)
        for student in decider.students(learnt)
    ]
    if not learner.takes_weights:
        every = [[text for text in own if text.weight >= MIN_WEIGHT] for own in every]
    return Part(tuple(every[0]), tuple(tuple(map(to_example, own)) for own in every[1:]))
