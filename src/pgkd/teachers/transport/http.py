"""What teachers behind an HTTP API share: connections, errors, keys."""

from __future__ import annotations

import os
import re
import ssl
import time
import warnings
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import anyio
import httpx

from pgkd.exceptions import (
    TeacherAuthenticationError,
    TeacherError,
    TeacherRequestError,
    TeacherUnavailableError,
)
from pgkd.records import Completion, Message, Usage
from pgkd.system.secret import Secret
from pgkd.teachers.base import AsyncComplete, LLMTeacher
from pgkd.teachers.transport.pricing import look_up_cost

#: The kill switch: with it set, only servers on this machine are asked.
BLOCK_VARIABLE = "PGKD_BLOCK_PAID_CALLS"
#: Statuses that say "later": time-out, conflict, too early, rate limit. 5xx are added.
RETRY_STATUSES = frozenset({408, 409, 425, 429})
#: Those that say "fewer at once": rate limit, and Anthropic's "overloaded".
OVERLOAD_STATUSES = frozenset({429, 529})


class HTTPTeacher(LLMTeacher):
    """Base of teachers behind an HTTP API.

    A subclass has the parameters `model`, `base_url`, `api_key`, `timeout` and those of
    :class:`LLMTeacher`. What a server refuses in a request is left out of it, which is then sent
    again, and out of the following ones.
    """

    default_base_url: str
    key_variable: str
    url_variable: str
    #: The provider's name in genai-prices; ``None``: told by the model's name.
    price_provider: str | None = None
    #: Statuses with which a server refuses a part of a request.
    refusal_statuses: ClassVar[frozenset[int]] = frozenset({400, 422})

    model: str
    base_url: str | None
    api_key: str | Secret | None
    timeout: float

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if the key is missing, or the price is needed and not known."""
        self._check_key()
        check_allowed(self._url())
        super().check_ready(max_cost)
        if self._is_default() and not self.knows_price():
            warnings.warn(
                f"The price of {self.model!r} is not known, so costs are None: pass "
                '`price=(input, output)`, or `pip install "pgkd[prices]"` for well-known models.',
                stacklevel=4,
            )

    def _check_key(self) -> None:
        if self._is_default() and not self._key():
            raise TeacherAuthenticationError(
                f"No API key for {self.default_base_url}: set {self.key_variable}, pass "
                "`api_key=...`, or pass `base_url=...` of a server that needs none."
            )

    def knows_price(self) -> bool:
        """Whether the cost of an answer can be told."""
        return self.cost(Usage(1, 1, 1, cost=None)) is not None

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`, ``None`` if the price is not known."""
        known = super().cost(usage)
        if known is None and self._is_default():
            return look_up_cost(self.model, usage, self.price_provider)
        return known

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncComplete]:
        """Open the connections for a batch of requests, each when it is needed."""
        check_allowed(self._url())
        # Parameters that this server has refused, learnt once for all requests of the batch.
        refused: set[str] = set()
        certificates = httpx.create_ssl_context()
        auth = self._auth()
        idle: list[httpx.AsyncClient] = []
        async with AsyncExitStack() as clients:

            async def complete(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
                # One connection a client. With all of them in one pool, httpx looks at each of
                # them for each other one, with every request: most of the time went into that.
                # https://github.com/encode/httpcore/pull/1035
                if not idle:
                    idle.append(await clients.enter_async_context(self._open(certificates, auth)))
                client = idle.pop()
                try:
                    return await self._complete(client, refused, messages, schema)
                finally:
                    idle.append(client)

            yield complete

    def _open(self, certificates: ssl.SSLContext, auth: httpx.Auth | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url().rstrip("/") + "/",
            headers=self._headers(self._key()),
            auth=auth,
            timeout=httpx.Timeout(self.timeout, connect=10.0, pool=None),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=None),
            verify=certificates,
        )

    @abstractmethod
    def _headers(self, key: str | None) -> dict[str, str]:
        """Headers of every request, the key among them."""

    def _auth(self) -> httpx.Auth | None:
        """What signs the requests, for providers that a key is not enough for."""
        return None

    @abstractmethod
    def _path(self) -> str:
        """Path of the request, below the base URL."""

    @abstractmethod
    def _body(
        self, messages: Sequence[Message], schema: dict[str, Any], left_out: frozenset[str]
    ) -> dict[str, Any]:
        """Body of the request, without the features that are left out."""

    @abstractmethod
    def _find_refused(
        self, text: str, body: Mapping[str, Any], left_out: frozenset[str]
    ) -> str | None:
        """Name the feature that the text of a "bad request" is about, if it can be left out."""

    @abstractmethod
    def _read_answer(self, response: httpx.Response) -> Completion:
        """Read a good answer."""

    async def _complete(
        self,
        client: httpx.AsyncClient,
        refused: set[str],
        messages: Sequence[Message],
        schema: dict[str, Any],
    ) -> Completion:
        """Make one request, and again without what the server refuses."""
        while True:
            left_out = frozenset(refused)  # other requests may add to it while this one is served
            body = self._body(messages, schema, left_out)
            response = await self._post(client, self._path(), body)
            if response.is_success:
                return self._read_answer(response)
            feature = None
            if response.status_code in self.refusal_statuses:
                feature = self._find_refused(response.text, body, left_out)
            if feature is None:
                raise self._error(response)
            refused.add(feature)

    async def _post(
        self, client: httpx.AsyncClient, path: str, body: Mapping[str, Any], **options: Any
    ) -> httpx.Response:
        """Send `body`; the answer may have any status."""
        return await self._send(client, "POST", path, json=body, **options)

    async def _send(
        self, client: httpx.AsyncClient, method: str, path: str, **options: Any
    ) -> httpx.Response:
        url = f"{self._url().rstrip('/')}/{path}"  # joined by httpx, it costs a tenth of a request
        try:
            # httpx's time-outs are between two bytes: a body that trickles in would pass them.
            with anyio.fail_after(self.deadline):
                return await client.request(method, url, **options)
        except TimeoutError as error:
            raise TeacherUnavailableError(
                f"{self._url()} did not finish its answer in {self.deadline} s.", overloaded=True
            ) from error
        except httpx.ReadTimeout as error:  # a slow server is faster with fewer at once
            raise TeacherUnavailableError(
                f"No answer from {self._url()} in {self.timeout} s, the `timeout`: raise it if the "
                "server is slow, or lower `max_concurrency`.",
                overloaded=True,
            ) from error
        except httpx.TransportError as error:
            raise TeacherUnavailableError(
                f"No answer from {self._url()}: {error!r}. Is the server up, and is `base_url` "
                "right?"
            ) from error

    def _error(self, response: httpx.Response) -> TeacherError:
        """Tell what an answer with an error status means for the request and for the others."""
        status = response.status_code
        message = self._message(response)
        if key := self._key():  # servers like to quote the key that they refuse
            message = message.replace(key, "***")
        message = message[:300]
        what = f"{self._url()} answered {status} {response.reason_phrase}: {message!r}."
        status = 402 if "insufficient_quota" in response.text else status
        return make_error(status, what, response.headers, self.model, self.key_variable)

    def _message(self, response: httpx.Response) -> str:
        """What is shown of an answer with an error status."""
        return response.text

    def _is_default(self) -> bool:
        return self._url() == self.default_base_url

    def _url(self) -> str:
        return self.base_url or os.environ.get(self.url_variable) or self.default_base_url

    def _key(self) -> str | None:
        given = self.api_key.reveal() if isinstance(self.api_key, Secret) else self.api_key
        return given or os.environ.get(self.key_variable)


def check_allowed(url: str | None) -> None:
    """Raise if the kill switch is set and `url` is not on this machine; ``None`` is not."""
    host = httpx.URL(url).host if url else "a provider"
    if os.environ.get(BLOCK_VARIABLE, "0") not in ("", "0") and not _is_loopback(host):
        raise TeacherError(
            f"A call to {host} was blocked, because {BLOCK_VARIABLE} is set: unset it to spend "
            "money, or use RecordedTeacher, ScriptedTeacher or a server on this machine."
        )


def make_error(
    status: int, what: str, headers: Mapping[str, str], model: str, key_variable: str
) -> TeacherError:
    """Say whether to try again, to fix something first, or to give up on this request."""
    if status in (401, 403):
        return TeacherAuthenticationError(f"{what} Check {key_variable} or `api_key`.")
    if status == 404:
        return TeacherError(f"{what} Check the model {model!r} and `base_url`.")
    if status == 402:
        return TeacherError(f"{what} The account has no credit left: top it up.")
    if status in RETRY_STATUSES or status >= 500:
        return TeacherUnavailableError(
            what,
            retry_after=read_retry_after(headers),
            overloaded=status in OVERLOAD_STATUSES,
        )
    return TeacherRequestError(what)


def unreadable(what: str, response: httpx.Response) -> TeacherUnavailableError:
    """Error for an answer that is not of the provider's shape; another try may help."""
    return TeacherUnavailableError(f"The server's answer is no {what}: {response.text[:200]!r}")


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait, ``None`` if it does not say.

    Reads ``retry-after-ms``, Retry-After as seconds or as a date, and the reset times of rate
    limits that are used up (OpenAI's ``x-ratelimit-*``, Anthropic's ``anthropic-ratelimit-*``).

    References
    ----------
    https://platform.openai.com/docs/guides/rate-limits
    https://docs.anthropic.com/en/api/rate-limits
    """
    try:
        return float(headers["retry-after-ms"]) / 1000
    except (KeyError, ValueError):
        pass
    waits = [headers.get("retry-after")]
    for name, left in headers.items():
        if re.fullmatch(r"(x|anthropic)-ratelimit-(.*)remaining(.*)", name) and left == "0":
            waits.append(headers.get(name.replace("remaining", "reset")))
    seconds = [s for s in map(_read_time, filter(None, waits)) if s is not None]
    if headers.get("retry-after") and seconds:
        return seconds[0]
    return max(seconds, default=None)


def _read_time(value: str) -> float | None:
    """Seconds from now: "1.5", "6m0s", "120ms", an HTTP date or an ISO 8601 one."""
    parts = re.findall(r"([\d.]+)(ms|s|m|h|d)", value)
    if parts and "".join(map("".join, parts)) == value:
        unit = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
        return sum(float(number) * unit[name] for number, name in parts)
    readers: list[Callable[[str], float]] = [
        float,
        lambda v: parsedate_to_datetime(v).timestamp() - time.time(),
        lambda v: datetime.fromisoformat(v.replace("Z", "+00:00")).timestamp() - time.time(),
    ]
    for read in readers:
        try:
            return max(read(value), 0.0)
        except ValueError:
            continue
    return None


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
