"""A graph and its tokenizer: from texts to probabilities, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgkd.export.engines import Batch, Engine, open_engine

#: Texts that the engines are timed with.
SAMPLE = ["where is the parcel that I ordered last week, and why does nobody answer?"] * 8

#: The numbers of a text's tokens, and of their types, shape (2, n_tokens).
Tokens = NDArray[np.int32]


class GraphPredictor:
    """A graph that an engine runs. Threads may share it.

    Parameters
    ----------
    path : Path
        Of the graph.
    tokenizer : tokenizers.Tokenizer
        It is set up here: no padding, which is done batch by batch.
    engine, precision, n_threads
        As in `open_engine`.
    n_classes : int
        Columns of the graph's output.
    batch_size : int
        Texts computed at once.
    """

    def __init__(
        self,
        path: Path,
        tokenizer: Any,
        engine: str,
        precision: str,
        *,
        n_classes: int,
        batch_size: int,
        n_threads: int | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._padding: dict[str, Any] = dict(tokenizer.padding or {})
        self._n_classes, self._batch_size = n_classes, batch_size
        tokenizer.no_padding()
        self.engine = open_engine(path, engine, precision, n_threads, self._make_sample)

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the graph's probabilities, shape (n_texts, n_classes)."""
        encodings = self.encode(texts)
        # The longest first: if memory is too small, it shows at once.
        order = np.argsort([-encoding.shape[1] for encoding in encodings], kind="stable")
        found = np.empty((len(texts), self._n_classes))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            batch = self._pad([encodings[i] for i in rows], self.engine.inputs)
            found[rows] = self.engine.run(batch)
        return found

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenize a batch at a time: the tokenizer also keeps what it cuts off."""
        return [
            np.array([encoding.ids, encoding.type_ids], dtype=np.int32)
            for start in range(0, len(texts), self._batch_size)
            for encoding in self._tokenizer.encode_batch(texts[start : start + self._batch_size])
        ]

    def _make_sample(self, engine: Engine) -> Batch:
        return self._pad(self.encode(SAMPLE), engine.inputs)

    def _pad(self, encodings: Sequence[Tokens], inputs: Sequence[str]) -> Batch:
        """Make the graph's inputs, each of shape (n_texts, n_tokens of the longest)."""
        shape = (len(encodings), max(1, *(encoding.shape[1] for encoding in encodings)))
        fillings = {
            "input_ids": self._padding["pad_id"],
            "attention_mask": 0,
            "token_type_ids": self._padding["pad_type_id"],
        }
        batch = {name: np.full(shape, fillings[name], dtype=np.int64) for name in inputs}
        for i, encoding in enumerate(encodings):
            n = encoding.shape[1]
            place = slice(shape[1] - n, None) if self._padding["direction"] == "left" else slice(n)
            values = {
                "input_ids": encoding[0],
                "attention_mask": 1,
                "token_type_ids": encoding[1],
            }
            for name in inputs:
                batch[name][i, place] = values[name]
        return batch
