"""Which generated texts are taken: no duplicate, no gate text, no label from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import HashingVectorizer

from pgkd.inputs.labels import agree, tidy
from pgkd.inputs.text import fold_text, is_valid, make_valid
from pgkd.records import (
    AnnotationRequest,
    Example,
    FloatArray,
    Generation,
    GenerationRequest,
    Label,
    Prediction,
    SyntheticText,
)

#: Cosine similarity of character trigrams from which two texts count as the same.
NEAR_DUPLICATE = 0.9
#: Texts that are compared at once with all that are known: what the similarities take in memory.
BLOCK = 500

# Of a text's trigrams hardly two share one of 65,536 columns, and scipy is slow with more.
_VECTORIZER = HashingVectorizer(
    n_features=2**16, analyzer="char_wb", ngram_range=(3, 3), alternate_sign=False, norm="l2"
)


def vectorize(texts: Sequence[str]) -> csr_matrix:
    """Count character trigrams; the dot product of two rows is their cosine similarity."""
    if not texts:
        return csr_matrix((0, _VECTORIZER.n_features))
    return _VECTORIZER.transform([fold_text(text) for text in texts])


class Curator:
    """Judge generated texts against the labelled ones, the gate and each other.

    Near duplicates are found by the cosine similarity of character trigrams, which needs no
    training and works in any script.

    Parameters
    ----------
    classes : sequence of labels
    known : sequence of str
        Texts that a new one must not repeat: the labelled ones that the teacher may have seen.
    gate : sequence of str
        Texts that a new one must not come close to, or the gate would measure memory.
    threshold : float, default=0.9
        Similarity, in (0, 1], from which a text is too close.
    multilabel : bool, default=False
        Whether a text has several labels.
    """

    def __init__(
        self,
        classes: Sequence[Label],
        known: Sequence[str],
        gate: Sequence[str],
        threshold: float = NEAR_DUPLICATE,
        *,
        multilabel: bool = False,
    ) -> None:
        self._order = {label: i for i, label in enumerate(classes)}
        self._multilabel = multilabel
        self._threshold = threshold
        # Longer than any real text by a wide margin: the teacher rambled.
        self._max_length = max(200, 2 * max(map(len, known), default=0))
        self._gate = vectorize(gate)
        self._known = vectorize(known)
        self._seen = {fold_text(text) for text in known}

    def screen(self, texts: Sequence[str]) -> list[str]:
        """Drop from an unlabelled pool what would be rejected, before its labels are paid for."""
        unique = list({fold_text(text): text for text in reversed(texts)}.values())[::-1]
        new = [text for text in unique if fold_text(text) not in self._seen | {""}]
        if not new:
            return []
        kept: list[str] = []
        for start in range(0, len(new), BLOCK):
            block = new[start : start + BLOCK]
            vectors = vectorize(block)
            similarity = [_greatest(vectors @ known.T) for known in (self._gate, self._known)]
            close = np.maximum(*similarity) >= self._threshold
            kept += [text for text, is_close in zip(block, close) if not is_close]
        return kept

    def judge(self, generations: Iterable[Generation], cycle: int) -> list[SyntheticText]:
        """Give each text of the teacher a verdict. Accepted texts count as known from then on."""
        generations = list(generations)
        pairs = [
            (example, generation) for generation in generations for example in generation.examples
        ]
        judged = (
            text
            for start in range(0, len(pairs), BLOCK)
            for text in self._judge_block(pairs[start : start + BLOCK], cycle)
        )
        return [
            text
            for generation in generations
            for text in (
                *islice(judged, len(generation.examples)),
                *enter_refused(generation, cycle),
            )
        ]

    def learn(self, texts: Iterable[str]) -> None:
        """Let texts that were accepted before count as known."""
        texts = list(texts)
        self._seen.update(map(fold_text, texts))
        self._known = vstack([self._known, vectorize(texts)], format="csr")

    def _judge_block(
        self, pairs: Sequence[tuple[Example, Generation]], cycle: int
    ) -> list[SyntheticText]:
        """Judge some texts; all similarities are computed first, which is many times as fast."""
        vectors = vectorize([make_valid(example.text) for example, _ in pairs])
        to_gate, to_known = (_greatest(vectors @ o.T) for o in (self._gate, self._known))
        to_each_other = (vectors @ vectors.T).toarray()
        judged: list[SyntheticText] = []
        accepted: list[int] = []
        for i, (example, generation) in enumerate(pairs):
            label = tidy(example.label, self._order, self._multilabel)
            if label is not None:
                example = replace(example, label=label)
            reason = self._reason_against(
                example,
                label is not None,
                isinstance(generation.request, GenerationRequest),
                to_gate[i],
                max(to_known[i], to_each_other[i, accepted].max(initial=0.0)),
            )
            if reason is None:
                accepted.append(i)
                self._seen.add(fold_text(example.text))
            judged.append(
                enter(example, cycle, generation, "rejected" if reason else "accepted", reason)
            )
        self._known = vstack([self._known, vectors[accepted]], format="csr")
        return judged

    def _reason_against(
        self, example: Example, known: bool, generated: bool, to_gate: float, to_known: float
    ) -> str | None:
        """Say why a text is not taken; the numbers are its greatest similarities."""
        if not is_valid(example.text):
            return "malformed"
        text = fold_text(example.text)
        if not known:
            return "unknown label"
        if not text:
            return "empty"
        if generated and len(text) > self._max_length:
            return "too long"
        if text in self._seen:
            return "duplicate"
        if to_gate >= self._threshold:
            return "close to a gate text"
        return "near duplicate" if to_known >= self._threshold else None


def _greatest(similarities: csr_matrix) -> FloatArray:
    """Return the greatest similarity of each row, shape (n_rows,); 0 where there is none."""
    if not similarities.shape[1]:
        return np.zeros(similarities.shape[0])
    greatest: FloatArray = similarities.max(axis=1).toarray().ravel()
    return greatest


def enter(
    example: Example,
    cycle: int,
    generation: Generation,
    verdict: str,
    reason: str | None,
) -> SyntheticText:
    """Make the row of ``synthetic_`` for a text of the teacher."""
    request = generation.request
    cost = generation.worth.cost
    label = example.label  # as the teacher wrote it, if the text is refused
    return SyntheticText(
        make_valid(example.text.strip()),
        make_valid(label) if isinstance(label, str) else label,
        cycle,
        request.id,
        verdict,
        reason,
        seed_texts=_find_seeds(request, example.label),
        model=generation.model,
        cost=None if cost is None else cost / (len(generation.examples) + len(generation.refused)),
        source="generated" if isinstance(request, GenerationRequest) else "pool",
        weight=example.weight if verdict == "accepted" else 0.0,
    )


def enter_refused(generation: Generation, cycle: int) -> list[SyntheticText]:
    """Make the rows for texts in an answer that could not be used."""
    return [
        enter(Example(r.text or "", r.label), cycle, generation, "rejected", r.reason)
        for r in generation.refused
    ]


def _find_seeds(request: GenerationRequest | AnnotationRequest, label: Label) -> tuple[str, ...]:
    shown: list[Example | Prediction] = list(request.examples)
    if isinstance(request, GenerationRequest):
        shown += [*request.hard_negatives, *request.wrong, *request.correct]
    return tuple(dict.fromkeys(item.text for item in shown if agree(item.label, label)))


def count_reasons(texts: Iterable[SyntheticText]) -> dict[str, int]:
    """Count the rejected texts by reason."""
    return dict(Counter(t.reason for t in texts if t.verdict == "rejected" and t.reason))
