"""Blind re-annotation: the teacher labels what it wrote, without the label that it gave."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pgkd.annotating import make_requests, read_labels
from pgkd.buying import Buyer
from pgkd.exceptions import TeacherError
from pgkd.label_sets import agree
from pgkd.records import FloatArray, State, SyntheticText

#: What becomes of the weight of a text whose label was not confirmed, with ``"weight"``.
WEIGHT = 0.3
REASON = "not confirmed by the teacher"


def verify(
    judged: Sequence[SyntheticText],
    buyer: Buyer,
    state: State,
    predict: Callable[[Sequence[str]], FloatArray] | None,
    rng: np.random.Generator,
    *,
    verification: str,
    n_candidates: int,
) -> list[SyntheticText]:
    """Have the teacher label the accepted texts that it wrote; texts of the pool are left as is.

    An LLM that was told to write a text of a class often writes one of another class, and sees it
    when it is asked. A text that is not answered about keeps its verdict and its weight. Two label
    sets that have at least half of their labels in common confirm each other.

    Parameters
    ----------
    judged : sequence of SyntheticText
    buyer : Buyer
    state : State
    predict : callable or None
        ``predict(texts)`` returns the student's probabilities, for the shortlists. ``None``:
        there is no student yet, and chance fills up the shortlists.
    rng : Generator
    verification : {"filter", "weight"}
        What becomes of a text with another label, or none: it is rejected, or weighs less.
    n_candidates : int
        Length of a shortlist; the text's label is on it.

    Returns
    -------
    judged : list of SyntheticText
    """
    rows = [i for i, t in enumerate(judged) if t.verdict == "accepted" and t.source == "generated"]
    texts = [judged[i].text for i in rows]
    if not rows or buyer.is_budget_spent():
        return list(judged)
    shape = len(rows), len(state.classes)
    requests = make_requests(
        state,
        texts,
        rng.random(shape) if predict is None else predict(texts),
        rng,
        prefix="v",
        n_candidates=n_candidates,
        labels=[judged[i].label for i in rows],
    )
    try:
        found = read_labels(buyer.ask(requests, brings_texts=False))
    except TeacherError as error:  # the texts were paid for
        warnings.warn(f"The texts of cycle {state.cycle} are not verified: {error}", stacklevel=5)
        return list(judged)
    verified = list(judged)
    for i in rows:
        text = judged[i]
        label = found.get(text.text, text.label)
        if label is not None and agree(label, text.label):
            continue
        if verification == "filter":
            verified[i] = replace(text, verdict="rejected", reason=REASON, weight=0.0)
        else:
            verified[i] = replace(text, weight=WEIGHT * text.weight)
    return verified
