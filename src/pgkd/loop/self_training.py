"""Self-training: the student teaches itself the unlabelled texts that it is surest of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pgkd.loop.learner import Learner
from pgkd.loop.training_set import Part, to_example
from pgkd.records import FloatArray, LabelArray, Step, SyntheticText

#: Texts of each class that the first round takes; each further one takes as many more.
PER_CLASS = 8
#: Rounds at most. What a student teaches itself soon repeats what it believes.
N_ROUNDS = 3
#: Unlabelled texts that are looked at; more of them would only take time.
MAX_POOL = 5000


def pseudo_label(
    pool: Sequence[str], probabilities: FloatArray, classes: LabelArray, per_class: int
) -> list[SyntheticText]:
    """Label the texts of each class that the student is surest of, as many of each.

    Balanced, because a student's own labels drift towards the classes that it knows best.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.loop.self_training import pseudo_label
    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    >>> [(t.text, t.label) for t in pseudo_label("xyz", probabilities, np.array(["a", "b"]), 1)]
    [('x', 'a'), ('z', 'b')]
    """
    given = probabilities.argmax(axis=1)
    certainty = probabilities.max(axis=1)
    texts = []
    for code, label in enumerate(classes.tolist()):
        own = np.flatnonzero(given == code)
        for i in own[np.argsort(-certainty[own], kind="stable")][:per_class].tolist():
            texts.append(
                SyntheticText(
                    pool[i], label, 0, "", cost=0.0, verdict="accepted", source="unlabelled"
                )
            )
    return texts


def self_train(learner: Learner, students: Sequence[Any], pool: Sequence[str], n: int) -> Part:
    """Label `n` texts of each class; each student does so by itself, the first one for the rest.

    One that has learnt a split's judges would betray them by its labels.
    """
    every = [pseudo_label(pool, learner.predict(own, pool), learner.classes, n) for own in students]
    return Part(tuple(every[0]), tuple(tuple(map(to_example, texts)) for texts in every[1:]))


def find_round(history: Sequence[Step]) -> int | None:
    """Number the next round, from 1; ``None`` after one that did not help, and after the last."""
    taken = [step.taken for step in history if step.route == "unlabelled"]
    return len(taken) + 1 if all(taken) and len(taken) < N_ROUNDS else None


def draw_pool(texts: Sequence[str], seed: int) -> list[str]:
    """Draw the unlabelled texts that are looked at."""
    order = np.random.default_rng([seed, 1]).permutation(len(texts))
    return [texts[i] for i in np.sort(order[:MAX_POOL])]
