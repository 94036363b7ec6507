"""The probe: what the teacher is good for, found out for a few cents before it is relied on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pgkd.evaluation.calibration import apply_temperature, fit_temperature
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.labels import indicate
from pgkd.loop.buyer import Buyer
from pgkd.loop.opinions import TINY, Opinion, fuse, read_opinions
from pgkd.records import AnnotationRequest, FloatArray, Generation, Label, Probe, State
from pgkd.samplers.shortlists import make_requests

#: Share of `max_cost` that it may take.
SHARE_OF_BUDGET = 0.05
#: Fewer answers say nothing.
MIN_TEXTS = 5
#: Classes that the teacher chooses from.
N_CANDIDATES = 5
#: Weights of the teacher's opinion that are tried; the one that is assumed where nothing is known.
WEIGHTS, DEFAULT_WEIGHT = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0), 0.5


def choose_least_sure(probabilities: FloatArray, n: int, *, multilabel: bool = False) -> Any:
    """Return the rows of which the student is least sure, the least sure first."""
    if multilabel:
        certainty = np.abs(probabilities - 0.5).min(axis=1)
    else:
        best = np.sort(probabilities, axis=1)[:, ::-1]
        certainty = best[:, 0] - best[:, 1]
    return np.argsort(certainty, kind="stable")[:n]


def ask_probe(
    buyer: Buyer,
    requests: Sequence[AnnotationRequest],
    state: State,
    labelled: LabelledTexts,
    probabilities: FloatArray,
) -> Probe | None:
    """Ask the teacher about labelled texts, and set its answers beside the student's.

    `requests` are those of `draft_probe`, and so are the other parameters.
    """
    before = buyer.usage
    generations = buyer.ask(requests, brings_texts=False)
    return evaluate_probe(generations, state, labelled, probabilities, buyer.usage - before)


def draft_probe(
    buyer: Buyer,
    state: State,
    labelled: LabelledTexts,
    probabilities: FloatArray,
    *,
    size: int,
) -> list[AnnotationRequest]:
    """Draft the requests of the probe, as many as the budget allows.

    Parameters
    ----------
    buyer : Buyer
    state : State
    labelled : LabelledTexts
        That the teacher may see.
    probabilities : array of shape (n_texts, n_classes)
        The student's, out of fold.
    size : int
        Texts at most.
    """
    rows = choose_least_sure(probabilities, size, multilabel=state.multilabel)
    requests = make_requests(
        state,
        [labelled.texts[i] for i in rows],
        probabilities[rows],
        np.random.default_rng(0),
        prefix="p",
        n_candidates=N_CANDIDATES,
    )
    if buyer.max_cost is None:
        return requests
    return list(buyer.afford(requests, SHARE_OF_BUDGET * buyer.max_cost))


def evaluate_probe(
    generations: Sequence[Generation],
    state: State,
    labelled: LabelledTexts,
    probabilities: FloatArray,
    usage: Any,
) -> Probe | None:
    """Set the teacher's answers beside the student's labels; ``None`` if too few can be read."""
    answers = read_opinions(generations, state)
    why = ""
    if answers and all(opinion.label is None for opinion in answers.values()):
        answers, why = {}, "it gave no label to any of the labelled texts that it was asked about"
    row_of = {text: i for i, text in enumerate(labelled.texts)}
    rows = np.array([row_of[text] for text in answers if text in row_of], dtype=np.intp)
    if len(rows) < MIN_TEXTS:
        if generations:
            why = why or f"{len(rows)} of its answers could be read, and it takes {MIN_TEXTS}"
            warnings.warn(
                f"The probe of the teacher says nothing: {why}. The run goes on and buys, as "
                "without a probe.",
                stacklevel=8,
            )
        return None
    own, opinions = probabilities[rows], [answers[labelled.texts[i]] for i in rows]
    truth = labelled.y[rows].tolist()
    if state.multilabel:
        return _evaluate_sets(opinions, own, truth, state, usage)
    codes = np.array([state.classes.index(label) for label in truth])
    is_right = np.array([o.label == label for o, label in zip(opinions, truth)])
    student = own.argmax(axis=1) == codes
    all_codes = np.searchsorted(np.array(state.classes), labelled.y)
    temperature = fit_temperature(np.clip(probabilities, TINY, 1), all_codes)
    calibrated = apply_temperature(np.clip(own, TINY, 1), temperature)
    weight = _fit_weight(opinions, calibrated, codes, state.classes)
    fused = [
        fuse(o, p, state.classes, weight).argmax() == code
        for o, p, code in zip(opinions, calibrated, codes)
    ]
    return Probe(
        n_texts=len(rows),
        n_teacher=int(is_right.sum()),
        n_student=int(student.sum()),
        n_fused=int(np.sum(fused)),
        n_only_teacher=int((is_right & ~student).sum()),
        n_only_student=int((student & ~is_right).sum()),
        weight=weight,
        has_probabilities=any(o.is_probability for o in opinions),
        usage=usage,
    )


def _fit_weight(
    opinions: Sequence[Opinion], student: FloatArray, codes: Any, classes: Sequence[Label]
) -> float:
    """Choose the weight with which the true labels are most probable, drawn to the usual one.

    A few dozen texts say little about it: the prior is normal around `DEFAULT_WEIGHT`, with half of
    it as standard deviation. A teacher whose opinion makes them less probable has weight 0.
    """

    def log_likelihood(weight: float) -> float:
        own = [fuse(o, p, classes, weight)[c] for o, p, c in zip(opinions, student, codes)]
        return float(np.log(np.clip(own, TINY, 1)).sum())

    found = {weight: log_likelihood(weight) for weight in WEIGHTS}
    best = max(WEIGHTS, key=lambda w: found[w] - 2 * ((w - DEFAULT_WEIGHT) / DEFAULT_WEIGHT) ** 2)
    return best if found[best] > found[0.0] else 0.0


def _evaluate_sets(
    opinions: Sequence[Opinion], own: FloatArray, truth: Sequence[Any], state: State, usage: Any
) -> Probe:
    """With several labels a text, count whole sets; the teacher's are taken as they are."""
    given = indicate([o.label or () for o in opinions], state.classes)
    true = indicate(truth, state.classes)
    teacher = (given == true).all(axis=1)
    student = ((own > 0.5) == true.astype(bool)).all(axis=1)
    is_better = teacher.sum() > student.sum()
    return Probe(
        n_texts=len(truth),
        n_teacher=int(teacher.sum()),
        n_student=int(student.sum()),
        n_fused=int(max(teacher.sum(), student.sum())),
        n_only_teacher=int((teacher & ~student).sum()),
        n_only_student=int((student & ~teacher).sum()),
        weight=float(is_better),
        usage=usage,
    )
