"""Have texts labelled: the requests to an annotator, and the labels in its answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import issparse

from pgkd.curation.curator import vectorize
from pgkd.inputs.text import fold_text
from pgkd.records import (
    NO_ANSWER,
    AnnotationRequest,
    Example,
    FloatArray,
    Generation,
    Label,
    State,
)

#: Real texts shown of each class of a request.
N_EXAMPLES = 2
#: Texts labelled at once: each has examples of its own.
TEXTS_PER_REQUEST = 1
#: Similarities that are in memory at once.
CELLS = 5_000_000
#: See `make_requests`.
Embed: TypeAlias = Callable[[Sequence[str]], Any]


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
    embed: Embed | None = None,
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
        Real texts shown of each class: the nearest ones to the text, which tell most about it.
        Never a copy of one that is to be labelled in the same request.
    texts_per_request : int, default=1
        The requests are in the order of their texts if it is 1; else texts with the same likeliest
        class are together.
    embed : callable, default=None
        Maps texts to rows of length 1, sparse or dense; their products say what is near. ``None``:
        the state's or, if it has none, character trigrams.

    Returns
    -------
    requests : list of AnnotationRequest

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.samplers.shortlists import make_requests
    >>> from pgkd.records import State
    >>> state = State(2, ("card", "pin", "rate"), ())
    >>> [request] = make_requests(
    ...     state, ["how many yen"], np.array([[0.1, 0.3, 0.6]]), np.random.default_rng(0),
    ...     prefix="a", n_candidates=2,
    ... )
    >>> request.id, request.shortlists
    ('2-a1', (('pin', 'rate'),))
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :n_candidates]
    shortlists = np.sort(best, axis=1)
    order = np.arange(len(texts))
    if texts_per_request > 1:
        # Texts with the same likeliest class share a request, and so its examples.
        group = rng.permutation(len(state.classes))[probabilities.argmax(axis=1)]
        order = np.argsort(group, kind="stable")
    embed = embed or state.embed or vectorize
    retriever = _Retriever(state.examples if n_examples else (), embed)
    # Whole requests, at least one.
    size = max(CELLS // max(len(retriever.examples), 1) // texts_per_request, 1) * texts_per_request
    requests: list[AnnotationRequest] = []
    for start in range(0, len(order), size):
        block = order[start : start + size]
        similarity = retriever.compare([texts[i] for i in block])
        for first in range(0, len(block), texts_per_request):
            places = range(first, min(first + texts_per_request, len(block)))
            chosen = [block[place] for place in places]
            request = AnnotationRequest(
                id=f"{state.cycle}-{prefix}{len(requests) + 1}",
                texts=tuple(texts[i] for i in chosen),
                shortlists=tuple(tuple(state.classes[c] for c in shortlists[i]) for i in chosen),
                task_description=state.task_description,
                class_descriptions=state.class_descriptions,
                multilabel=state.multilabel,
                may_be_empty=state.multilabel and state.may_be_empty,
            )
            asked = set(map(fold_text, request.texts))
            examples: dict[Example, None] = {}
            for place, shortlist in zip(places, request.shortlists):
                for label in shortlist:
                    found = retriever.find(label, similarity[place], asked, n_examples)
                    examples |= dict.fromkeys(found)
            requests.append(replace(request, examples=tuple(examples)))
    return requests


class _Retriever:
    """Finds the labelled texts of a class that are nearest to a text."""

    def __init__(self, examples: Sequence[Example], embed: Embed) -> None:
        self.examples = examples
        self._embed = embed
        self._folded = [fold_text(example.text) for example in examples]
        rows = defaultdict(list)
        for i, example in enumerate(examples):
            for label in example.labels:
                rows[label].append(i)
        self._rows = {label: np.array(own) for label, own in rows.items()}
        self._vectors = embed([e.text for e in examples]) if examples else None

    def compare(self, texts: Sequence[str]) -> FloatArray:
        """Return the similarities, shape (n_texts, n_examples)."""
        if self._vectors is None:
            return np.zeros((len(texts), 0))
        product = self._embed(texts) @ self._vectors.T
        return product.toarray() if issparse(product) else np.asarray(product)

    def find(
        self, label: Label, similarity: FloatArray, asked: set[str], n: int
    ) -> Iterator[Example]:
        """Yield up to `n` examples of a class, the nearest first: no copies, none that is asked."""
        own = self._rows.get(label)
        if own is None:
            return
        seen = set(asked)
        for i in own[np.argsort(-similarity[own], kind="stable")].tolist():
            if len(seen) == len(asked) + n:
                return
            if self._folded[i] not in seen:
                seen.add(self._folded[i])
                yield self.examples[i]


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
