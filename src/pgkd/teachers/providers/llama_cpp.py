"""A chat model that llama.cpp runs in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joblib import cpu_count  # type: ignore[import-untyped]

from pgkd.exceptions import TeacherError, TeacherRequestError
from pgkd.records import Completion, Message, Usage
from pgkd.teachers.transport.chat_completions import answer_format

try:
    import xllamacpp  # type: ignore[import-untyped]
except ImportError as error:
    raise TeacherError(
        "LocalTeacher runs .gguf files by llama.cpp, which is not installed: "
        'pip install "pgkd[llama]"'
    ) from error


class LlamaCpp:
    """A GGUF model. Threads that ask it at the same time are served together.

    Parameters
    ----------
    path : str
    n_slots : int
        Requests that are served together; more of them wait.
    context_length : int
        Tokens that a prompt and its answer may have together.
    n_threads : int or None
        ``None``: as many as there are CPUs for this process.
    """

    def __init__(self, path: str, n_slots: int, context_length: int, n_threads: int | None) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = path
        params.n_parallel = n_slots
        params.n_ctx = n_slots * context_length
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads or cpu_count()
        params.cache_ram_mib = 0  # else old prompts are kept, in up to 8 GB
        params.verbosity = 1  # errors
        # The server listens on a port, though it is not asked there.
        params.hostnames, params.port, params.offline = ["127.0.0.1"], 0, True
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise TeacherError(
                f"llama.cpp cannot load {path!r}; its own messages are above. Is it a whole GGUF "
                f"file? Is there memory for {n_slots} requests of {context_length} tokens each? If "
                "not, lower `batch_size` or `context_length`."
            ) from error

    def answer(
        self,
        chat: Sequence[Message],
        schema: dict[str, Any],
        seed: int,
        *,
        temperature: float | None,
        max_tokens: int,
    ) -> Completion:
        """Answer a chat, held to `schema`."""
        body = {
            "messages": list(chat),
            "response_format": answer_format(schema),
            "seed": seed,
            "max_tokens": max_tokens,
            "chat_template_kwargs": {"enable_thinking": False},
            **({} if temperature is None else {"temperature": temperature}),
        }
        answer = self._server.handle_chat_completions(body)
        if "choices" not in answer:
            message = answer.get("error", answer).get("message")
            raise TeacherRequestError(f"llama.cpp refused the request: {message}")
        choice, usage = answer["choices"][0], answer["usage"]
        return Completion(
            choice["message"]["content"] or "",
            Usage(1, usage["prompt_tokens"], usage["completion_tokens"], cost=None),
            truncated=choice["finish_reason"] == "length",
        )
