"""Pretrained models: where they come from, where they run, and what they may not change."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from huggingface_hub import HfApi
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from numpy.typing import NDArray
from transformers import AutoTokenizer
from transformers.utils import logging

from pgkd.exceptions import ModelNotFoundError, StudentError
from pgkd.system.artefacts import check_pretrained

#: Seconds in which the hub has to answer at all.
HUB_TIMEOUT = 10.0

_globals_lock = threading.RLock()


@dataclass(frozen=True)
class Graph:
    """How a student gets from texts to logits: what `export` writes as one graph.

    Attributes
    ----------
    compute : callable
        ``compute(model, batch)`` returns the logits, a tensor of shape (n_texts, n_classes), of
        which the probabilities are the softmax, unless `multilabel`.
    model, tokenizer
        As `load_pretrained` returns them.
    max_length : int
        Tokens of a text that are read, or the tokenizer's limit if that is less.
    multilabel : bool
        Whether the probabilities are the logits' sigmoid, each by itself.
    """

    compute: Callable[[Any, Any], torch.Tensor]
    model: Any
    tokenizer: Any
    max_length: int
    multilabel: bool = False


def load_pretrained(
    auto_class: Any,
    name: str | os.PathLike[str],
    *,
    without_hub: str = "take a student without a hub: StaticStudent('wordllama'), or a "
    "TfidfVectorizer before a linear model",
    **options: Any,
) -> tuple[Any, Any]:
    """Load a model, in float32 unless `options` have a ``torch_dtype``, and its tokenizer.

    Parameters
    ----------
    auto_class : class
        E.g. ``transformers.AutoModel``.
    name : str or path
        A directory, or an id on the hub. What the hub's cache has is not downloaded again.
    without_hub : str
        What the error says that needs no hub.
    **options
        Further arguments of ``auto_class.from_pretrained``.

    Returns
    -------
    model, tokenizer

    Raises
    ------
    ModelNotFoundError
        If `name` is neither a directory with a saved model nor reachable on the hub.
    StudentError
        If the model is there and is of no use.

    References
    ----------
    https://huggingface.co/docs/transformers/model_doc/auto
    """
    name = os.fspath(name)
    with preserve_globals():
        try:
            return _load(auto_class, name, local_files_only=True, **options)
        except Exception as error:
            if os.path.isdir(name):
                raise _translate(error, name) from error
            # A model that the cache lacks is an OSError, and says no more than the message.
            cause = None if isinstance(error, OSError) else error
        try:
            # One request without retries: `from_pretrained` would try for minutes.
            HfApi().model_info(name, timeout=HUB_TIMEOUT)
            return _load(auto_class, name, **options)
        except Exception as error:  # of the network, whose tracebacks are long
            raise _translate(error, name, without_hub) from cause


def load_saved(auto_class: Any, directory: Path) -> tuple[Any, Any]:
    """Load what `save_pretrained` wrote: all of it, and nothing else.

    Parameters
    ----------
    auto_class : class
    directory : Path

    Returns
    -------
    model, tokenizer

    Raises
    ------
    PersistenceError
        If it names anything outside of the directory.
    StudentError
        If weights are missing, foreign, of another shape or no numbers.
    Exception
        Whatever transformers raises of damaged files.
    """
    check_pretrained(directory)
    info: dict[str, Any] = {}
    with preserve_globals():
        model, tokenizer = _load(
            auto_class, str(directory), local_files_only=True, info=info, use_safetensors=True
        )
    if odd := {kind: sorted(map(str, own))[:3] for kind, own in info.items() if own}:
        raise StudentError(f"its weights are not those of its model: {odd}")
    if not all(weight.isfinite().all() for weight in model.parameters()):
        raise StudentError("it has weights that are no numbers")
    return model, tokenizer


def _load(
    auto_class: Any,
    name: str,
    *,
    local_files_only: bool = False,
    info: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    # Where peft is installed, transformers looks for adapters, on the hub unless told otherwise.
    local: dict[str, Any] = {"local_files_only": local_files_only}
    options = {"adapter_kwargs": dict(local), **options}
    local["trust_remote_code"] = False  # else it would ask at the terminal
    model, found = auto_class.from_pretrained(name, **local, output_loading_info=True, **options)
    if info is not None:
        info.update(found)
    tokenizer = AutoTokenizer.from_pretrained(name, **local)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError("its tokenizer has neither a padding nor an end token")
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    # Not every tokenizer knows the limit of its model.
    if (limit := getattr(model.config, "max_position_embeddings", None) or 0) > 0:
        tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return (model if "torch_dtype" in options else model.float()), tokenizer


def save_pretrained(model: Any, tokenizer: Any, directory: Path) -> None:
    """Write what `load_pretrained` reads: safetensors and JSON."""
    with preserve_globals():
        model.save_pretrained(directory)
    save_tokenizer(tokenizer, directory)


def save_tokenizer(tokenizer: Any, directory: Path) -> None:
    """Write a tokenizer that transformers 4 and 5 read."""
    with preserve_globals():
        tokenizer.save_pretrained(directory)
    file = directory / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":  # unknown before transformers 5
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        file.write_text(json.dumps(config, ensure_ascii=False, indent=1), encoding="utf-8")


def _translate(error: Exception, name: str, without_hub: str = "") -> StudentError:
    reason = f"{type(error).__name__}: {str(error).strip()[:300]}"
    if without_hub:
        return ModelNotFoundError(
            f"The model {name!r} is no directory, is not in the hub's cache and cannot be had from "
            f"the hub ({reason}). Pass a local directory with a saved model, e.g. "
            f"model='models/minilm', check the name and the network, or {without_hub}."
        )
    if isinstance(error, OSError) or not os.path.exists(os.path.join(name, "config.json")):
        return ModelNotFoundError(
            f"The directory {name!r} has no complete model ({reason}). Pass one that was written "
            "by `save_pretrained` of both model and tokenizer: config.json, model.safetensors, "
            "tokenizer.json."
        )
    return StudentError(
        f"The model {name!r} cannot be used ({reason}). Pass an encoder with its tokenizer, e.g. "
        "model='bert-base-uncased'."
    )


def available_devices() -> list[str]:
    """Name the kinds of device that torch can use here, the fastest first."""
    backends = {"cuda": torch.cuda, "mps": torch.backends.mps}
    return [name for name, backend in backends.items() if backend.is_available()] + ["cpu"]


def pick_device(wanted: str | None) -> str:
    """Return the wanted device, or the fastest one if it is not here.

    A student trained on a GPU then also predicts where there is none.
    """
    available = available_devices()
    return wanted if wanted in available else available[0]


def has_fast_bf16(device: str) -> bool:
    """Whether bfloat16 is faster than float32 on this device, not merely emulated."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    known = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return device == "cpu" and any(getattr(torch.cpu, name, bool)() for name in known)


def tokenize(tokenizer: Any, texts: Sequence[str], max_length: int) -> Any:
    """Return tensors of shape (n_texts, tokens of the longest text)."""
    encoded = tokenizer(
        texts,
        padding=True,
        truncation=True,
        max_length=min(max_length, tokenizer.model_max_length),
        return_tensors="pt",
    )
    if encoded["input_ids"].shape[1]:
        return encoded
    # Empty texts have no token if a tokenizer marks neither beginning nor end, as GPT-2's and
    # Qwen's do not. Models need one: that of padding.
    return tokenizer(texts, padding="max_length", max_length=1, return_tensors="pt")


def run_in_batches(
    compute: Callable[[Any, Any], torch.Tensor],
    model: Any,
    read_batch: Callable[[list[str]], Any],
    texts: Sequence[str],
    *,
    batch_size: int,
    device: str,
) -> NDArray[np.float32]:
    """Return the rows that ``compute(model, batch)`` gives for `texts`, in their order.

    `read_batch` makes tensors of texts, as `tokenize` does. Texts of like length share a batch, so
    that little of it is padding.
    """
    survive_forks()
    # Both walk through all modules, which a single text would feel.
    if next(model.parameters()).device.type != device:
        model.to(device)
    if model.training:
        model.eval()
    # The longest first: if memory is too small, it shows at once.
    order = np.argsort([-len(text) for text in texts], kind="stable")
    parts = []
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            batch = read_batch([texts[i] for i in order[start : start + batch_size]]).to(device)
            parts.append(compute(model, batch).float().cpu().numpy())
    in_order: NDArray[np.float32] = np.concatenate(parts)[np.argsort(order)]
    return in_order


@cache
def survive_forks() -> None:
    """Let torch compute in one thread in processes that are forked from now on.

    A fork has none of the threads that torch began for its parent, and would wait for them for
    ever. PyTorch does the same for the workers of its DataLoader.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


@contextmanager
def preserve_globals() -> Iterator[None]:
    """Silence transformers and, at the end, put back what it changes in the whole process.

    These are its log level and progress bars, the states of the random generators, and accelerate's
    state and environment variables. Only one thread at a time may be inside.
    """
    survive_forks()
    with _globals_lock, ExitStack() as at_exit:
        at_exit.callback(random.setstate, random.getstate())
        at_exit.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        at_exit.callback(torch.set_rng_state, torch.get_rng_state())
        if torch.cuda.is_available():
            at_exit.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        if torch.backends.mps.is_available():
            at_exit.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
        at_exit.callback(_set_accelerate_variables, _get_accelerate_variables())
        for state in (PartialState, AcceleratorState, GradientState):  # singletons
            at_exit.callback(_set_items, state._shared_state, dict(state._shared_state))
        at_exit.callback(logging.set_verbosity, logging.get_verbosity())
        at_exit.callback(
            disable_progress_bars if are_progress_bars_disabled() else enable_progress_bars
        )
        if logging.is_progress_bar_enabled():
            at_exit.callback(logging.enable_progress_bar)  # the hub's as well, hence before it
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        yield


def _set_items(shared: dict[str, Any], items: dict[str, Any]) -> None:
    shared.clear()
    shared.update(items)


def _get_accelerate_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("ACCELERATE_")}


def _set_accelerate_variables(variables: dict[str, str]) -> None:
    for name in _get_accelerate_variables().keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)
