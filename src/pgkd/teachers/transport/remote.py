"""What teachers that ask a service share: parameters, key, price, and what errors mean."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

import httpx

from pgkd.exceptions import (
    TeacherAuthenticationError,
    TeacherError,
    TeacherRequestError,
    TeacherUnavailableError,
)
from pgkd.records import HERE, Completion, Usage
from pgkd.system.secret import Secret, redact
from pgkd.teachers.base import LLMTeacher
from pgkd.teachers.parameters import ABOVE_ZERO, MODEL, TEMPERATURE, URL
from pgkd.teachers.transport.retry_after import read_retry_after

#: The kill switch: with it set, only servers on this machine are asked.
BLOCK_VARIABLE = "PGKD_BLOCK_PAID_CALLS"
#: Statuses that say "later": time-out, conflict, too early, rate limit. 5xx are added.
RETRY_STATUSES = frozenset({408, 409, 425, 429})
#: Those that say "fewer at once": rate limit, and Anthropic's "overloaded".
OVERLOAD_STATUSES = frozenset({429, 529})


@dataclass(eq=False, repr=False, kw_only=True)
class RemoteTeacher(LLMTeacher):
    """Base of teachers that ask a service, with the parameters that all of these have.

    A subclass with further parameters, or other defaults, is a dataclass as well.
    """

    #: Where the key comes from, if it is no parameter.
    key_variable: ClassVar[str]
    #: What an answer is called in an error.
    answer_name: ClassVar[str] = "message"

    _rules = LLMTeacher._rules | {
        "model": MODEL,
        "base_url": URL.or_none("the default"),
        "temperature": TEMPERATURE,
        "timeout": ABOVE_ZERO,
    }

    model: str = field(kw_only=False)
    base_url: str | None = None
    api_key: str | Secret | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float = 120.0
    max_concurrency: int = 8
    requests_per_minute: int | None = None
    tokens_per_minute: int | tuple[int, int] | None = None
    max_retries: int = 5
    price: tuple[float, ...] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, Secret.wrap(value) if name == "api_key" else value)

    def knows_price(self) -> bool:
        """Whether the cost of an answer can be told."""
        return self.cost(Usage(1, 1, 1, cost=None)) is not None

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`, ``None`` if the price is not known."""
        known = super().cost(usage)
        return self._look_up_cost(usage) if known is None and self._is_default() else known

    @abstractmethod
    def _look_up_cost(self, usage: Usage) -> float | None:
        """What the provider charges for `usage`, if it is well known."""

    @abstractmethod
    def _is_default(self) -> bool:
        """Whether the provider's own service is asked."""

    @abstractmethod
    def _read(self, body: Any) -> tuple[Completion, str | None]:
        """Read an answer, and why the model refused if it did."""

    def _url(self) -> str | None:
        """Where the service is, as far as it is known here."""
        return self.base_url

    def _key(self) -> str | None:
        return self.api_key.reveal() if isinstance(self.api_key, Secret) else None

    def _read_answer(self, response: httpx.Response) -> Completion:
        """Read a good answer."""
        failure: TeacherError
        try:
            completion, refusal = self._read(response.json())
            if refusal is None:
                return completion
            failure = TeacherRequestError(f"The model refused: {self._quote(refusal)}")
            failure.usage = completion.usage
        except (ValueError, LookupError, TypeError, AttributeError):
            failure = TeacherUnavailableError(  # another try may help
                f"The server's answer is no {self.answer_name}: {self._quote(response.text)}. Is "
                f"`base_url` right? Got {self._url()!r}."
            )
        raise failure

    def _quote(self, message: str) -> str:
        """Quote an error, without the key: servers like to repeat the one that they refuse."""
        return repr(redact(message, self._key())[:300])

    def _make_error(
        self, status: int, what: str, headers: Mapping[str, str], body: str
    ) -> TeacherError:
        """Say whether to try again, to fix something first, or to give up on this request."""
        if 300 <= status < 400:  # not followed: the key would go to whoever is there
            return TeacherError(f"{what} It is a redirect: pass the final address as `base_url`.")
        if status == 402 or "insufficient_quota" in body:
            return TeacherError(f"{what} The account has no credit left: top it up.")
        if status in (401, 403):
            return TeacherAuthenticationError(f"{what} Check {self.key_variable} or `api_key`.")
        if status == 404:
            return TeacherError(f"{what} Check the model {self.model!r} and `base_url`.")
        if status in RETRY_STATUSES or status >= 500:
            return TeacherUnavailableError(
                what,
                retry_after=read_retry_after(headers),
                overloaded=status in OVERLOAD_STATUSES,
            )
        return TeacherRequestError(what)


def find_host(url: str) -> str:
    """Return the host of an address, or that it is this machine.

    Examples
    --------
    >>> from pgkd.teachers.transport.remote import find_host
    >>> find_host("https://api.openai.com/v1"), find_host("http://127.0.0.1:8080/v1")
    ('api.openai.com', 'this machine')
    """
    host = httpx.URL(url).host
    return HERE if host in ("localhost", "::1") or host.startswith("127.") else host


def check_allowed(url: str | None) -> None:
    """Raise if the kill switch is set and `url` is not on this machine; ``None`` is not."""
    host = find_host(url) if url else "a provider"
    if os.environ.get(BLOCK_VARIABLE, "0") not in ("", "0") and host != HERE:
        raise TeacherError(
            f"A call to {host} was blocked, because {BLOCK_VARIABLE} is set: unset it to spend "
            "money, or use RecordedTeacher, ScriptedTeacher or a server on this machine."
        )


def conceal(response: httpx.Response, key: str | None) -> httpx.Response:
    """Take keys out of a response that repeats them: of an answer, or of what is around an error.

    So they are not in what is made of an answer, nor in the variables of a traceback. The body of
    an error is shown by `_quote` alone. In an answer only long keys are looked for.
    """
    own = None if response.is_success else key
    status, headers = response.reason_phrase, response.headers.multi_items()
    content = response.text if response.is_success else ""
    if all(redact(t, own) == t for t in (status, content, *chain.from_iterable(headers))):
        return response
    return _remake(
        response,
        redact(content).encode() if response.is_success else response.content,
        [(name, redact(value, own)) for name, value in headers],
        redact(status, own),
    )


async def receive(response: httpx.Response, max_bytes: int) -> httpx.Response:
    """Read a response to its end, if it has one.

    Raises
    ------
    TeacherRequestError
        If there is more than `max_bytes` of it, unpacked.
    """
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > max_bytes:
            raise TeacherRequestError(
                f"{response.url.host} sent more than {max_bytes:,} bytes, which is no answer: is "
                "`base_url` right?"
            )
    headers = response.headers.multi_items()
    return _remake(response, bytes(content), headers, response.reason_phrase)


def _remake(
    response: httpx.Response, content: bytes, headers: list[tuple[str, str]], status: str
) -> httpx.Response:
    """Make a response with a content that is unpacked already."""
    dropped = {"content-encoding", "content-length", "transfer-encoding"}
    return httpx.Response(
        response.status_code,
        headers=[(name, value) for name, value in headers if name not in dropped],
        content=content,
        extensions={"reason_phrase": status.encode("ascii", "replace")},
        request=response.request,
    )
