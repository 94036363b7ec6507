"""What teachers behind an HTTP API share: connections, and what is left out of refused requests."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import warnings
from abc import abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import anyio
import httpx

from pgkd.exceptions import TeacherAuthenticationError, TeacherError, TeacherUnavailableError
from pgkd.records import Completion, Message, Usage
from pgkd.system.secret import Secret, redact
from pgkd.teachers.base import AsyncComplete
from pgkd.teachers.parameters import instance_of
from pgkd.teachers.transport.pricing import look_up_cost
from pgkd.teachers.transport.remote import (
    RemoteTeacher,
    check_allowed,
    conceal,
    find_host,
    receive,
)
from pgkd.teachers.waiting import retry, run_concurrently

#: They name certificates in place of certifi's.
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
#: Bytes of an answer. One of 4,096 tokens with 21 log probabilities each, of 80 bytes, has a tenth.
MAX_ANSWER = 64 * 2**20
#: Seconds, and further tries in them, in which a server must show that it is there.
PRESENCE, PRESENCE_RETRIES = 10.0, 2
#: Statuses with which a gateway says that nothing is behind it.
ABSENT_STATUSES = frozenset({502, 503, 504})


@dataclass
class Experience:
    """What was learnt of a server since the connections to it were opened.

    Attributes
    ----------
    refused : set of str
        Features that it refuses in requests.
    answered : Counter of str
        How often each request, by its hash, was answered by whatever.
    """

    refused: set[str] = field(default_factory=set)
    answered: Counter[str] = field(default_factory=Counter)


@dataclass(eq=False, repr=False, kw_only=True)
class HTTPTeacher(RemoteTeacher):
    """Base of teachers behind an HTTP API.

    What a server refuses in a request is left out of it, which is then sent again, and out of the
    following ones.
    """

    default_base_url: ClassVar[str]
    url_variable: ClassVar[str]
    #: The provider's name in genai-prices; ``None``: told by the model's name.
    price_provider: ClassVar[str | None] = None
    #: Header by which a server knows a request again that it has answered, if it has one.
    idempotency_header: ClassVar[str | None] = None
    #: Below the base URL, what shows without a token that the server is there.
    presence_path: ClassVar[str] = "models"
    #: Statuses with which a server refuses a part of a request.
    refusal_statuses: ClassVar[frozenset[int]] = frozenset({400, 422})

    _rules = RemoteTeacher._rules | {"extra_body": instance_of(dict, "a dict").or_none("nothing")}

    extra_body: dict[str, Any] | None = None

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if the key is missing, or the price is needed and not known."""
        self.check_parameters()
        self._check_key()
        check_allowed(self._url())
        load_certificates()
        super().check_ready(max_cost)
        if self._is_default() and not self.knows_price():
            warnings.warn(
                f"The price of {self.model!r} is not known, so costs are None: pass "
                "`price=(input, output)`, in US dollars for a million tokens.",
                stacklevel=4,
            )

    def check_reachable(self) -> None:
        """Raise if no server is there, or it refuses the key; nothing is billed for that.

        Raises
        ------
        TeacherError
        """
        list(run_concurrently(self._open_for_presence, [self.presence_path], 1))

    @asynccontextmanager
    async def _open_for_presence(self) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
        async with self._open(load_certificates(), None) as client:

            async def check(path: str) -> None:
                await retry(partial(self._check_presence, client, path), PRESENCE_RETRIES, PRESENCE)

            yield check

    async def _check_presence(self, client: httpx.AsyncClient, path: str) -> None:
        """Look for a server; one that does not know the path is there as well."""
        response = await self._send(client, "GET", path, within=PRESENCE)
        # A key may be allowed to ask for answers, and not for the models that there are.
        is_refused = response.status_code == 401 and "scope" not in response.text
        if is_refused or _leads_elsewhere(response):
            raise self._error(response)
        if response.status_code in ABSENT_STATUSES:
            raise TeacherUnavailableError(
                f"{self._error(response)} Nothing answers behind this gateway: is the server up?"
            )
        if response.is_success and "html" in response.headers.get("content-type", ""):
            warnings.warn(
                f"{response.url} is a page for people, and no API: is `base_url` right? That of "
                "most servers ends in /v1.",
                stacklevel=2,
            )

    @property
    def destination(self) -> str:
        """The host of its address."""
        return find_host(self._url())

    @property
    def lacks_key(self) -> bool:
        """Whether the provider's own service is asked, and there is no key for it."""
        return not self._key() and self._is_default()

    def _check_key(self) -> None:
        if self.lacks_key:
            raise TeacherAuthenticationError(
                f"No API key for {self.default_base_url}: set {self.key_variable}, pass "
                "`api_key=...`, or pass `base_url=...` of a server that needs none."
            )

    def _look_up_cost(self, usage: Usage) -> float | None:
        return look_up_cost(self.model, usage, self.price_provider)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncComplete]:
        """Open the connections for a batch of requests, each when it is needed."""
        check_allowed(self._url())
        experience = Experience()
        certificates = load_certificates()
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
                    return await self._complete(client, experience, messages, schema)
                finally:
                    idle.append(client)

            yield complete

    def _open(self, certificates: ssl.SSLContext, auth: httpx.Auth | None) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(
                base_url=self._url().rstrip("/") + "/",
                headers=self._headers(self._key()),
                auth=auth,
                timeout=httpx.Timeout(self.timeout, connect=10.0, pool=None),
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=None),
                verify=certificates,
            )
        except Exception as error:
            failure = self._explain(error)
        raise failure

    def _headers(self, key: str | None) -> dict[str, str]:
        """Headers of every request, the key among them."""
        return {"Authorization": f"Bearer {key}"} if key else {}

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

    async def _complete(
        self,
        client: httpx.AsyncClient,
        experience: Experience,
        messages: Sequence[Message],
        schema: dict[str, Any],
    ) -> Completion:
        """Make one request, and again without what the server refuses."""
        while True:
            # Other requests may add to it while this one is served.
            left_out = frozenset(experience.refused)
            body = self._body(messages, schema, left_out)
            response = await self._post_once(client, experience, body)
            if response.is_success:
                return self._read_answer(response)
            feature = None
            if response.status_code in self.refusal_statuses:
                feature = self._find_refused(response.text, body, left_out)
            if feature is None:
                raise self._error(response)
            experience.refused.add(feature)

    async def _post_once(
        self, client: httpx.AsyncClient, experience: Experience, body: Mapping[str, Any]
    ) -> httpx.Response:
        """Send `body`; who got no answer, be it in a process that died, sends the same key again.

        Another answer, in place of one that was no good, takes another key.
        """
        if self.idempotency_header is None:
            return await self._post(client, self._path(), body)
        text = json.dumps([self._url(), self._path(), body], sort_keys=True)
        content = _hash(text)
        key = _hash(f"{content}-{experience.answered[content]}")
        headers = {self.idempotency_header: key}
        response = await self._post(client, self._path(), body, headers=headers)
        experience.answered[content] += 1
        return response

    async def _post(
        self, client: httpx.AsyncClient, path: str, body: Mapping[str, Any], **options: Any
    ) -> httpx.Response:
        """Send `body`; the answer may have any status."""
        return await self._send(client, "POST", path, json=body, **options)

    async def _send(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        *,
        within: float | None = None,
        max_bytes: int = MAX_ANSWER,
        **options: Any,
    ) -> httpx.Response:
        url = f"{self._url().rstrip('/')}/{path}"  # joined by httpx, it costs a tenth of a request
        try:
            # httpx's time-outs are between two bytes: a body that trickles in would pass them.
            with anyio.fail_after(self.timeout if within is None else within):
                async with client.stream(method, url, **options) as response:
                    return conceal(await receive(response, max_bytes), self._key())
        except Exception as error:
            failure = self._explain(error, within)
        # Not from the error of httpx: the variables in its traceback are headers, with the key.
        raise failure

    def _explain(self, error: Exception, within: float | None = None) -> TeacherError:
        """Tell what a request that was not answered means."""
        if isinstance(error, TeacherError):
            return error.with_traceback(None)
        url = self._url()
        if isinstance(error, (TimeoutError, httpx.ReadTimeout)):
            seconds = f"{within} s: is the server up, and is `base_url` right?"
            if within is None:
                seconds = (
                    f"{self.timeout} s, the `timeout`: raise it if the server is slow, or lower "
                    "`max_concurrency`."
                )
            # A slow server is faster with fewer at once.
            return TeacherUnavailableError(
                f"No whole answer from {url} in {seconds}", overloaded=True
            )
        what = redact(repr(error), self._key())
        if "CERTIFICATE_VERIFY_FAILED" in what:
            return TeacherError(
                f"The certificate of {url} is not trusted: {what}. If you trust the server, set "
                "SSL_CERT_FILE to the certificate that it is signed by."
            )
        if isinstance(error, httpx.RequestError):
            return TeacherUnavailableError(
                f"No answer from {url}: {what}. Is the server up, and is `base_url` right?"
            )
        return TeacherError(f"{url} cannot be asked: {what}. Is `base_url` right?")

    def _error(self, response: httpx.Response) -> TeacherError:
        """Tell what an answer with an error status means for the request and for the others."""
        status = f"{response.status_code} {response.reason_phrase}"
        what = f"{self._url()} answered {status}: {self._quote(self._message(response))}."
        return self._make_error(response.status_code, what, response.headers, response.text)

    def _message(self, response: httpx.Response) -> str:
        """What is shown of an answer with an error status."""
        return response.text

    def _is_default(self) -> bool:
        return self._url() == self.default_base_url

    def _url(self) -> str:
        return self.base_url or os.environ.get(self.url_variable) or self.default_base_url

    def _key(self) -> str | None:
        own = Secret(os.environ.get(self.key_variable))
        return super()._key() or own.reveal(self.key_variable)


def _leads_elsewhere(response: httpx.Response) -> bool:
    """Whether a response redirects to another server, which an API's own addresses do not."""
    if not response.has_redirect_location:
        return False
    try:
        own, target = response.url, response.url.join(response.headers["location"])
    except httpx.InvalidURL:
        return True
    return (own.scheme, own.host, own.port) != (target.scheme, target.host, target.port)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def load_certificates() -> ssl.SSLContext:
    """Read the certificates that servers are checked by: the environment's, or certifi's."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # of a file that is missing, or holds something else
        named = [f"{n}={os.environ[n]!r}" for n in CERTIFICATE_VARIABLES if n in os.environ]
        raise TeacherError(
            f"The certificates that {' and '.join(named) or 'certifi'} names cannot be read "
            f"({error}): name a file that is there, or unset the variable."
        ) from error
