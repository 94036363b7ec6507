"""Many requests at once: how many, how fast, and which are tried again."""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import tenacity

from pgkd.exceptions import TeacherError, TeacherRequestError, TeacherUnavailableError
from pgkd.records import Completion, Usage

T = TypeVar("T")
R = TypeVar("R")

#: Longest wait between two tries, in seconds, unless the server asks for a longer one.
MAX_WAIT = 60.0
#: Share of "too many requests" among the last answers above which fewer are sent at once. Single
#: ones are noise, and waiting as long as they ask is enough.
MAX_REFUSED = 0.1


def run_concurrently(
    connect: Callable[[], AbstractAsyncContextManager[Callable[[T], Awaitable[R]]]],
    items: Iterable[T],
    n_workers: int,
) -> Iterator[R]:
    """Yield results as they come, with at most `n_workers` items under way.

    The event loop lives in a thread of its own for as long as the iterator does, so this works in
    plain scripts, notebooks (whose loop is already running), threads and forked workers alike.
    Closing the iterator calls off what is still under way. Ctrl-C does not: what is under way is
    paid for, so it is still yielded before KeyboardInterrupt is raised; a second Ctrl-C ends it.

    Parameters
    ----------
    connect : callable returning an async context manager
        Opened once, in the event loop; yields the coroutine function that serves an item.
    items : iterable
        Taken one by one, so that it may be endless.
    n_workers : int
    """
    todo = iter(items)
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    started: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
    interrupted: list[KeyboardInterrupt] = []
    end = object()

    async def work(serve: Callable[[T], Awaitable[R]], scope: anyio.CancelScope) -> None:
        for item in todo:  # shared: a worker takes the next one when it is free
            try:
                done.put((await serve(item), None))
            except Exception as error:
                done.put((None, error))
                scope.cancel()
            if interrupted:
                return

    async def run() -> None:
        with anyio.CancelScope() as scope:
            loop = asyncio.get_running_loop()
            started.put(lambda: loop.call_soon_threadsafe(scope.cancel))
            async with connect() as serve, anyio.create_task_group() as workers:
                for _ in range(n_workers):
                    workers.start_soon(work, serve, scope)

    def run_in_thread() -> None:
        try:
            asyncio.run(run())
            done.put((end, None))
        except BaseException as error:
            done.put((end, error))

    # A daemon: an iterator that is left in the middle must not keep the process from ending.
    thread = threading.Thread(target=run_in_thread, name="pgkd requests", daemon=True)
    thread.start()
    call_off = started.get()
    try:
        while True:
            try:
                result, error = done.get()
                if error is not None:
                    raise error
                if result is end:
                    break
                yield result
            except KeyboardInterrupt as interrupt:
                if interrupted:
                    raise
                interrupted.append(interrupt)
                warnings.warn(
                    "Interrupted: waiting for the answers under way, which are paid for. "
                    "Ctrl-C again calls them off.",
                    stacklevel=2,
                )
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended already
            call_off()
        thread.join()
    if interrupted:
        raise interrupted[0]


class Limits:
    """How many requests may be under way, how much may be sent in a minute, and when to give up.

    Fewer requests are sent at once when the server refuses many of them, and more again later.

    Parameters
    ----------
    max_concurrency : int
    requests_per_minute : int or None
    tokens_per_minute : int, (int, int) or None
        Input and output tokens together, or apart.
    patience : float, default=inf
        Seconds without an answer to any request after which the teacher is down.
    """

    def __init__(
        self,
        max_concurrency: int,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | tuple[int, int] | None = None,
        patience: float = math.inf,
    ) -> None:
        self._patience = patience
        self._last_answer = time.monotonic()
        self._max = max_concurrency
        self._limiter = anyio.CapacityLimiter(max_concurrency)
        self._requests = _Pace(requests_per_minute)
        is_apart = isinstance(tokens_per_minute, tuple)
        both: Any = None if is_apart else tokens_per_minute
        apart: Any = tokens_per_minute if is_apart else (None, None)
        self._tokens, self._input, self._output = _Pace(both), _Pace(apart[0]), _Pace(apart[1])
        self._n_answers = self._n_refused = 0

    @property
    def concurrency(self) -> int:
        """Requests that may be under way at once, for now."""
        return int(self._limiter.total_tokens)

    async def call(
        self, function: Callable[[], Awaitable[Completion]], expected: Usage
    ) -> Completion:
        """Await ``function()`` when its turn has come; `expected` are the tokens it may take.

        Raises
        ------
        TeacherError
            If the teacher is down: each of many requests would wait for it in vain.
        """
        async with self._limiter:
            await self._requests.wait(1)
            await self._take(expected)
            try:
                completion = await function()
            except TeacherUnavailableError as error:
                self._adapt(error.overloaded)
                seconds = time.monotonic() - self._last_answer
                if seconds > self._patience:
                    raise _give_up(error, seconds) from error
                raise
            except TeacherRequestError:
                self._last_answer = time.monotonic()
                raise
            self._last_answer = time.monotonic()
            self._adapt(False)
            self._correct(completion.usage, expected)
            return completion

    async def _take(self, tokens: Usage) -> None:
        await self._tokens.wait(tokens.input_tokens + tokens.output_tokens)
        await self._input.wait(tokens.input_tokens)
        await self._output.wait(tokens.output_tokens)

    def _correct(self, taken: Usage, expected: Usage) -> None:
        n_input = taken.input_tokens - expected.input_tokens
        n_output = taken.output_tokens - expected.output_tokens
        self._tokens.add(n_input + n_output)
        self._input.add(n_input)
        self._output.add(n_output)

    def _adapt(self, refused: bool) -> None:
        """Halve on many refusals, grow by a quarter after a round without."""
        self._n_answers += 1
        self._n_refused += refused
        n = self.concurrency
        if self._n_refused > MAX_REFUSED * n + 1:
            self._limiter.total_tokens = max(n // 2, 1)
        elif self._n_answers >= n:
            if not self._n_refused:
                self._limiter.total_tokens = min(n + max(n // 4, 1), self._max)
        else:
            return
        self._n_answers = self._n_refused = 0


def _give_up(error: TeacherUnavailableError, seconds: float) -> TeacherError:
    failure = TeacherError(f"No request was answered for {seconds:.0f} s. {error}")
    failure.usage = error.usage
    return failure


class _Pace:
    """Let so many units a minute through, evenly."""

    def __init__(self, per_minute: int | None) -> None:
        self._seconds = 60 / per_minute if per_minute else 0.0
        self._free_at = 0.0

    async def wait(self, amount: int) -> None:
        if self._seconds:
            start = max(self._free_at, anyio.current_time())
            self._free_at = start + amount * self._seconds
            await anyio.sleep_until(start)

    def add(self, amount: int) -> None:
        self._free_at += amount * self._seconds


async def with_retries(
    function: Callable[[], Awaitable[Completion]], max_retries: int, deadline: float
) -> Completion:
    """Await ``function()`` as `retry` does, and count what failed tries took.

    It is in the usage of the answer or, if there is none, of the error.
    """
    failed = Usage()

    async def call() -> Completion:
        nonlocal failed
        try:
            return await function()
        except TeacherUnavailableError as error:
            failed += error.usage
            raise

    try:
        completion = await retry(call, max_retries, deadline)
    except TeacherUnavailableError as error:
        error.usage = failed
        raise
    return replace(completion, usage=completion.usage + failed)


async def retry(function: Callable[[], Awaitable[R]], max_retries: int, deadline: float) -> R:
    """Await ``function()``, and again up to `max_retries` times while the teacher is unavailable.

    Waits for as long as the server asks, else exponentially longer with jitter, and gives up when
    `deadline` seconds would be over.
    """
    backoff = tenacity.wait_random_exponential(multiplier=0.5, max=MAX_WAIT)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        if isinstance(asked, (int, float)) and 0 <= asked < math.inf:
            return float(asked)
        return backoff(state)

    async def call() -> R:  # tenacity awaits only what it knows to be a coroutine function
        return await function()

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(TeacherUnavailableError),
        stop=tenacity.stop_after_attempt(max_retries + 1) | tenacity.stop_before_delay(deadline),
        wait=wait,
        sleep=anyio.sleep,
        reraise=True,
    )
    result: R = await retrying(call)
    return result
