"""An LLM in this process: no server, no key, no bill."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio.to_thread

from pgkd.exceptions import InvalidInputError, TeacherError
from pgkd.records import HERE, Completion, Message
from pgkd.teachers.base import AsyncComplete, LLMTeacher, make_seed
from pgkd.teachers.parameters import MODEL, TEMPERATURE, TEXT, Rule, at_least
from pgkd.teachers.transport.gathering import Gatherer

#: Seconds in which a further request may come to be served with the others.
MOMENT = 0.05

_loaded: dict[tuple[Any, ...], Any] = {}
_load_lock = threading.Lock()


class LocalTeacher(LLMTeacher):
    """An LLM that runs in this process, by transformers or, as a .gguf file, by llama.cpp.

    The model is loaded when it is first asked, once for all teachers of the process with the same
    model and options, clones among them. It stays in memory until another one is loaded.

    transformers runs it on a GPU if there is one, in bfloat16 where the hardware has that; it
    cannot hold answers to a schema, so those that are broken are salvaged and asked for again.
    llama.cpp can.

    Parameters
    ----------
    model : str or path
        A directory that was written by ``save_pretrained`` of model and tokenizer, an id on the
        hub, or the path of a .gguf file. It must be a chat model.
    temperature : float, default=None
        ``None``: what the model's authors recommend. 0: always the likeliest token.
    max_tokens : int, default=1024
        Limit of an answer's tokens.
    context_length : int, default=4096
        Tokens that a prompt and its answer may have together, if the model has no lower limit.
        llama.cpp takes memory for `batch_size` times as many.
    batch_size : int, default=8
        Requests that are served together.
    device : {"cuda", "mps", "cpu"}, default=None
        Where transformers runs the model. ``None``: the fastest there is.
    n_threads : int, default=None
        Threads of llama.cpp. ``None``: as many as there are CPUs for this process.
    random_state : int, default=0
        The same request gets the same answer again, whatever shares its batch. (Nearly: sums of
        other sizes are rounded in other ways, which may tip the balance between two tokens.)

    References
    ----------
    https://huggingface.co/docs/transformers/llm_tutorial
    https://github.com/xorbitsai/xllamacpp

    Examples
    --------
    >>> from pgkd.teachers import LocalTeacher
    >>> LocalTeacher("Qwen/Qwen2.5-1.5B-Instruct", batch_size=16)
    LocalTeacher(batch_size=16, model='Qwen/Qwen2.5-1.5B-Instruct')
    """

    price = (0.0, 0.0)

    _without_effect = LLMTeacher._without_effect | {
        "batch_size",
        "context_length",
        "device",
        "n_threads",
    }

    _rules: ClassVar[dict[str, Rule]] = {
        "batch_size": at_least(1),
        **LLMTeacher._rules,
        "model": MODEL,
        "temperature": TEMPERATURE,
        "max_tokens": at_least(1),
        "context_length": at_least(1),
        "device": TEXT.or_none("the fastest there is"),
        "n_threads": at_least(1).or_none("as many as there are CPUs"),
        "random_state": at_least(0),
    }

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        temperature: float | None = None,
        max_tokens: int = 1024,
        context_length: int = 4096,
        batch_size: int = 8,
        device: str | None = None,
        n_threads: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.context_length = context_length
        self.batch_size = batch_size
        self.device = device
        self.n_threads = n_threads
        self.random_state = random_state

    @property
    def max_concurrency(self) -> int:  # type: ignore[override]
        """As many as are served together."""
        return self.batch_size

    @property
    def destination(self) -> str:
        """Here: this machine."""
        return HERE

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if there is no such file, or nothing to run it with."""
        super().check_ready(max_cost)
        if self._is_gguf():
            if not Path(self.model).exists():
                raise InvalidInputError(f"There is no file {str(self.model)!r}: check `model`.")
            from pgkd.teachers.providers import llama_cpp  # noqa: F401

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncComplete]:
        """Load the model, unless it is, and yield ``await complete(messages, schema)``."""
        model = await anyio.to_thread.run_sync(self._load)
        yield self._ask_one_by_one(model) if self._is_gguf() else self._ask_in_batches(model)

    def _ask_one_by_one(self, model: Any) -> AsyncComplete:
        """Ask llama.cpp, which puts together by itself what comes at the same time."""
        limiter = anyio.CapacityLimiter(self.batch_size)

        async def complete(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
            answer = partial(
                model.answer, messages, schema, self._seed(messages), **self._sampling()
            )
            return await anyio.to_thread.run_sync(answer, limiter=limiter, abandon_on_cancel=True)

        return complete

    def _ask_in_batches(self, model: Any) -> AsyncComplete:
        async def serve(chats: list[Sequence[Message]]) -> list[Completion | TeacherError]:
            answer = partial(model.answer, chats, list(map(self._seed, chats)), **self._sampling())
            return await anyio.to_thread.run_sync(answer, abandon_on_cancel=True)

        gatherer = Gatherer(serve, self.batch_size, MOMENT)

        async def complete(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
            return await gatherer.ask(messages)

        return complete

    def _is_gguf(self) -> bool:
        return os.fspath(self.model).endswith(".gguf")

    def _sampling(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "max_tokens": self.max_tokens}

    def _seed(self, messages: Sequence[Message]) -> int:
        return make_seed((messages, self.random_state))

    def _load(self) -> Any:
        """Return the model that all teachers like this one share."""
        kind: Callable[..., Any]
        options: tuple[Any, ...]
        if self._is_gguf():
            from pgkd.teachers.providers.llama_cpp import LlamaCpp

            kind, options = LlamaCpp, (self.batch_size, self.context_length, self.n_threads)
        else:
            from pgkd.teachers.providers.causal_lm import CausalLM

            kind, options = CausalLM, (self.device, self.context_length)
        process = os.getpid()  # the threads and the GPU of a model do not outlive a fork
        key = (process, Path(self.model).resolve(), *options)
        with _load_lock:
            if key not in _loaded:
                for other in [k for k in _loaded if k[0] == process]:
                    del _loaded[other]  # before the next one needs the memory
                _loaded[key] = kind(os.fspath(self.model), *options)
            return _loaded[key]
