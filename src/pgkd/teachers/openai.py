"""Any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import httpx

from pgkd.exceptions import (
    TeacherAuthenticationError,
    TeacherError,
    TeacherRequestError,
    TeacherUnavailableError,
)
from pgkd.records import Completion, Message, Usage
from pgkd.secret import Secret
from pgkd.teachers.base import AsyncComplete, LLMTeacher
from pgkd.teachers.pricing import look_up_cost

DEFAULT_BASE_URL = "https://api.openai.com/v1"
#: Statuses that say "later": time-out, conflict, too early, rate limit. 5xx are added.
RETRY_STATUSES = frozenset({408, 409, 425, 429})
#: What to send instead of a parameter that a server refuses; ``None``: leave it out.
FALL_BACKS: Mapping[str, str | None] = {
    "max_completion_tokens": "max_tokens",
    "response_format": None,
    "temperature": None,
    "seed": None,
}


class OpenAITeacher(LLMTeacher):
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
        Requests under way at once.
    max_retries : int, default=5
        Further tries after a rate limit, a server error or a dropped connection. Waits as the
        server asks (``Retry-After``), else exponentially longer.
    price : tuple of (float, float), default=None
        US dollars for a million input and a million output tokens. ``None``: looked up by
        genai-prices if that is installed and `base_url` is OpenAI's own, else not known.
    extra_body : dict, default=None
        Further parameters of the request, e.g. ``{"reasoning_effort": "low"}``.

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
        max_retries: int = 5,
        price: tuple[float, float] | None = None,
        extra_body: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.base_url = base_url
        self.api_key = Secret.wrap(api_key)
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.timeout = timeout
        self.max_concurrency = max_concurrency
        self.max_retries = max_retries
        self.price = price
        self.extra_body = extra_body

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if the key is missing, or the price is needed and not known."""
        if self._url() == DEFAULT_BASE_URL and not self._key():
            raise TeacherAuthenticationError(
                f"No API key for {DEFAULT_BASE_URL}: set OPENAI_API_KEY, pass `api_key=...`, or "
                "pass `base_url=...` of a server that needs none."
            )
        super().check_ready(max_cost)

    def knows_price(self) -> bool:
        """Whether the cost of an answer can be told."""
        return self.cost(Usage(1, 1, 1, cost=None)) is not None

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`, ``None`` if the price is not known."""
        known = super().cost(usage)
        if known is None and self._url() == DEFAULT_BASE_URL:
            return look_up_cost(self.model, usage)
        return known

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncComplete]:
        """Open one connection pool for a batch of requests."""
        key = self._key()
        async with httpx.AsyncClient(
            base_url=self._url().rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self.timeout, connect=10.0, pool=None),
            limits=httpx.Limits(max_connections=self.max_concurrency),
        ) as client:
            # Parameters that this server has refused, learnt once for all requests of the batch.
            yield partial(self._complete, client, set())

    async def _complete(
        self,
        client: httpx.AsyncClient,
        refused: set[str],
        messages: Sequence[Message],
        schema: dict[str, Any],
    ) -> Completion:
        while True:
            body = self._body(messages, schema, refused)
            try:
                response = await client.post("chat/completions", json=body)
            except httpx.TransportError as error:
                raise TeacherUnavailableError(
                    f"No answer from {self._url()}: {error!r}. Is the server up, and is `base_url` "
                    "right?"
                ) from error
            if response.is_success:
                return _read(response)
            parameter = _refused_parameter(response, body)
            if parameter is None:
                raise _error(response, self.model, self._url())
            refused.add(parameter)

    def _body(
        self, messages: Sequence[Message], schema: dict[str, Any], refused: set[str]
    ) -> dict[str, Any]:
        body = {
            "model": self.model,
            "messages": list(messages),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "texts", "schema": schema, "strict": True},
            },
            "temperature": self.temperature,
            "max_completion_tokens": self.max_tokens,
            # The same request gets the same answer again, where the server can do so.
            "seed": zlib.crc32(repr(messages).encode()) >> 1,
            **(self.extra_body or {}),
        }
        for name in refused & body.keys():
            value = body.pop(name)
            if (other := FALL_BACKS[name]) is not None:
                body[other] = value
        return {name: value for name, value in body.items() if value is not None}

    def _url(self) -> str:
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL

    def _key(self) -> str | None:
        given = self.api_key.reveal() if isinstance(self.api_key, Secret) else self.api_key
        return given or os.environ.get("OPENAI_API_KEY")


def _read(response: httpx.Response) -> Completion:
    try:
        body = response.json()
        choice = body["choices"][0]
        text = choice["message"].get("content") or ""
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise TeacherUnavailableError(
            f"The server's answer is no chat completion: {response.text[:200]!r}"
        ) from error
    usage = body.get("usage") or {}
    return Completion(
        text,
        Usage(1, usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, cost=None),
        truncated=choice.get("finish_reason") == "length",
    )


def _refused_parameter(response: httpx.Response, body: Mapping[str, Any]) -> str | None:
    """Name the parameter that a "bad request" is about, if there is something to fall back to."""
    if response.status_code not in (400, 422):
        return None
    return next((name for name in FALL_BACKS if name in body and name in response.text), None)


def _error(response: httpx.Response, model: str, url: str) -> TeacherError:
    status = response.status_code
    what = f"{url} answered {status} {response.reason_phrase}: {response.text[:300]!r}."
    if status in (401, 403):
        return TeacherAuthenticationError(f"{what} Check OPENAI_API_KEY or `api_key`.")
    if status == 404:
        return TeacherError(f"{what} Check the model {model!r} and `base_url`.")
    if status == 402 or "insufficient_quota" in response.text:
        return TeacherError(f"{what} The account has no credit left: top it up.")
    if status in RETRY_STATUSES or status >= 500:
        return TeacherUnavailableError(what, retry_after=_retry_after(response.headers))
    return TeacherRequestError(what)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait: ``retry-after-ms``, or Retry-After as seconds or a date."""
    if (milliseconds := headers.get("retry-after-ms", "")).isdigit():
        return int(milliseconds) / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
