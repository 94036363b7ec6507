"""Texts as tokens: each is tokenised once in a process, however many students read it."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import DataCollatorWithPadding

from pgkd.students._cache import TextCache, identify

#: What the tokenizer makes of a text: "input_ids", "attention_mask" and the like.
Tokens = dict[str, NDArray[np.int32]]


class TextReader:
    """A tokenizer that remembers.

    Parameters
    ----------
    tokenizer
        As `load_pretrained` returns it.
    max_length : int
        Tokens of a text that are read, or the tokenizer's limit if that is less.
    cache : TextCache, default=None
        Shared with other readers of the same tokenizer and length. ``None``: its own.
    """

    def __init__(
        self, tokenizer: Any, max_length: int, cache: TextCache[Tokens] | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = min(max_length, tokenizer.model_max_length)
        self._cache = TextCache[Tokens]() if cache is None else cache

    def read(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text."""
        return self._cache.get(texts, self._tokenize)

    def read_batch(self, texts: Sequence[str]) -> Any:
        """Return tensors of shape (n_texts, tokens of the longest text)."""
        return DataCollatorWithPadding(self.tokenizer)(self.read(texts))

    def _tokenize(self, texts: list[str]) -> list[Tokens]:
        encoded = self.tokenizer(texts, truncation=True, max_length=self.max_length)
        found = [
            {name: np.array(encoded[name][i], dtype=np.int32) for name in encoded}
            for i in range(len(texts))
        ]
        for tokens in found:
            if not len(tokens["input_ids"]):  # as in `tokenize`
                padding = self.tokenizer("", padding="max_length", max_length=1)
                tokens.update({name: np.array(padding[name], dtype=np.int32) for name in tokens})
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> TextReader:
        return TextReader(copy.deepcopy(self.tokenizer, memo), self.max_length, self._cache)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the cache."""
        return TextReader, (self.tokenizer, self.max_length)


def get_reader(name: str | os.PathLike[str], tokenizer: Any, max_length: int) -> TextReader:
    """Return a reader that shares its cache with all those of this model and length."""
    return TextReader(tokenizer, max_length, _get_cache(*identify(name), max_length))


@lru_cache(maxsize=2)
def _get_cache(name: str, stamp: int, max_length: int) -> TextCache[Tokens]:
    return TextCache()
