"""Where the teacher labels better than the student, measured on labelled texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pgkd.cascade.report import CascadeReport
from pgkd.evaluation.estimates import Estimate, estimate_gain, estimate_share
from pgkd.evaluation.thresholds import Rule, Trial, choose_rules, cross_fit, to_array
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.splitting import Indices, make_folds
from pgkd.records import FloatArray, Label, LabelArray, Usage

#: Folds of the cross-fitted accuracy.
N_FOLDS = 10


@dataclass(frozen=True)
class Asked:
    """What the teacher was asked about, and what it answered.

    Attributes
    ----------
    rows : array of int of shape (n_asked,)
        The texts.
    columns : array of int of shape (n_asked,)
        Those of the teacher's classes, -1 where it gave none.
    n_answered : int
        Texts that it gave an answer about, if only that no label fits.
    usage : Usage
    cost_per_text : float or None
        US dollars.
    """

    rows: Indices
    columns: Indices
    n_answered: int
    usage: Usage
    cost_per_text: float | None


@dataclass(frozen=True)
class Measurement:
    """The thresholds, how good the teacher is below them, and the report."""

    thresholds: FloatArray
    teacher_accuracy: float
    report: CascadeReport


def measure(
    labelled: LabelledTexts,
    classes: LabelArray,
    probabilities: FloatArray,
    asked: Asked,
    *,
    confidence: float,
    seed: int,
) -> Measurement:
    """Choose the thresholds, and measure what they bring.

    Parameters
    ----------
    labelled : LabelledTexts
    classes : array of shape (n_classes,)
    probabilities : array of shape (n_texts, n_classes)
        The student's, of texts that it has not learnt.
    asked : Asked
    confidence : float
        Of the thresholds and of the intervals.
    seed : int
        Of the folds of the cross-fitted accuracy.
    """
    codes = np.searchsorted(classes, labelled.y)
    is_student_right = probabilities.argmax(axis=1) == codes
    own, is_answered = probabilities[asked.rows], asked.columns >= 0
    is_teacher_right = np.where(
        is_answered, asked.columns == codes[asked.rows], is_student_right[asked.rows]
    )
    trial = Trial(
        predicted=own.argmax(axis=1),
        confidence=own.max(axis=1),
        lead=is_teacher_right.astype(int) - is_student_right[asked.rows],
    )
    rules = choose_rules(trial, len(classes), 1 - confidence)
    thresholds = to_array(rules, len(classes))
    escalated = find_escalated(own, thresholds)

    lead = trial.lead[:0]
    if escalated.any():
        fold = np.empty(len(labelled), dtype=int)
        for k, (_, rows) in enumerate(make_folds(labelled.texts, labelled.y, N_FOLDS, seed)):
            fold[rows] = k
        lead = trial.lead[cross_fit(trial, fold[asked.rows], len(classes), 1 - confidence)]
    is_labelled = escalated & is_answered
    n_right = int(is_teacher_right[is_labelled].sum())
    return Measurement(
        thresholds,
        # Laplace's rule: never certain, and one half where nothing is known.
        teacher_accuracy=(n_right + 1) / (int(is_labelled.sum()) + 2),
        report=_make_report(
            is_student_right, lead, asked, int(escalated.sum()), _name(rules, classes), confidence
        ),
    )


def _make_report(
    is_student_right: NDArray[np.bool_],
    lead: Indices,
    asked: Asked,
    n_escalated: int,
    rules: tuple[Rule, ...],
    confidence: float,
) -> CascadeReport:
    """Report what the thresholds bring; `lead` is that of the texts that cross-fitted ones take."""
    n, n_right = len(is_student_right), int(is_student_right.sum())
    n_won, n_lost = int((lead == 1).sum()), int((lead == -1).sum())
    share, cost = estimate_share(n_escalated, n, confidence), None
    if asked.cost_per_text is not None:
        cost = Estimate(*(1000 * asked.cost_per_text * value for value in share))
    return CascadeReport(
        confidence=confidence,
        n_texts=n,
        n_asked=len(asked.rows),
        n_answered=asked.n_answered,
        student_accuracy=estimate_share(n_right, n, confidence),
        accuracy=estimate_share(n_right + n_won - n_lost, n, confidence),
        gain=estimate_gain(n_won, n_lost, n, confidence),
        share_escalated=share,
        cost_per_1000=cost,
        rules=rules,
        usage=asked.usage,
    )


def _name(rules: Sequence[Rule], classes: LabelArray) -> tuple[Rule, ...]:
    """Put the classes in the place of their columns."""
    return tuple(replace(r, classes=tuple(classes[list(r.classes)].tolist())) for r in rules)


def find_escalated(probabilities: FloatArray, thresholds: FloatArray) -> NDArray[np.bool_]:
    """Return which texts the teacher is asked about, by the student's probabilities of them."""
    threshold = thresholds[probabilities.argmax(axis=1)]
    escalated: NDArray[np.bool_] = (probabilities.max(axis=1) <= threshold) & (threshold > 0)
    return escalated


def find_columns(
    texts: Sequence[str], labels: Mapping[str, Label | None], classes: LabelArray
) -> Indices:
    """Return the column of each text's label, -1 where the teacher gave none of the classes."""
    column = {label: c for c, label in enumerate(classes.tolist())}
    return np.array([column.get(labels.get(text), -1) for text in texts], dtype=np.intp)


def give_way(probabilities: FloatArray, columns: Indices, certainty: float) -> FloatArray:
    """Give the teacher's class `certainty`, over one half, and the others what is left.

    They share it as the student has it.
    """
    certainty = max(certainty, 0.501)  # the most probable class is the teacher's
    rows = np.arange(len(columns))
    others = probabilities.copy()
    others[rows, columns] = 0
    # A student that is quite sure of the teacher's class leaves the others nothing to go by.
    others[others.sum(axis=1) == 0] = 1
    others[rows, columns] = 0
    blended: FloatArray = (1 - certainty) * others / others.sum(axis=1, keepdims=True)
    blended[rows, columns] = certainty
    return blended
