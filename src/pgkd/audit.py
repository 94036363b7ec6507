"""The audit: before it is relied on, the teacher labels texts whose labels are known."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pgkd.annotating import N_EXAMPLES, make_requests, read_labels
from pgkd.buying import Buyer
from pgkd.evaluation import make_predictions
from pgkd.learning import LabelledTexts
from pgkd.records import (
    AnnotationRequest,
    Audit,
    ClassAudit,
    FloatArray,
    Label,
    State,
    labels_of,
)

#: Quantile of the normal distribution for confidence intervals of 90 %.
Z = 1.645
#: Texts of a label that are taken to be as those of all labels: one text tells little.
N_PRIOR = 2


def audit(
    buyer: Buyer,
    state: State,
    labelled: LabelledTexts,
    probabilities: FloatArray,
    rng: np.random.Generator,
    *,
    size: int,
    n_candidates: int,
) -> Audit | None:
    """Let the teacher label some of the labelled texts, and compare it with the student.

    What the teacher sees must not decide what is kept, and the gate never leaves the machine: it is
    training texts that are audited.

    Parameters
    ----------
    buyer : Buyer
    state : State
    labelled : LabelledTexts
        The training texts.
    probabilities : array of shape (n_texts, n_classes)
        The student's, out of fold, of the same texts.
    rng : Generator
    size : int
        Texts to label, as many of each class as far as they go.
    n_candidates : int
        Length of a shortlist.

    Returns
    -------
    audit : Audit or None
        ``None`` if no answer could be used.

    Raises
    ------
    TeacherError
        If every request failed.
    """
    before = buyer.usage
    rows, requests = draft_audit(
        state, labelled, probabilities, rng, size=size, n_candidates=n_candidates
    )
    generations = buyer.ask(requests, brings_texts=False)
    first, again, unaided = (read_labels(generations, f"{state.cycle}-{p}") for p in "abc")
    rows = np.array([i for i in rows if labelled.texts[i] in first], dtype=np.intp)
    if not len(rows):
        warnings.warn("The teacher's answers to the audit could not be read.", stacklevel=5)
        return None
    texts = [labelled.texts[i] for i in rows]
    y, classes = labelled.y[rows].tolist(), np.array(state.classes)
    teacher = np.array([first[text] == label for text, label in zip(texts, y)])
    student = np.array(
        [p.correct for p in make_predictions(texts, labelled.y[rows], probabilities[rows], classes)]
    )
    by_class, settled = compare_by_class(state.classes, y, teacher, student)
    n_mistakes = int((~student).sum())
    n_corrected, n_spoilt = int((teacher & ~student).sum()), int((student & ~teacher).sum())
    return Audit(
        n_texts=len(rows),
        teacher_accuracy=float(teacher.mean()),
        teacher_accuracy_unaided=_share(
            unaided[text] == label for text, label in zip(texts, y) if text in unaided
        ),
        self_agreement=_share(again[text] == first[text] for text in texts if text in again),
        student_accuracy=float(student.mean()),
        n_mistakes=n_mistakes,
        n_corrected=n_corrected,
        n_spoilt=n_spoilt,
        advantage=difference_interval(n_corrected, n_mistakes, n_spoilt, len(rows) - n_mistakes),
        classes=by_class,
        settled=settled,
        trust=measure_trust(state.classes, y, [first[text] for text in texts]),
        usage=buyer.usage - before,
    )


def draft_audit(
    state: State,
    labelled: LabelledTexts,
    probabilities: FloatArray,
    rng: np.random.Generator,
    *,
    size: int,
    n_candidates: int,
) -> tuple[Any, list[AnnotationRequest]]:
    """Choose the rows to audit, and draft the requests: about each text two or three times.

    With the shortlist that a text of the pool would have (ids with "a"), the same once more in
    another order ("b"), and, unless a shortlist has all classes, among all of them without examples
    ("c").
    """
    rows = _choose_rows(labelled.y, size, rng)
    n_classes = len(state.classes)
    rounds = [
        ("a", rows, n_candidates, N_EXAMPLES),
        ("b", rng.permutation(rows), n_candidates, N_EXAMPLES),
        ("c", rows, n_classes, 0),
    ]
    requests: list[AnnotationRequest] = []
    for prefix, order, n, n_examples in rounds if n_classes > n_candidates else rounds[:2]:
        requests += make_requests(
            state,
            [labelled.texts[i] for i in order],
            probabilities[order],
            rng,
            prefix=prefix,
            n_candidates=n,
            n_examples=n_examples,
        )
    return rows, requests


def difference_interval(k1: int, n1: int, k2: int, n2: int) -> tuple[float, float]:
    """Return the 90 % confidence interval of the difference of two shares, k1/n1 - k2/n2.

    From the Wilson intervals of both, so that it holds for few texts, and for none.

    References
    ----------
    Newcombe, Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17 (1998), method 10.

    Examples
    --------
    >>> from pgkd.audit import difference_interval
    >>> low, high = difference_interval(56, 70, 48, 80)
    >>> round(low, 2), round(high, 2)
    (0.08, 0.31)
    """
    (low1, high1), (low2, high2) = _wilson(k1, n1), _wilson(k2, n2)
    p1, p2 = k1 / max(n1, 1), k2 / max(n2, 1)
    return (
        p1 - p2 - math.hypot(p1 - low1, high2 - p2),
        p1 - p2 + math.hypot(high1 - p1, p2 - low2),
    )


def _wilson(k: int, n: int) -> tuple[float, float]:
    centre = k + Z**2 / 2
    radius = Z * math.sqrt(k * (n - k) / max(n, 1) + Z**2 / 4)
    return (centre - radius) / (n + Z**2), (centre + radius) / (n + Z**2)


def _choose_rows(y: Any, size: int, rng: np.random.Generator) -> Any:
    """Choose a first text of each class at random, then a second one, until there are enough."""
    order = rng.permutation(len(y))
    n_before: Counter[Label] = Counter()
    ranks = []
    for label in y[order].tolist():
        ranks.append(n_before[label])
        n_before[label] += 1
    return order[np.argsort(ranks, kind="stable")][:size]


def compare_by_class(
    labels: tuple[Label, ...], y: list[Label], teacher: Any, student: Any
) -> tuple[dict[Label, ClassAudit], frozenset[Label]]:
    """Return each class's accuracies, and the classes in which the student is clearly better.

    Only texts that one of the two gets right tell which is better. If they are equally good, each
    is the toss of a coin, and the lead after n of them has a standard error of the root of n: the
    student must lead by more. So one text settles nothing, two with none against them do, and where
    there are more, a greater lead is needed. A significance test would settle nothing with three
    texts of a class.
    """
    classes, settled = {}, set()
    for label in labels:
        own = np.array([label in labels_of(other) for other in y])
        if not own.any():
            continue
        classes[label] = ClassAudit(
            int(own.sum()), float(teacher[own].mean()), float(student[own].mean())
        )
        lost, won = (own & student & ~teacher).sum(), (own & teacher & ~student).sum()
        if lost - won > math.sqrt(lost + won):
            settled.add(label)
    return classes, frozenset(settled)


def measure_trust(
    classes: Sequence[Label], y: Sequence[Label], given: Sequence[Label | None]
) -> dict[Label, float]:
    """Return the chance of each label to be right when the teacher gives it.

    Few texts of a class are audited, so that its share is drawn to that of all labels; which is
    neither 0 nor 1, by the rule of succession. Of a class without an audited text only that is
    known: whatever got its label got it wrongly.

    Examples
    --------
    >>> from pgkd.audit import measure_trust
    >>> measure_trust(["a", "b"], ["a", "a", "b", "b"], ["a", "a", "a", None])
    {'a': 0.64, 'b': 0.6}
    """
    n_given: Counter[Label] = Counter()
    n_right: Counter[Label] = Counter()
    for label, answer in zip(y, given):
        for own in () if answer is None else labels_of(answer):
            n_given[own] += 1
            n_right[own] += own in labels_of(label)
    overall = (n_right.total() + 1) / (n_given.total() + 2)
    audited = {own for label in y for own in labels_of(label)}
    return {
        label: (n_right[label] + N_PRIOR * overall) / (n_given[label] + N_PRIOR)
        if label in audited
        else overall
        for label in classes
    }


def _share(hits: Any) -> float | None:
    hits = list(hits)
    return sum(hits) / len(hits) if hits else None
