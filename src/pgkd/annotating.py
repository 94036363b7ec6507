"""Have texts labelled: the requests to an annotator, and the labels in its answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from pgkd.label_sets import indicate
from pgkd.records import (
    NO_ANSWER,
    AnnotationRequest,
    Example,
    FloatArray,
    Generation,
    Label,
    State,
)
from pgkd.text import fold_text

#: Real texts shown of each class of a request.
N_EXAMPLES = 2
#: Texts labelled at once.
TEXTS_PER_REQUEST = 5


def make_requests(
    state: State,
    texts: Sequence[str],
    probabilities: FloatArray,
    rng: np.random.Generator,
    *,
    prefix: str,
    n_candidates: int,
    n_examples: int = N_EXAMPLES,
    texts_per_request: int = TEXTS_PER_REQUEST,
    labels: Sequence[Label] | None = None,
) -> list[AnnotationRequest]:
    """Ask for the label of each text, among the classes that the student finds likeliest.

    Parameters
    ----------
    state : State
        Classes, examples, descriptions and the number of the cycle.
    texts : sequence of str, of length n_texts
    probabilities : array of shape (n_texts, n_classes)
        The student's.
    rng : Generator
    prefix : str
        What the requests' ids have after the number of the cycle, e.g. ``"a"`` for ``"2-a1"``.
    n_candidates : int
        Length of a text's shortlist, in the order of ``classes_``, so that the order tells nothing.
    n_examples : int, default=2
        Real texts shown of each class; never one that is to be labelled in the same request.
    texts_per_request : int, default=5
    labels : sequence of labels, of length n_texts, default=None
        Classes that must be on the texts' shortlists.

    Returns
    -------
    requests : list of AnnotationRequest

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.annotating import make_requests
    >>> from pgkd.records import State
    >>> state = State(2, ("card", "pin", "rate"), ())
    >>> [request] = make_requests(
    ...     state, ["how many yen"], np.array([[0.1, 0.3, 0.6]]), np.random.default_rng(0),
    ...     prefix="a", n_candidates=2,
    ... )
    >>> request.id, request.shortlists
    ('2-a1', (('pin', 'rate'),))
    """
    wanted = probabilities.copy()
    if labels is not None:
        is_own = indicate(labels, state.classes).astype(bool)
        wanted[is_own] = np.inf
        n_candidates = max(n_candidates, int(is_own.sum(axis=1).max()))
    shortlists = np.sort(np.argsort(-wanted, axis=1, kind="stable")[:, :n_candidates], axis=1)
    # Texts with the same likeliest class share a request, and so its examples.
    group = rng.permutation(len(state.classes))[probabilities.argmax(axis=1)]
    rows = np.argsort(group, kind="stable")
    of_class: dict[Label, list[tuple[str, Example]]] = defaultdict(list)
    for example in state.examples:
        folded = fold_text(example.text)
        for label in example.labels:
            of_class[label].append((folded, example))
    requests = []
    for number, start in enumerate(range(0, len(rows), texts_per_request), start=1):
        chosen = rows[start : start + texts_per_request]
        request = AnnotationRequest(
            id=f"{state.cycle}-{prefix}{number}",
            texts=tuple(texts[i] for i in chosen),
            shortlists=tuple(tuple(state.classes[c] for c in shortlists[i]) for i in chosen),
            task_description=state.task_description,
            class_descriptions=state.class_descriptions,
            multilabel=state.multilabel,
            may_be_empty=state.multilabel and state.may_be_empty,
        )
        asked = set(map(fold_text, request.texts))
        examples: list[Example] = []
        for label in dict.fromkeys(sum(request.shortlists, ())):
            new = [(text, e) for text, e in of_class[label] if e not in examples]
            own = [e for text, e in new if text not in asked]
            examples += [own[i] for i in rng.permutation(len(own))[:n_examples]]
        requests.append(replace(request, examples=tuple(examples)))
    return requests


def read_labels(generations: Iterable[Generation], prefix: str = "") -> dict[str, Label | None]:
    """Read the label of each text out of an annotator's answers.

    A text that was asked about twice has the label of its first answer that gives one.

    Parameters
    ----------
    generations : iterable of Generation
    prefix : str, default=""
        Only answers to requests whose id begins so count.

    Returns
    -------
    labels : dict of str to label or None
        ``None``: the annotator gave the text no label of its shortlist. Texts of requests that
        failed, or whose answer could not be read, are left out: nothing is known about them.
    """
    labels: dict[str, Label | None] = {}
    for generation in generations:
        request = generation.request
        if (
            not isinstance(request, AnnotationRequest)
            or not request.id.startswith(prefix)
            or generation.error
            or "unreadable answer" in generation.rejected
        ):
            continue
        given = {e.text: e.label for e in reversed(generation.examples)}
        unanswered = {r.text for r in generation.refused if r.reason == NO_ANSWER}
        for text in request.texts:
            if labels.get(text) is None and text not in unanswered:
                labels[text] = given.get(text)
    return labels
