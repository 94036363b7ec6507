"""Any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from pgkd.exceptions import TeacherRequestError
from pgkd.inputs.text import make_valid
from pgkd.records import Completion, Message, Usage
from pgkd.system.secret import Secret
from pgkd.teachers.prompts.labelling import is_choice
from pgkd.teachers.transport.batch import BatchTeacher
from pgkd.teachers.transport.batch_api import OpenAIBatches
from pgkd.teachers.transport.http import unreadable

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
        Seconds to wait for an answer to begin or go on.
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
    batches = OpenAIBatches

    #: 403: "You are not allowed to request logprobs from this model", of OpenAI's that reason.
    refusal_statuses = BatchTeacher.refusal_statuses | {403}

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | Secret | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float = 120.0,
        max_concurrency: int = 8,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | tuple[int, int] | None = None,
        max_retries: int = 5,
        price: tuple[float, ...] | None = None,
        extra_body: dict[str, Any] | None = None,
        batch: bool = False,
        poll_interval: float = 60.0,
    ) -> None:
        self.model = model
        self.base_url = base_url
        self.api_key = Secret.wrap(api_key)
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.timeout = timeout
        self.max_concurrency = max_concurrency
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.max_retries = max_retries
        self.price = price
        self.extra_body = extra_body
        self.batch = batch
        self.poll_interval = poll_interval

    def _headers(self, key: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

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
            "seed": zlib.crc32(repr(messages).encode()) >> 1,
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

    def _read_answer(self, response: httpx.Response) -> Completion:
        return read_answer(response, self.cost)


def answer_format(schema: dict[str, Any]) -> dict[str, Any]:
    """Demand an answer that keeps to a JSON schema."""
    named = {"name": "texts", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def read_answer(response: httpx.Response, cost: Callable[[Usage], float | None]) -> Completion:
    """Read a chat completion."""
    try:
        body = response.json()
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise unreadable("chat completion", response) from error
    counts = body.get("usage") or {}
    details = counts.get("prompt_tokens_details") or {}
    usage = Usage(
        1,
        _read_count(counts.get("prompt_tokens")),
        _read_count(counts.get("completion_tokens")),
        cost=None,
        cached_tokens=_read_count(details.get("cached_tokens")),
    )
    if message.get("refusal"):
        refused = TeacherRequestError(f"The model refused: {message['refusal'][:200]!r}")
        refused.usage = replace(usage, cost=cost(usage))
        raise refused
    truncated = choice.get("finish_reason") == "length"
    return Completion(text, usage, truncated, logprobs=read_logprobs(choice.get("logprobs")))


def read_logprobs(value: Any) -> tuple[dict[str, float], ...]:
    """Read the candidates of each token; what is missing or broken is no reason to lose an answer.

    Examples
    --------
    >>> from pgkd.teachers.providers.openai import read_logprobs
    >>> read_logprobs({"content": [{"token": "A", "logprob": -0.1, "top_logprobs": None}]})
    ({'A': -0.1},)
    >>> read_logprobs(None)
    ()
    """
    tokens = value.get("content") if isinstance(value, dict) else None
    return tuple(map(_read_candidates, tokens)) if isinstance(tokens, list) else ()


def _read_candidates(token: Any) -> dict[str, float]:
    """Read a token's candidates, the chosen one first; none if it is not known which was chosen."""
    if not isinstance(token, dict):
        return {}
    others = token.get("top_logprobs")
    found: dict[str, float] = {}
    for candidate in (token, *(others if isinstance(others, list) else ())):
        text = candidate.get("token") if isinstance(candidate, dict) else None
        logprob = candidate.get("logprob") if isinstance(candidate, dict) else None
        # NaN is in no range; llama.cpp has the lowest float for what is impossible.
        if isinstance(text, str) and isinstance(logprob, (int, float)) and -1e9 < logprob < 1:
            found.setdefault(make_valid(text), round(float(logprob), 4))
    chosen = token.get("token")
    chosen = make_valid(chosen) if isinstance(chosen, str) else None
    if chosen not in found:
        return {}
    return {chosen: found[chosen], **found}


def _read_count(value: Any) -> int:
    """Read a number of tokens, which some servers leave out or get wrong."""
    return value if isinstance(value, int) and value > 0 else 0
