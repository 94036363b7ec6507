"""Claude, by Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from pgkd.exceptions import TeacherError
from pgkd.records import Completion, Message
from pgkd.teachers.parameters import SWITCH, at_least
from pgkd.teachers.prompts.writing import split_static
from pgkd.teachers.reading import read_text
from pgkd.teachers.transport.batch import Answer, Answers, BatchAPI, BatchTeacher, called_off
from pgkd.teachers.transport.structured import (
    TOOL_DESCRIPTION,
    TOOL_NAME,
    TRUNCATED,
    StructuredTeacher,
    dump_input,
    loosen,
)

API_VERSION = "2023-06-01"
#: What a model may refuse, and what the error then says. Claude 4.5 and later have structured
#: outputs; those before can be forced to use a tool, which Opus 5.5 and Fable 5.1 refuse.
REFUSABLE: Mapping[str, Sequence[str]] = {
    "temperature": ("temperature",),
    "output_config": ("output_config", "output format", "structured output", "schema", "grammar"),
    "tool_choice": ("tool_choice", "tools", "schema"),
}
COUNTS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)
CACHE = {"cache_control": {"type": "ephemeral"}}


class AnthropicBatches(BatchAPI):
    """Anthropic's Message Batches.

    References
    ----------
    https://platform.claude.com/docs/en/build-with-claude/batch-processing
    https://platform.claude.com/docs/en/api/messages/batches
    https://platform.claude.com/docs/en/api/errors
    """

    path = "v1/messages/batches"
    #: Status of an error outside a batch, by its type in a batch.
    statuses: ClassVar[Mapping[str, int]] = {
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "api_error": 500,
        "timeout_error": 504,
        "overloaded_error": 529,
    }

    async def submit(self, bodies: Mapping[str, Any]) -> str:
        """Begin a batch."""
        requests = [{"custom_id": key, "params": body} for key, body in bodies.items()]
        return str((await self._create(self.path, json={"requests": requests}))["id"])

    async def poll(self, batch: str, keys: Collection[str]) -> Answers | None:
        """Fetch the results when the batch has ended."""
        response = await self._send("GET", f"{self.path}/{batch}")
        if response is None:
            return {}
        if response.json()["processing_status"] != "ended":
            return None
        answers = {}
        for line in await self._read_lines(f"{self.path}/{batch}/results"):
            if (answer := self._read(line["result"], batch)) is not None:
                answers[line["custom_id"]] = answer
        return answers

    def _read(self, result: Mapping[str, Any], batch: str) -> Answer | None:
        if result["type"] == "succeeded":
            return 200, result["message"]
        if result["type"] == "errored":
            kind = result["error"].get("error", result["error"])["type"]
            return self.statuses.get(kind, 400), result["error"]
        return called_off(batch) if result["type"] == "canceled" else None


@dataclass(eq=False, repr=False, kw_only=True)
class AnthropicTeacher(BatchTeacher, StructuredTeacher):
    """Claude, by Anthropic's Messages API.

    Answers are held to a JSON schema by structured outputs; a model without them is made to use a
    tool, and one that refuses that as well is asked for JSON by the prompt alone.

    Parameters
    ----------
    model : str
        E.g. ``"claude-haiku-4-5"``.
    base_url : str, default=None
        ``None``: ``$ANTHROPIC_BASE_URL``, else Anthropic.
    api_key : str, default=None
        ``None``: ``$ANTHROPIC_API_KEY`` when a request is sent. Never shown, logged, pickled or
        saved.
    temperature : float, default=None
        ``None``: the model's default. Left out for models that take none.
    max_tokens : int, default=8192
        Limit of an answer's tokens, those of thinking included.
    prompt_caching : bool, default=True
        Mark the system prompt and the task description for Anthropic's prompt cache. It takes only
        what is long (from 1,024 tokens, on some models 4,096), and serves only requests for the
        same classes within five minutes. Writing to it costs a quarter more, reading from it saves
        nine tenths: turn it off for a long task description and many classes.
    timeout : float, default=300
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
        `base_url` is Anthropic's own, else not known.
    extra_body : dict, default=None
        Further parameters of the request, e.g. ``{"output_config": {"effort": "low"}}``.
    batch : bool, default=False
        Let the provider take its time, a day at most, for half the price: requests are submitted as
        batches. With `run_dir` (or :class:`CachedTeacher`) a batch outlives the process, and the
        same `fit` collects it. The limits of concurrency and rate do not hold for batches.
    poll_interval : float, default=60
        Seconds between two looks at a batch; the first ones are closer together.

    References
    ----------
    https://platform.claude.com/docs/en/api/messages/create
    https://platform.claude.com/docs/en/build-with-claude/structured-outputs
    https://platform.claude.com/docs/en/build-with-claude/prompt-caching

    Examples
    --------
    >>> from pgkd.teachers import AnthropicTeacher
    >>> AnthropicTeacher("claude-haiku-4-5", api_key="secret")
    AnthropicTeacher(api_key=Secret('***'), model='claude-haiku-4-5')
    """

    default_base_url = "https://api.anthropic.com"
    key_variable = "ANTHROPIC_API_KEY"
    url_variable = "ANTHROPIC_BASE_URL"
    price_provider = "anthropic"
    presence_path = "v1/models"
    refusable = REFUSABLE
    batches = AnthropicBatches

    _without_effect = BatchTeacher._without_effect | {"prompt_caching"}
    _rules = (
        BatchTeacher._rules
        | StructuredTeacher._rules
        | {"max_tokens": at_least(1), "prompt_caching": SWITCH}
    )

    max_tokens: int = 8192
    prompt_caching: bool = True
    timeout: float = 300.0

    def _url(self) -> str:
        return super()._url().rstrip("/").removesuffix("/v1")

    def _path(self) -> str:
        return "v1/messages"

    def _headers(self, key: str | None) -> dict[str, str]:
        return {"anthropic-version": API_VERSION, **({"x-api-key": key} if key else {})}

    def _body(
        self, messages: Sequence[Message], schema: dict[str, Any], left_out: frozenset[str]
    ) -> dict[str, Any]:
        schema = loosen(schema)
        extra = self.extra_body or {}
        body = {"model": self.model, "max_tokens": self.max_tokens, **self._prompt(messages)}
        if self.temperature is not None and "temperature" not in left_out:
            body["temperature"] = self.temperature
        body |= extra
        if "output_config" not in left_out:
            answer_format = {"type": "json_schema", "schema": schema}
            body["output_config"] = {**extra.get("output_config", {}), "format": answer_format}
        elif "tool_choice" not in left_out:
            tool = {"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "input_schema": schema}
            body["tools"] = [tool]
            body["tool_choice"] = {"type": "tool", "name": TOOL_NAME}
        return body

    def _prompt(self, messages: Sequence[Message]) -> dict[str, Any]:
        """System prompt and messages, with a mark where the part ends that requests share."""
        system = [_text(m["content"]) for m in messages if m["role"] == "system"]
        chat = [
            (m["role"], [_text(part) for part in split_static(m["content"]) if part])
            for m in messages
            if m["role"] != "system"
        ]
        shared = [*system, *chat[0][1][:-1]]
        if shared and self.prompt_caching:
            shared[-1] |= CACHE
        return {
            "messages": [{"role": role, "content": content} for role, content in chat],
            **({"system": system} if system else {}),
        }

    def _read(self, body: Any) -> tuple[Completion, str | None]:
        reason = body["stop_reason"]
        truncated = reason in TRUNCATED
        blocks = body["content"]
        if not isinstance(blocks, list):
            blocks = [{"type": "text", "text": read_text(blocks)}]
        text = "".join(_read_block(block, truncated) for block in blocks)
        usage = self._count(body.get("usage"), COUNTS, text)
        refusal = None
        if reason == "refusal":
            refusal = str((body.get("stop_details") or {}).get("explanation") or text)
        return Completion(text, usage, truncated), refusal

    def _error(self, response: httpx.Response) -> TeacherError:
        error = super()._error(response)
        text = response.text.lower()
        if response.status_code == 400 and ("credit balance" in text or "usage limits" in text):
            return TeacherError(
                f"{error} No credit is left, or the spend limit is reached: see the console."
            )
        return error


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _read_block(block: Mapping[str, Any], truncated: bool) -> str:
    """Text of a block; that of thinking is no part of the answer."""
    if block["type"] == "tool_use":
        return dump_input(block["input"], truncated)
    return read_text(block["text"]) if block["type"] == "text" else ""
