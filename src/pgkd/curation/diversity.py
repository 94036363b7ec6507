"""How different from each other the texts of a class are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from pgkd.curation.curator import vectorize
from pgkd.inputs.text import fold_text
from pgkd.records import ClassDiversity, Diversity, Label, labels_of

#: Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)


def measure_diversity(texts: Sequence[str], labels: Sequence[Label]) -> Diversity | None:
    """Measure the diversity of texts within their classes.

    Parameters
    ----------
    texts : sequence of str, of length n_texts
    labels : sequence of labels, of length n_texts

    Returns
    -------
    diversity : Diversity or None
        ``None`` if no class has two texts.

    References
    ----------
    Distinct-n is that of Li et al. 2016, https://arxiv.org/abs/1510.03055, section 5.2.

    Examples
    --------
    >>> from pgkd.curation.diversity import measure_diversity
    >>> texts = ["my card", "my card", "a pin", "new code"]
    >>> diversity = measure_diversity(texts, ["card", "card", "pin", "pin"])
    >>> diversity.distinct_1, round(diversity.similarity, 3)
    (0.75, 0.5)
    >>> diversity.classes["pin"].distinct_1
    1.0
    """
    classes: dict[Label, list[int]] = {}
    for i, label in enumerate(labels):
        for own in labels_of(label):
            classes.setdefault(own, []).append(i)
    words, vectors = [_split(text) for text in texts], vectorize(texts)
    measured = {
        label: ClassDiversity(
            len(rows),
            _distinct(own := [words[i] for i in rows], 1),
            _distinct(own, 2),
            _similarity(vectors[rows]),
        )
        for label, rows in classes.items()
        if len(rows) > 1
    }
    if not measured:
        return None
    _, distinct_1, distinct_2, similarity = np.mean(list(measured.values()), axis=0).tolist()
    return Diversity(distinct_1, distinct_2, similarity, measured)


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """Different n-grams as a share of all; 1 if there are none, since none is repeated."""
    ngrams = [ngram for words in texts for ngram in zip(*(words[i:] for i in range(n)))]
    return len(set(ngrams)) / len(ngrams) if ngrams else 1.0


def _split(text: str) -> list[str]:
    return [part for word in text.split() for part in _split_word(fold_text(word))]


def _split_word(word: str) -> Iterator[str]:
    if _SPACELESS.search(word):
        yield from word
    elif word:
        yield word


def _similarity(vectors: csr_matrix) -> float:
    """Mean cosine of two different texts: that of all pairs is the square of the sum."""
    n = vectors.shape[0]
    _, columns = np.unique(vectors.indices, return_inverse=True)  # most are empty
    total = np.bincount(columns, weights=vectors.data)
    return float((np.square(total).sum() - np.square(vectors.data).sum()) / (n * (n - 1)))
