"""A server on loopback that speaks as LLM providers do, and goes wrong on demand."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeAlias

from pgkd.exceptions import InvalidInputError
from pgkd.testing.fault_server import wire
from pgkd.testing.fault_server.answers import Answer, Schema, Writer
from pgkd.testing.fault_server.anthropic import Anthropic
from pgkd.testing.fault_server.faults import Fault
from pgkd.testing.fault_server.openai import OpenAI
from pgkd.testing.fault_server.provider import Provider, RefusedRequest
from pgkd.testing.fault_server.wire import ReceivedRequest, Response

#: What the steps of a script come to; see :class:`FaultServer`.
Reply: TypeAlias = (
    Fault | str | bytes | dict[str, Any] | list[Any] | tuple[int, Any, Mapping[str, str]]
)
Step: TypeAlias = Reply | Callable[[Any], Reply]

PROVIDERS: tuple[Provider, ...] = (OpenAI(), Anthropic())
HOST = "127.0.0.1"
#: What clients ask for to find out whether a server is there.
MODELS = "/v1/models"


class FaultServer:
    """A real HTTP server on loopback that speaks as OpenAI and Anthropic do, and plays faults.

    It takes ``POST /v1/chat/completions`` and ``POST /v1/messages``, refuses requests that are not
    of the provider's published shape as the provider does, and answers others with texts that fit
    the JSON schema in the request and are all different. It does not stream. ``GET /v1/models``, by
    which clients find out whether a server is there, has an empty list, is no step of the script
    and is not counted.

    Parameters
    ----------
    script : sequence, default=()
        What the requests are answered with, in the order in which they come; the last step repeats.
        ``()``: good answers. A step is a :class:`Fault`; a str, which the LLM says; a dict, list or
        bytes, the body as it is; a tuple (status, body, headers); or a function of the request's
        document that returns one of these. Functions are called in the server's thread, which they
        must not hold up.
    latency : float or tuple of (float, float), default=0
        Seconds before an answer begins: the same for all, or the median and the sigma of a
        log-normal distribution.
    rates : mapping of int or Fault to float, default=None
        Probabilities of faults that come at random, before the script is asked. An int is the
        status of an error; 429 asks to wait a second.
    schema : dict, default=None
        JSON schema of the answers to requests that come without one.
    n_texts : int, default=1
        Texts for each class where the schema does not say how many.
    seed : int, default=0
        Of the texts, the latencies and the random faults.
    port : int, default=0
        0: one that is free.
    record : bool, default=True
        Keep the requests and the texts.

    Attributes
    ----------
    base_url : str
        E.g. ``"http://127.0.0.1:40123/v1"``.
    requests : list of ReceivedRequest
        What came, with `path`, `headers`, `body` and `time`.
    texts : list of str
        The texts that were sent, those that were whole and had a label that was asked for.
    n_requests, n_faults : int
        Requests that came, and those of them that a random fault has struck.

    Examples
    --------
    >>> from pgkd.records import GenerationRequest
    >>> from pgkd.teachers import OpenAITeacher
    >>> from pgkd.testing import Fault, FaultServer
    >>> script = [Fault.rate_limit("ms", delay=0.1), Fault.reset_mid_body(), Fault.none()]
    >>> with FaultServer(script) as server:
    ...     teacher = OpenAITeacher("any", base_url=server.base_url)
    ...     [generation] = teacher.generate([GenerationRequest("1-1", {"ham": 1})])
    >>> generation.examples
    (Example(text='ham: ...', label='ham'),)
    >>> server.n_requests
    3
    """

    def __init__(
        self,
        script: Sequence[Step] = (),
        *,
        latency: float | tuple[float, float] = 0.0,
        rates: Mapping[int | Fault, float] | None = None,
        schema: Schema | None = None,
        n_texts: int = 1,
        seed: int = 0,
        port: int = 0,
        record: bool = True,
    ) -> None:
        self.script = script
        self.schema = schema
        self.record = record
        self.requests: list[ReceivedRequest] = []
        self.texts: list[str] = []
        self.n_requests = self.n_faults = 0
        self._port = port
        self._latency = _check_latency(latency)
        self._chances = _accumulate(rates or {})
        self._random = random.Random(seed)
        self._writer = Writer(seed, n_texts)
        self._connections: set[asyncio.StreamWriter] = set()
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def script(self) -> Sequence[Step]:
        """What the requests are answered with; a new script begins at its beginning."""
        return self._script

    @script.setter
    def script(self, script: Sequence[Step]) -> None:
        if not isinstance(script, (list, tuple)):
            raise InvalidInputError(
                "The `script` parameter of FaultServer must be a list or a tuple of its steps. Got "
                f"{script!r} instead."
            )
        for step in script:
            _check_step(step)
        self._script = script
        self._steps = itertools.chain(script, itertools.repeat(script[-1] if script else GOOD))

    @property
    def base_url(self) -> str:
        """Where the API is."""
        if self._thread is None:
            raise InvalidInputError(
                "FaultServer is not up: use it as `with FaultServer(...) as server:`."
            )
        return f"http://{HOST}:{self._port}/v1"

    def __enter__(self) -> FaultServer:
        if self._thread is not None:
            raise InvalidInputError("FaultServer is up already: make another one.")
        started: Future[int] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name="FaultServer", daemon=True
        )
        self._thread.start()
        try:
            self._port = started.result()
        except Exception:
            self._thread = None
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None
        if error is None and self._error is not None:
            raise self._error

    async def _run(self, started: Future[int]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await asyncio.start_server(self._serve, HOST, self._port, backlog=1024)
        except Exception as error:
            started.set_exception(error)
            return
        started.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        for connection in self._connections:
            connection.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection, request by request."""
        self._connections.add(writer)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the server is closed
        except Exception as error:  # shown when the server is closed
            self._error = self._error or error
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve a request; tell whether there may be another one."""
        try:
            head = await wire.read_head(reader)
            if head is None:
                return False
            method, path, headers = head
            if headers.get("expect", "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            content = await wire.read_body(reader, headers)
        except wire.MalformedRequest as error:
            await wire.send(writer, error.response, keep_alive=False)
            return False
        if (method, path) == ("GET", MODELS):
            await wire.send(writer, Response(200, b'{"object": "list", "data": []}'), True)
            return True
        request = ReceivedRequest(method, path, headers, _read_json(content), time.monotonic())
        self.n_requests += 1
        if self.record:
            self.requests.append(request)
        response = self._respond(request)
        await asyncio.sleep(self._draw_latency())
        keep_alive = request.keeps_alive and response.delivery.end == "whole"
        if method == "HEAD":
            response = replace(response, content=b"")
        await wire.send(writer, response, keep_alive)
        return keep_alive

    def _draw_latency(self) -> float:
        median, sigma = self._latency
        return median * math.exp(self._random.gauss(0.0, sigma)) if sigma else median

    def _respond(self, request: ReceivedRequest) -> Response:
        provider = _find_provider(request)
        try:
            _check_target(provider, request)
            provider.check(request.headers, request.body)
        except RefusedRequest as error:
            document = provider.error(error.status, str(error), **error.fields)
            return Response(error.status, json.dumps(document).encode())
        try:
            return self._play(self._pick(), provider, request.body)
        except Exception as error:  # of a function in the script: shown when the server is closed
            self._error = self._error or error
            document = provider.error(500, f"The script failed: {error!r}")
            return Response(500, json.dumps(document).encode())

    def _pick(self) -> Step:
        """Tell what comes next: a fault by chance, else the next step of the script."""
        chance = self._random.random()
        for limit, fault in self._chances:
            if chance < limit:
                self.n_faults += 1
                return fault
        step: Step = next(self._steps)
        return step

    def _play(self, step: Step, provider: Provider, body: Any) -> Response:
        if callable(step):
            step = step(body)
            _check_step(step)
            return self._play(step, provider, body)
        if isinstance(step, Fault):
            answer = self._writer.write(provider.find_schema(body) or self.schema)
            response, texts = step.respond(provider, body, answer, self.n_requests)
            if self.record:
                self.texts += texts
            return response
        if isinstance(step, str):
            document = provider.write(body, Answer(step), self.n_requests)
            return Response(200, json.dumps(document).encode())
        status, content, headers = step if isinstance(step, tuple) else (200, step, {})
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        return Response(status, content, headers)


GOOD = Fault.none()


def _check_step(step: Step) -> None:
    is_response = isinstance(step, tuple) and len(step) == 3 and isinstance(step[0], int)
    if not (is_response or callable(step) or isinstance(step, (Fault, str, dict, list, bytes))):
        raise InvalidInputError(
            "A step of a FaultServer's script must be a Fault, a str, a dict, a list, bytes, a "
            f"tuple (status, body, headers) or a function that returns one. Got {step!r} instead."
        )


def _check_latency(latency: float | tuple[float, float]) -> tuple[float, float]:
    """Return the median and the sigma."""
    median, sigma = latency if isinstance(latency, tuple) else (latency, 0.0)
    if median < 0 or sigma < 0:
        raise InvalidInputError(
            "The `latency` parameter of FaultServer must be seconds, or their median and the sigma "
            f"of a log-normal distribution, none below 0. Got {latency!r} instead."
        )
    return median, sigma


def _accumulate(rates: Mapping[int | Fault, float]) -> list[tuple[float, Fault]]:
    """Return the faults, each with its probability added to those before it."""
    if any(rate < 0 for rate in rates.values()) or sum(rates.values()) > 1:
        raise InvalidInputError(
            "The `rates` parameter of FaultServer must be probabilities that sum up to 1 at most. "
            f"Got {rates!r} instead."
        )
    return list(zip(itertools.accumulate(rates.values()), map(_as_fault, rates)))


def _as_fault(fault: int | Fault) -> Fault:
    if isinstance(fault, Fault):
        return fault
    return Fault.rate_limit() if fault == 429 else Fault.error(fault)


def _read_json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


def _find_provider(request: ReceivedRequest) -> Provider:
    for provider in PROVIDERS:
        if provider.path == request.path:
            return provider
    return PROVIDERS["anthropic-version" in request.headers]


def _check_target(provider: Provider, request: ReceivedRequest) -> None:
    if request.path != provider.path:
        raise RefusedRequest(f"Invalid URL ({request.method} {request.path})", 404, code=None)
    if request.method != "POST":
        raise RefusedRequest(f"Not allowed to {request.method} on {request.path}.", 405)
