"""Whatever litellm has an adapter for."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import httpx

from pgkd.exceptions import TeacherError
from pgkd.records import Completion, Message, Usage
from pgkd.system.secret import Secret
from pgkd.teachers.base import LLMTeacher
from pgkd.teachers.providers.openai import answer_format, read_answer
from pgkd.teachers.transport.http import check_allowed, make_error
from pgkd.teachers.transport.pricing import look_up_cost


class LiteLLMTeacher(LLMTeacher):
    """An LLM by way of litellm, for providers that have no teacher of their own here.

    litellm is imported when it is first needed: ``pip install "pgkd[litellm]"``. Its retries are
    off, because pgkd's own know when to wait and what failed tries cost; parameters that a model
    does not take are left out.

    Parameters
    ----------
    model : str
        litellm's name of it, e.g. ``"mistral/mistral-small-latest"``.
    base_url : str, default=None
        ``None``: the provider's own.
    api_key : str, default=None
        ``None``: litellm reads the provider's environment variable. Never shown, pickled or saved.
    temperature : float, default=None
        ``None``: the model's default.
    max_tokens : int, default=None
        Limit of an answer's tokens. ``None``: the model's default.
    timeout : float, default=120
        Seconds to wait for an answer.
    max_concurrency : int, default=8
        Requests under way at once, each in a thread.
    requests_per_minute : int, default=None
    tokens_per_minute : int or tuple of (int, int), default=None
        Input and output tokens together, or apart.
    max_retries : int, default=5
        Further tries after a rate limit, a server error or a dropped connection.
    price : tuple of float, default=None
        US dollars for a million input and a million output tokens; a third number is the price of
        cached input tokens. ``None``: looked up by genai-prices if that is installed and `base_url`
        is not given, else not known. litellm's own prices are not used: it tells 0 for a model that
        it has no price of.
    options : dict, default=None
        Further arguments of ``litellm.completion``.

    References
    ----------
    https://docs.litellm.ai/docs/completion/input
    https://docs.litellm.ai/docs/exception_mapping

    Examples
    --------
    >>> from pgkd.teachers import LiteLLMTeacher
    >>> LiteLLMTeacher("mistral/mistral-small-latest", api_key="secret")
    LiteLLMTeacher(api_key=Secret('***'), model='mistral/mistral-small-latest')
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
        requests_per_minute: int | None = None,
        tokens_per_minute: int | tuple[int, int] | None = None,
        max_retries: int = 5,
        price: tuple[float, ...] | None = None,
        options: dict[str, Any] | None = None,
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
        self.options = options

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if litellm is missing, or the price is needed and not known."""
        check_allowed(self.base_url)
        _import_litellm()
        super().check_ready(max_cost)

    def knows_price(self) -> bool:
        """Whether the cost of an answer can be told."""
        return self.cost(Usage(1, 1, 1, cost=None)) is not None

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`, ``None`` if the price is not known."""
        known = super().cost(usage)
        if known is None and self.base_url is None:
            provider, slash, model = self.model.partition("/")
            return look_up_cost(model if slash else self.model, usage, provider if slash else None)
        return known

    def complete(self, messages: Sequence[Message], *, schema: dict[str, Any]) -> Completion:
        """Ask litellm."""
        check_allowed(self.base_url)
        litellm = _import_litellm()
        key = self.api_key.reveal() if isinstance(self.api_key, Secret) else self.api_key
        try:
            answer = litellm.completion(
                model=self.model,
                messages=list(messages),
                response_format=answer_format(schema),
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                seed=zlib.crc32(repr(messages).encode()) >> 1,
                base_url=self.base_url,
                api_key=key,
                timeout=self.timeout,
                num_retries=0,
                max_retries=0,
                drop_params=True,
                **(self.options or {}),
            )
        except Exception as error:
            # Without its cause, which may quote the key.
            raise self._translate(error, key) from None
        return read_answer(httpx.Response(200, text=answer.model_dump_json()), self.cost)

    def _translate(self, error: Exception, key: str | None) -> TeacherError:
        """Map litellm's errors, which have the status of the provider's answer."""
        text = str(error).replace(key, "***") if key else str(error)
        what = f"litellm raised {type(error).__name__}: {text[:300]!r}."
        status = getattr(error, "status_code", None)
        if status is None:
            return TeacherError(what)
        headers = getattr(getattr(error, "response", None), "headers", {})
        status = 402 if "insufficient_quota" in str(getattr(error, "body", None)) else status
        return make_error(status, what, headers, self.model, "the provider's environment variable")


def _import_litellm() -> Any:
    try:
        import litellm
    except ImportError as error:
        raise TeacherError(
            'LiteLLMTeacher needs litellm, which is not installed: pip install "pgkd[litellm]"'
        ) from error
    litellm.suppress_debug_info = True  # else each error prints advice on how to report it
    return litellm
