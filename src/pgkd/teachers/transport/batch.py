"""Half the price for those who can wait: requests that a provider serves as a batch."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias

import anyio
import httpx

from pgkd.exceptions import TeacherError, TeacherUnavailableError
from pgkd.records import Completion, Usage
from pgkd.system.store import ACTIVE_STORE, RunStore
from pgkd.teachers.base import AsyncComplete
from pgkd.teachers.parameters import ABOVE_ZERO, SWITCH
from pgkd.teachers.transport.gathering import Gatherer
from pgkd.teachers.transport.http import Experience, HTTPTeacher, load_certificates
from pgkd.teachers.transport.remote import RETRY_STATUSES, check_allowed
from pgkd.teachers.waiting import Limits, retry

#: What both providers charge, of the price outside a batch.
DISCOUNT = 0.5
#: Requests of a batch. OpenAI takes 50,000 and 200 MB, Anthropic 100,000 and 256 MB.
MAX_SIZE = 5_000
#: Bytes of a file of answers.
MAX_FILE = 2 * 2**30
#: Seconds in which a further request may come to be in a batch.
MOMENT = 1.0
#: Batches that a request is put in, one after the other, if the provider does not get round to it.
MAX_ROUNDS = 3
#: Seconds for which the server may be out of reach while a batch is under way.
PATIENCE = 3600.0

#: ``await send(method, path, **options)``: a good response, or ``None`` where nothing was found.
Send: TypeAlias = Callable[..., Awaitable[httpx.Response | None]]
#: Status and document of a response.
Answer: TypeAlias = tuple[int, Any]
#: By the key of the request; without those that the provider did not get round to.
Answers: TypeAlias = dict[str, Answer]

_log = logging.getLogger(__name__)


class FailedBatchError(TeacherError):
    """A batch failed as a whole."""


class BatchAPI(ABC):
    """How a provider takes batches.

    Parameters
    ----------
    send : coroutine function
    """

    def __init__(self, send: Send) -> None:
        self._send = send

    @abstractmethod
    async def submit(self, bodies: Mapping[str, Any]) -> str:
        """Submit requests, each with a key of its own, and return the batch's id."""

    @abstractmethod
    async def poll(self, batch: str, keys: Collection[str]) -> Answers | None:
        """Return the answers to the requests of a batch, ``None`` while it is under way.

        There are none if the provider does not know the batch, or has deleted its answers.

        Raises
        ------
        FailedBatchError
        """

    async def _create(self, path: str, **options: Any) -> Any:
        response = await self._send("POST", path, **options)
        if response is None:
            raise TeacherError(
                f"The server has no {path!r}, so it takes no batches: check `base_url`, or leave "
                "`batch` out."
            )
        return response.json()

    async def _read_lines(self, path: str | None) -> list[Any]:
        response = await self._send("GET", path) if path else None
        lines = response.text.split("\n") if response else []
        return [json.loads(line) for line in lines if line.strip()]


def called_off(batch: str) -> Answer:
    """Answer of a request in a batch that was cancelled."""
    return 400, {"error": {"message": f"The batch {batch!r} was cancelled."}}


@dataclass(eq=False, repr=False, kw_only=True)
class BatchTeacher(HTTPTeacher):
    """Base of teachers behind an HTTP API that also takes batches."""

    batches: ClassVar[type[BatchAPI]]

    _without_effect = HTTPTeacher._without_effect | {"batch", "poll_interval"}
    _rules = HTTPTeacher._rules | {"batch": SWITCH, "poll_interval": ABOVE_ZERO}

    batch: bool = False
    poll_interval: float = 60.0

    @property
    def n_workers(self) -> int:
        """Requests that are begun at once; those for a batch must not wait for each other."""
        return 2 * MAX_SIZE if self.batch else super().n_workers

    def _make_limits(self) -> Limits:
        # The provider's limits do not hold for batches.
        return Limits(self.n_workers) if self.batch else super()._make_limits()

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`, ``None`` if the price is not known."""
        cost = super().cost(usage)
        if usage.cost is not None or cost is None:
            return cost
        return cost * DISCOUNT if self.batch else cost

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncComplete]:
        """Yield ``await complete(messages, schema)``, which waits for its batch if there is one."""
        if not self.batch:
            async with super().connect() as complete:
                yield complete
            return
        check_allowed(self._url())
        async with self._open(load_certificates(), self._auth()) as client:
            batches = self.batches(partial(self._manage, client))
            transport = _BatchTransport(batches, ACTIVE_STORE.get(), self.poll_interval)
            async with httpx.AsyncClient(base_url=client.base_url, transport=transport) as waiting:
                yield partial(self._complete, waiting, Experience())

    async def _manage(
        self, client: httpx.AsyncClient, method: str, path: str, **options: Any
    ) -> httpx.Response | None:
        """Send what is not billed; ``None`` where nothing was found."""

        async def send() -> httpx.Response:
            response = await self._send(
                client, method, path, within=self.deadline, max_bytes=MAX_FILE, **options
            )
            if not response.is_success and response.status_code != 404:
                raise self._error(response)
            return response

        response = await retry(send, self.max_retries, self.deadline)
        return response if response.is_success else None

    async def _post(
        self, client: httpx.AsyncClient, path: str, body: Mapping[str, Any], **options: Any
    ) -> httpx.Response:
        if self.batch:  # without a deadline: it may take a day
            return await client.post(path, json=body, **options)
        return await super()._post(client, path, body, **options)

    def _read_answer(self, response: httpx.Response) -> Completion:
        """Read a good answer; a failure is not collected from the same batch again."""
        completion = None
        try:
            completion = super()._read_answer(response)
            return completion
        finally:
            store = ACTIVE_STORE.get()
            is_lost = completion is None or not completion.is_worth_keeping
            if self.batch and is_lost and store is not None:
                store.forget_batches([_make_key(response.request)])


class _BatchTransport(httpx.AsyncBaseTransport):
    """Answers a request when the batch that it was put in is done.

    So a teacher need not know about batches: it posts a request, and gets a response.
    """

    def __init__(self, batches: BatchAPI, store: RunStore | None, poll_interval: float) -> None:
        self._batches = batches
        self._store = store
        self._poll_interval = poll_interval
        self._gatherer = Gatherer(self._serve, MAX_SIZE, MOMENT)
        self._delivered: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        status, document = await self._gatherer.ask(request)
        return httpx.Response(status, json=document)

    async def _serve(self, requests: list[httpx.Request]) -> list[Answer | TeacherError]:
        keys = list(map(_make_key, requests))
        bodies = {key: json.loads(r.content) for key, r in zip(keys, requests)}
        answers: Answers = {}
        for _ in range(MAX_ROUNDS):
            missing = {k: body for k, body in bodies.items() if _is_missing(answers.get(k))}
            for batch, members in (await self._submit(missing)).items():
                answers |= await self._collect(batch, members)
        lost = TeacherUnavailableError(
            f"The provider did not get round to this request in {MAX_ROUNDS} batches: try again "
            "later, or leave `batch` out."
        )
        self._delivered |= answers.keys()
        return [answers.get(key, lost) for key in keys]

    async def _submit(self, bodies: Mapping[str, Any]) -> dict[str, list[str]]:
        """Submit the requests that are in no batch yet; return the batches of all of them."""
        # Who asks again could not use the answer, and needs another one.
        wanted = bodies.keys() - self._delivered
        found = self._store.find_batches(wanted) if self._store else {}
        new = {key: body for key, body in bodies.items() if key not in found}
        if new:
            with anyio.CancelScope(shield=True):  # what is submitted must be remembered
                batch = await self._batches.submit(new)
                _log.info("Batch %s submitted, with %d requests", batch, len(new))
                if self._store:
                    self._store.put_batch(new, batch)
            found |= dict.fromkeys(new, batch)
        batches: dict[str, list[str]] = {}
        for key, batch in found.items():
            batches.setdefault(batch, []).append(key)
        return batches

    async def _collect(self, batch: str, keys: list[str]) -> Answers:
        """Wait for a batch. What it did not bring is forgotten, so that it can be submitted again.

        Its good answers are not: the process may die before they are used.
        """
        try:
            answers = await self._wait_for(batch, keys)
        except FailedBatchError:
            if self._store:
                self._store.forget_batches(keys)
            raise
        _log.info("Batch %s finished, with %d answers", batch, len(answers))
        if self._store:
            self._store.forget_batches(k for k in keys if k not in answers or answers[k][0] != 200)
        return {key: answers[key] for key in keys if key in answers}

    async def _wait_for(self, batch: str, keys: list[str]) -> Answers:
        interval = self._poll_interval / 16
        last_seen = anyio.current_time()
        while True:
            try:
                answers = await self._batches.poll(batch, keys)
                if answers is not None:
                    return answers
                last_seen = anyio.current_time()
            except TeacherUnavailableError as error:
                if anyio.current_time() - last_seen > PATIENCE:
                    raise TeacherError(
                        f"The batch {batch!r} is under way, but its server is out of reach: "
                        f"{error} With `run_dir`, the same `fit` collects it later."
                    ) from error
            await anyio.sleep(interval)
            interval = min(2 * interval, self._poll_interval)


def _make_key(request: httpx.Request) -> str:
    return hashlib.sha256(str(request.url).encode() + request.content).hexdigest()


def _is_missing(answer: Answer | None) -> bool:
    return answer is None or answer[0] in RETRY_STATUSES or answer[0] >= 500
