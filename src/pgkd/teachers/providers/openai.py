"""Any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pgkd.records import Completion, Message
from pgkd.teachers.base import make_seed
from pgkd.teachers.prompts.labelling import is_choice
from pgkd.teachers.transport.batch import (
    Answer,
    Answers,
    BatchAPI,
    BatchTeacher,
    FailedBatchError,
    called_off,
)
from pgkd.teachers.transport.chat_completions import answer_format, read_chat_completion

#: What to send instead of a parameter that a server refuses; ``None``: leave it out.
FALL_BACKS: Mapping[str, str | None] = {
    "max_completion_tokens": "max_tokens",
    "response_format": None,
    "top_logprobs": None,  # models that reason have none
    "logprobs": None,
    "temperature": None,
    "seed": None,
}
#: Asked for with a choice among options: they say how sure the LLM is of each.
LOGPROBS: Mapping[str, Any] = {"logprobs": True, "top_logprobs": 20}


class OpenAIBatches(BatchAPI):
    """OpenAI's Batch API.

    References
    ----------
    https://platform.openai.com/docs/guides/batch
    https://platform.openai.com/docs/api-reference/batch
    """

    endpoint = "/v1/chat/completions"

    async def submit(self, bodies: Mapping[str, Any]) -> str:
        """Upload a file of requests, and begin a batch with it."""
        lines = (
            {"custom_id": key, "method": "POST", "url": self.endpoint, "body": body}
            for key, body in bodies.items()
        )
        content = "\n".join(map(json.dumps, lines)).encode()
        file = {"file": ("requests.jsonl", content, "application/jsonl")}
        uploaded = await self._create("files", data={"purpose": "batch"}, files=file)
        begin = {
            "input_file_id": uploaded["id"],
            "endpoint": self.endpoint,
            "completion_window": "24h",
        }
        return str((await self._create("batches", json=begin))["id"])

    async def poll(self, batch: str, keys: Collection[str]) -> Answers | None:
        """Fetch the file of answers and that of errors when the batch is finished."""
        response = await self._send("GET", f"batches/{batch}")
        if response is None:
            return {}
        document = response.json()
        status = document["status"]
        if status == "failed":
            problems = (document.get("errors") or {}).get("data") or []
            messages = [str(problem.get("message")) for problem in problems]
            raise FailedBatchError(f"OpenAI refused the batch {batch!r}: {messages[:3]}.")
        if status not in ("completed", "expired", "cancelled"):
            return None
        answers = dict.fromkeys(keys, called_off(batch)) if status == "cancelled" else {}
        for name in ("output_file_id", "error_file_id"):
            file = document.get(name)
            for line in await self._read_lines(file and f"files/{file}/content"):
                if (answer := self._read(line)) is not None:
                    answers[line["custom_id"]] = answer
        return answers

    def _read(self, line: Mapping[str, Any]) -> Answer | None:
        if response := line.get("response"):
            return response["status_code"], response["body"]
        error = line.get("error") or {}
        return None if error.get("code") == "batch_expired" else (400, {"error": error})


class OpenAITeacher(BatchTeacher):
    """An LLM behind an OpenAI-compatible chat completions API.

    OpenAI itself and, by `base_url`, vLLM, llama.cpp, Ollama, LM Studio, OpenRouter, Together, Groq
    and others. Answers are held to a JSON schema; where a server refuses one, or another parameter,
    the request is sent again without, and so are the following ones.

    Parameters
    ----------
    model : str
        The model's name on the server.
    base_url : str, default=None
        E.g. ``"http://127.0.0.1:8080/v1"``. ``None``: ``$OPENAI_BASE_URL``, else OpenAI.
    api_key : str, default=None
        ``None``: ``$OPENAI_API_KEY`` when a request is sent. Never shown, logged, pickled or saved.
    temperature : float, default=None
        ``None``: the server's default.
    max_tokens : int, default=None
        Limit of an answer's tokens. ``None``: the server's default.
    timeout : float, default=120
        Seconds that an answer may take, from the request to its last byte.
    max_concurrency : int, default=8
        Requests under way at once; fewer while the server answers that there are too many.
    requests_per_minute : int, default=None
    tokens_per_minute : int or tuple of (int, int), default=None
        Input and output tokens together, or apart.
    max_retries : int, default=5
        Further tries after a rate limit, a server error or a dropped connection. Waits as the
        server asks (``Retry-After``), else exponentially longer.
    price : tuple of float, default=None
        US dollars for a million input and a million output tokens; a third number is the price of
        cached input tokens. ``None``: looked up by genai-prices if that is installed and
        `base_url` is OpenAI's own, else not known.
    extra_body : dict, default=None
        Further parameters of the request, e.g. ``{"reasoning_effort": "low"}``.
    batch : bool, default=False
        Let the provider take its time, a day at most, for half the price: requests are submitted as
        batches. With `run_dir` (or :class:`CachedTeacher`) a batch outlives the process, and the
        same `fit` collects it. The limits of concurrency and rate do not hold for batches.
    poll_interval : float, default=60
        Seconds between two looks at a batch; the first ones are closer together.

    References
    ----------
    https://platform.openai.com/docs/api-reference/chat/create

    Examples
    --------
    >>> from pgkd.teachers import OpenAITeacher
    >>> OpenAITeacher("qwen", base_url="http://127.0.0.1:8080/v1", api_key="secret")
    OpenAITeacher(api_key=Secret('***'), base_url='http://127.0.0.1:8080/v1',
                  model='qwen')
    """

    default_base_url = "https://api.openai.com/v1"
    key_variable = "OPENAI_API_KEY"
    url_variable = "OPENAI_BASE_URL"
    answer_name = "chat completion"
    #: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header: some gateways and
    #: servers know it, others look over it. OpenAI itself publishes none, nor do Anthropic or AWS.
    idempotency_header = "Idempotency-Key"
    batches = OpenAIBatches

    #: 403: "You are not allowed to request logprobs from this model", of OpenAI's that reason.
    refusal_statuses = BatchTeacher.refusal_statuses | {403}

    def _path(self) -> str:
        return "chat/completions"

    def _body(
        self, messages: Sequence[Message], schema: dict[str, Any], left_out: frozenset[str]
    ) -> dict[str, Any]:
        body = {
            "model": self.model,
            "messages": list(messages),
            "response_format": answer_format(schema),
            "temperature": self.temperature,
            "max_completion_tokens": self.max_tokens,
            # The same request gets the same answer again, where the server can do so.
            "seed": make_seed(messages),
            **(self.extra_body or {}),
        }
        if is_choice(schema) and left_out.isdisjoint(LOGPROBS):
            body = {**LOGPROBS, **body}
        for name in left_out & body.keys():
            value = body.pop(name)
            if (other := FALL_BACKS[name]) is not None:
                body[other] = value
        return {name: value for name, value in body.items() if value is not None}

    def _find_refused(
        self, text: str, body: Mapping[str, Any], left_out: frozenset[str]
    ) -> str | None:
        text = text.lower()  # Gemini writes "Logprobs"
        return next((name for name in FALL_BACKS if name in body and name in text), None)

    def _read(self, body: Any) -> tuple[Completion, str | None]:
        return read_chat_completion(body)
