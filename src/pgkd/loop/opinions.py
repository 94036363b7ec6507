"""Two opinions about a text, the teacher's and the student's, and what both say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pgkd.evaluation.calibration import apply_temperature, fit_temperature
from pgkd.loop.decider import Decider
from pgkd.loop.training_set import Part, TrainingSet, to_example
from pgkd.records import (
    AnnotationRequest,
    FloatArray,
    Generation,
    Label,
    State,
    SyntheticText,
)
from pgkd.samplers.shortlists import read_labels

#: How sure a teacher is taken to be of a label that comes without a probability.
SURE = 0.9
#: A label that is less probable is not learnt.
MIN_PROBABILITY = 0.1
#: The least probability that has a logarithm.
TINY = 1e-12


class Opinion:
    """What the teacher says of one text.

    Attributes
    ----------
    label : label or None
        ``None``: none of the shortlist fits.
    shortlist : tuple of labels
    probabilities : mapping of label to float
        Of the shortlist; where the teacher gives none, as if it were fairly sure of its label.
    is_probability : bool
        Whether it gave some.
    """

    def __init__(
        self, label: Label | None, shortlist: Sequence[Label], given: Mapping[Label, float]
    ) -> None:
        self.label = label
        self.shortlist = tuple(shortlist)
        self.is_probability = bool(given)
        if given:  # they say more than the letter, "none of these" among them
            self.probabilities = dict(given)
            self.label = max(given, key=lambda option: given[option])
        elif label is None or isinstance(label, tuple):
            self.probabilities = dict.fromkeys(self.shortlist, 1 / len(self.shortlist))
        else:
            rest = (1 - SURE) / max(len(self.shortlist) - 1, 1)
            self.probabilities = {c: SURE if c == label else rest for c in self.shortlist}


def read_opinions(generations: Sequence[Generation], state: State) -> dict[str, Opinion]:
    """Read what the teacher says of each text."""
    labels = read_labels(generations)
    opinions = {}
    for generation in generations:
        request = generation.request
        if not isinstance(request, AnnotationRequest):
            continue
        for text, shortlist in zip(request.texts, request.shortlists):
            if text in labels:
                given = generation.probabilities.get(text, {})
                opinions[text] = Opinion(labels[text], shortlist, given)
    return opinions


def fuse(
    opinion: Opinion, student: FloatArray, classes: Sequence[Label], weight: float
) -> FloatArray:
    """Fuse both opinions of a text: the student's probabilities times a power of the teacher's.

    Parameters
    ----------
    opinion : Opinion
    student : array of shape (n_classes,)
        Calibrated.
    classes : sequence of labels
    weight : float
        The power.

    Returns
    -------
    probabilities : array of shape (n_classes,)
        A class that was not on the shortlist is as improbable to the teacher as the least of it.
    """
    given = opinion.probabilities
    floor = max(min(given.values()), 1e-6)
    teacher = np.array([max(given.get(label, floor), 1e-6) for label in classes])
    logs = np.log(np.clip(student, TINY, 1)) + weight * np.log(teacher)
    powers = np.exp(logs - logs.max())
    probabilities: FloatArray = powers / powers.sum()
    return probabilities


def soften(
    texts: Sequence[SyntheticText],
    opinions: Mapping[str, Opinion],
    student: FloatArray,
    classes: Sequence[Label],
    *,
    weight: float,
    temperature: float,
    takes_weights: bool,
) -> list[SyntheticText]:
    """Turn both opinions of texts into labels with weights.

    Parameters
    ----------
    texts : sequence of SyntheticText
    opinions : mapping of str to Opinion
        The teacher's.
    student : array of shape (n_texts, n_classes)
        The student's probabilities.
    classes : sequence of labels
    weight : float
        Of the teacher's opinion, see `fuse`.
    temperature : float
        By which the student's logits are divided first.
    takes_weights : bool
        Whether a text may be learnt with more than one label, each by its probability.

    Returns
    -------
    texts : list of SyntheticText
        One for each label of a text.
    """
    calibrated = apply_temperature(np.clip(student, TINY, 1), temperature)
    soft = []
    for text, own in zip(texts, calibrated):
        both = fuse(opinions[text.text], own, classes, weight)
        codes = np.flatnonzero(both >= MIN_PROBABILITY).tolist()
        if not takes_weights or not codes:
            codes = [int(both.argmax())]
        for code in codes:
            probability = float(both[code]) if takes_weights else 1.0
            soft.append(replace(text, label=classes[code], weight=probability))
    return soft


def label_softly(
    judged: Sequence[SyntheticText],
    generations: Sequence[Generation],
    state: State,
    decider: Decider,
    current: TrainingSet,
    *,
    weight: float,
) -> tuple[list[SyntheticText], Part | None]:
    """Join both opinions of the texts that were accepted; ``None``: the teacher's labels stand."""
    accepted = [text for text in judged if text.verdict == "accepted"]
    if state.multilabel or not accepted:
        return list(judged), None
    part = join_opinions(accepted, generations, state, decider, current, weight=weight)
    return [*part.texts, *(text for text in judged if text.verdict != "accepted")], part


def join_opinions(
    texts: Sequence[SyntheticText],
    generations: Sequence[Generation],
    state: State,
    decider: Decider,
    current: TrainingSet,
    *,
    weight: float,
) -> Part:
    """Turn the teacher's labels and the student's opinion into labels with weights.

    Each split's student has an opinion of its own: one that has learnt the split's judges would
    betray them.
    """
    opinions = read_opinions(generations, state)
    temperature = 1.0
    if decider.splits.shown:
        own = np.clip(decider.predict_shown(current), TINY, 1)
        codes = np.searchsorted(decider.learner.classes, decider.shown.y)
        temperature = fit_temperature(own, codes)
    soft = [
        soften(
            texts,
            opinions,
            decider.learner.predict(student, [text.text for text in texts]),
            state.classes,
            weight=weight,
            temperature=temperature,
            takes_weights=decider.learner.takes_weights,
        )
        for student in decider.students(current)
    ]
    return Part(tuple(soft[0]), tuple(tuple(map(to_example, own)) for own in soft[1:]))
