"""Whatever litellm has an adapter for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from pgkd.exceptions import TeacherError, TeacherUnavailableError
from pgkd.records import Completion, Message, Usage
from pgkd.system.secret import remember_environment
from pgkd.teachers.base import make_seed
from pgkd.teachers.parameters import instance_of
from pgkd.teachers.transport.chat_completions import answer_format, read_chat_completion
from pgkd.teachers.transport.http import PRESENCE
from pgkd.teachers.transport.pricing import look_up_cost
from pgkd.teachers.transport.remote import RemoteTeacher, check_allowed, conceal, find_host


@dataclass(eq=False, repr=False, kw_only=True)
class LiteLLMTeacher(RemoteTeacher):
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
        Seconds that litellm waits for an answer.
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

    key_variable = "the provider's environment variable"
    answer_name = "chat completion"

    _rules = RemoteTeacher._rules | {"options": instance_of(dict, "a dict").or_none("nothing")}

    options: dict[str, Any] | None = None

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if litellm is missing, or the price is needed and not known."""
        self.check_parameters()
        self._key()  # one that cannot be sent is an error
        check_allowed(self.base_url)
        _import_litellm()
        super().check_ready(max_cost)

    def check_reachable(self) -> None:
        """Raise if nothing answers at `base_url`; without one, litellm alone knows the address."""
        if self.base_url is None:
            return
        try:
            with httpx.stream("GET", self.base_url, timeout=PRESENCE):
                return
        except httpx.RequestError as error:
            raise TeacherUnavailableError(
                f"No answer from {self.base_url}: {self._quote(repr(error))}. Is the server up, "
                "and is `base_url` right?"
            ) from None

    @property
    def destination(self) -> str:
        """The host of `base_url`, else the provider, as the model's name begins."""
        if self.base_url:
            return find_host(self.base_url)
        return f"the provider {self.model.partition('/')[0]!r}, by litellm"

    def _is_default(self) -> bool:
        return self.base_url is None

    def _look_up_cost(self, usage: Usage) -> float | None:
        provider, slash, model = self.model.partition("/")
        return look_up_cost(model if slash else self.model, usage, provider if slash else None)

    def complete(self, messages: Sequence[Message], *, schema: dict[str, Any]) -> Completion:
        """Ask litellm."""
        check_allowed(self.base_url)
        litellm = _import_litellm()
        remember_environment()  # where litellm finds a key by itself
        try:
            answer = litellm.completion(
                model=self.model,
                messages=list(messages),
                response_format=answer_format(schema),
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                seed=make_seed(messages),
                base_url=self.base_url,
                api_key=self._key(),
                timeout=self.timeout,
                num_retries=0,
                max_retries=0,
                drop_params=True,
                **(self.options or {}),
            )
            document = answer.model_dump_json()
        except Exception as error:
            failure = self._translate(error)
        else:
            response = httpx.Response(200, text=document, request=httpx.Request("POST", "/"))
            return self._read_answer(conceal(response, None))
        # Not from litellm's error: its message and the variables in its traceback have the key.
        raise failure

    def _read(self, body: Any) -> tuple[Completion, str | None]:
        return read_chat_completion(body)

    def _translate(self, error: Exception) -> TeacherError:
        """Map litellm's errors, which have the status of the provider's answer."""
        what = f"litellm raised {type(error).__name__}: {self._quote(str(error))}."
        status = getattr(error, "status_code", None)
        if not isinstance(status, int):
            return TeacherError(what)
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        headers = {str(name).lower(): str(value) for name, value in headers.items()}
        return self._make_error(status, what, headers, str(getattr(error, "body", None)))


def _import_litellm() -> Any:
    try:
        import litellm
    except ImportError as error:
        raise TeacherError(
            'LiteLLMTeacher needs litellm, which is not installed: pip install "pgkd[litellm]"'
        ) from error
    litellm.suppress_debug_info = True  # else each error prints advice on how to report it
    return litellm
