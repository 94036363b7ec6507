"""What teachers behind an HTTP API share: connections, and what is left out of refused requests."""

from __future__ import annotations

import os
import ssl
import warnings
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import anyio
import httpx

from pgkd.exceptions import TeacherAuthenticationError, TeacherError, TeacherUnavailableError
from pgkd.records import Completion, Message, Usage
from pgkd.system.secret import Secret, redact
from pgkd.teachers.base import AsyncComplete
from pgkd.teachers.parameters import instance_of
from pgkd.teachers.transport.pricing import look_up_cost
from pgkd.teachers.transport.remote import RemoteTeacher, check_allowed, conceal, find_host

#: They name certificates in place of certifi's.
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


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
                '`price=(input, output)`, or `pip install "pgkd[prices]"` for well-known models.',
                stacklevel=4,
            )

    @property
    def destination(self) -> str:
        """The host of its address."""
        return find_host(self._url())

    def _check_key(self) -> None:
        if not self._key() and self._is_default():
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
        # Parameters that this server has refused, learnt once for all requests of the batch.
        refused: set[str] = set()
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
                    return await self._complete(client, refused, messages, schema)
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
                return conceal(await client.request(method, url, **options), self._key())
        except Exception as error:
            failure = self._explain(error)
        # Not from the error of httpx: the variables in its traceback are headers, with the key.
        raise failure

    def _explain(self, error: Exception) -> TeacherError:
        """Tell what a request that was not answered means."""
        if isinstance(error, TeacherError):
            return error.with_traceback(None)
        url = self._url()
        if isinstance(error, TimeoutError):
            return TeacherUnavailableError(
                f"{url} did not finish its answer in {self.deadline} s.", overloaded=True
            )
        if isinstance(error, httpx.ReadTimeout):  # a slow server is faster with fewer at once
            return TeacherUnavailableError(
                f"No answer from {url} in {self.timeout} s, the `timeout`: raise it if the server "
                "is slow, or lower `max_concurrency`.",
                overloaded=True,
            )
        what = redact(repr(error), self._key())
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
