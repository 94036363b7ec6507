"""Static embeddings: each token has a vector, and a text's is their mean. No torch, no graph."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgkd.system.artefacts import check_archive

FloatVectors = NDArray[np.float32]

#: Of a text, so many characters for each token that may be read are given to the tokenizer.
CHARACTERS_PER_TOKEN = 16
#: A pattern that no text matches.
NONE = "(?!)"
#: Characters of the words whose tokens are remembered: about 20 MB.
MEMORY = 500_000


class StaticEmbedding:
    """The mean of the vectors of a text's tokens, scaled to length 1. Threads may share it.

    Parameters
    ----------
    vectors : array of shape (n_tokens, n_dimensions)
        A row for each token of the tokenizer.
    tokenizer : tokenizers.Tokenizer
        It is set up here: no padding, no special tokens.
    max_length : int
        Tokens of a text that are read.
    """

    def __init__(self, vectors: NDArray[Any], tokenizer: Any, max_length: int) -> None:
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.tokenizer = tokenizer
        self.max_length = max_length
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        setup = json.loads(tokenizer.to_str())
        self._unknown = _find_unknown(setup["model"])
        self._whole = _find_whole(setup)
        self._words: dict[str, list[int]] = {}
        self._n_characters = 0

    def embed(self, texts: Sequence[str]) -> FloatVectors:
        """Return the embeddings, shape (n_texts, n_dimensions): zeros for one without tokens."""
        embeddings = np.zeros((len(texts), self.vectors.shape[1]), dtype=np.float32)
        for tokens, row in zip(self.tokenize(texts), embeddings):
            if tokens:
                np.add.reduce(self.vectors.take(tokens, axis=0), axis=0, out=row)
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        embeddings /= np.where(norms > 0, norms, 1)
        return embeddings

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the numbers of each text's tokens, without those of unknown words."""
        texts = [text[: CHARACTERS_PER_TOKEN * self.max_length] for text in texts]
        rows = self._encode(texts) if self._whole is None else self._join_words(texts, self._whole)
        if self._unknown is None:
            return rows
        return [
            [token for token in row if token != self._unknown] if self._unknown in row else row
            for row in rows
        ]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _join_words(self, texts: Sequence[str], whole: re.Pattern[str]) -> list[list[int]]:
        """Put the tokens of words together, each of which is tokenised once: ten times as fast."""
        if self._n_characters > MEMORY:
            self._words, self._n_characters = {}, 0
        known = self._words  # which stays whole, if another thread begins a new one
        split = [[text] if whole.search(text) else text.split(" ") for text in texts]
        new = list({word for words in split for word in words if word not in known})
        known.update(zip(new, self._encode(new)))
        self._n_characters += sum(map(len, new))
        rows = []
        for words in split:
            row: list[int] = []
            for word in words:
                row += known[word]
            rows.append(row[: self.max_length])
        return rows

    def __reduce__(self) -> tuple[Any, ...]:
        return StaticEmbedding, (self.vectors, self.tokenizer, self.max_length)


def _find_unknown(model: dict[str, Any]) -> int | None:
    """Return the token of what is not in the vocabulary, of which a mean had better not know."""
    if model.get("unk_id") is not None:  # Unigram's
        return int(model["unk_id"])
    vocabulary = model.get("vocab")
    found = vocabulary.get(model.get("unk_token")) if isinstance(vocabulary, dict) else None
    return None if found is None else int(found)


def _find_whole(setup: dict[str, Any]) -> re.Pattern[str] | None:
    """Return what a text has in it if its tokens are not those of its words, put together.

    Parameters
    ----------
    setup : dict
        Of the tokenizer. BERT's and Llama's are known to read words by themselves, all of them or
        most; ``None`` for any other.
    """
    added = [token["content"] for token in setup["added_tokens"]]
    match setup["normalizer"], setup["pre_tokenizer"], setup["model"]:
        case {"type": "BertNormalizer"}, {"type": "BertPreTokenizer"}, _:
            return re.compile("|".join(re.escape(token) for token in added if " " in token) or NONE)
        case {"normalizers": [{"prepend": "▁"}, {"content": "▁"}]}, None, {"type": "BPE"} as model:
            # ▁ is written for a space. A word begins there, unless some token goes on behind it.
            if any("▁" in token.lstrip("▁") for token in model["vocab"]):
                return None
            return re.compile("|".join([r"\A | \Z|  |▁", *map(re.escape, added)]))
    return None


def shrink(vectors: FloatVectors) -> NDArray[Any]:
    """Return the vectors in half the bytes, if that changes none of them."""
    with np.errstate(over="ignore"):
        half = vectors.astype(np.float16)
    return half if (half == vectors).all() else vectors


def write_static(
    path: Path, embedding: StaticEmbedding, weights: FloatVectors, bias: FloatVectors
) -> None:
    """Write what `open_static` reads, but the tokenizer: arrays and no pickle.

    Parameters
    ----------
    path : Path
    embedding : StaticEmbedding
    weights, bias : array
        Of a linear head: shapes (n_classes, n_dimensions) and (n_classes,).
    """
    np.savez(path, vectors=shrink(embedding.vectors), weights=weights, bias=bias)


def check_vectors(vectors: NDArray[Any], tokenizer: Any) -> None:
    """Refuse vectors that are none, or are not there for each token.

    Raises
    ------
    ValueError
    """
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError("it has vectors that are no numbers")
    last = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if last >= len(vectors):
        raise ValueError(f"it has {len(vectors)} vectors, and token {last}")


def open_static(
    path: Path, tokenizer: Any, max_length: int, *, multilabel: bool = False
) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    """Return what gives the probabilities of texts, of shape (n_texts, n_classes).

    With several labels a text, each label has its own; else, each row sums to 1.
    """
    check_archive(path)
    with np.load(path, allow_pickle=False) as arrays:
        vectors, weights, bias = (arrays[name] for name in ("vectors", "weights", "bias"))
    check_vectors(vectors, tokenizer)
    if weights.shape != (*bias.shape, vectors.shape[1]) or not (
        np.isfinite(weights).all() and np.isfinite(bias).all()
    ):
        raise ValueError("its head has what is no number, or of another shape than its vectors")
    embedding = StaticEmbedding(vectors, tokenizer, max_length)
    weights = weights.T

    def predict_proba(texts: Sequence[str]) -> NDArray[np.float64]:
        logits = (embedding.embed(texts) @ weights + bias).astype(np.float64)
        if multilabel:
            return np.asarray(0.5 + 0.5 * np.tanh(logits / 2))  # the sigmoid, without overflow
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
        return probabilities

    return predict_proba
