"""A frozen encoder that embeds each text once in a process, however many students ask for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from pgkd.exceptions import StudentError
from pgkd.students._cache import TextCache, identify
from pgkd.system.pretrained import (
    load_pretrained,
    load_saved,
    pick_device,
    run_in_batches,
    save_pretrained,
    tokenize,
)

#: Encoders kept for students to come. One in use by a fitted student is kept by that.
N_ENCODERS = 2

_load_lock = threading.Lock()


class Encoder:
    """Mean of a model's token vectors, scaled to length 1.

    Parameters
    ----------
    model, tokenizer
        As `load_pretrained` returns them.
    max_length : int
        Tokens of a text that are read.
    """

    def __init__(self, model: Any, tokenizer: Any, max_length: int) -> None:
        if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
            raise StudentError(
                f"The model {model.config.name_or_path!r} has a decoder, which gives no embedding "
                "of a text. Pass an encoder, e.g. model='sentence-transformers/all-MiniLM-L6-v2'."
            )
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._cache = TextCache[NDArray[np.float32]]()

    def encode(self, texts: Sequence[str], batch_size: int) -> NDArray[np.float32]:
        """Return the embeddings, shape (n_texts, n_dimensions); those known are not computed."""
        return np.stack(
            self._cache.get(
                texts,
                lambda new: map(np.copy, self._embed(new, batch_size)),  # views keep all alive
            )
        )

    def _embed(self, texts: list[str], batch_size: int) -> NDArray[np.float32]:
        return run_in_batches(
            pool,
            self.model,
            partial(tokenize, self.tokenizer, max_length=self.max_length),
            texts,
            batch_size=batch_size,
            device=pick_device(None),
        )

    def save(self, directory: Path) -> None:
        """Write what `read_encoder` reads."""
        save_pretrained(self.model, self.tokenizer, directory)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the weights on the CPU, for machines without this one's GPU; not the cache."""
        return Encoder, (self.model.to("cpu"), self.tokenizer, self.max_length)


def pool(model: Any, batch: Any) -> torch.Tensor:
    """Average over the tokens that are no padding, and scale to length 1."""
    tokens = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).to(tokens.dtype)
    mean = (tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return torch.nn.functional.normalize(mean, dim=1)


def make_encoder(name: str | os.PathLike[str], max_length: int) -> Encoder:
    """Load an encoder from a directory or the hub."""
    return Encoder(*load_pretrained(AutoModel, name), max_length)


def read_encoder(directory: Path, max_length: int) -> Encoder:
    """Load what `Encoder.save` wrote."""
    return Encoder(*load_saved(AutoModel, directory), max_length)


def get_encoder(
    name: str | os.PathLike[str],
    max_length: int,
    make: Callable[[str, int], Encoder] = make_encoder,
) -> Encoder:
    """Return the encoder that all students of this process share."""
    with _load_lock:  # two threads must not load it twice
        return _get_encoder(make, *identify(name), max_length)


@lru_cache(maxsize=N_ENCODERS)
def _get_encoder(
    make: Callable[[str, int], Encoder], name: str, stamp: int, max_length: int
) -> Encoder:
    return make(name, max_length)
