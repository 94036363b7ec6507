"""Many requests at once, each tried again when that can help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import as_completed
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import anyio
import tenacity
from anyio.from_thread import start_blocking_portal

from pgkd.exceptions import TeacherUnavailableError

T = TypeVar("T")
R = TypeVar("R")

#: Longest wait between two tries, in seconds, unless the server asks for a longer one.
MAX_WAIT = 60.0


def run_concurrently(
    connect: Callable[[], AbstractAsyncContextManager[Callable[[T], Awaitable[R]]]],
    items: Iterable[T],
    max_concurrency: int,
) -> Iterator[R]:
    """Yield results as they come, with at most `max_concurrency` of them under way.

    The event loop lives in a thread of its own for as long as the iterator does, so this works in
    plain scripts, notebooks (whose loop is already running), threads and forked workers alike.
    Closing the iterator calls off what is still under way.

    Parameters
    ----------
    connect : callable returning an async context manager
        Opened once, in the event loop; yields the coroutine function that serves an item.
    items : iterable
    max_concurrency : int
    """
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(connect()) as serve:
        limiter = portal.call(anyio.CapacityLimiter, max_concurrency)

        async def serve_in_turn(item: T) -> R:
            async with limiter:
                return await serve(item)

        futures = [portal.start_task_soon(serve_in_turn, item) for item in items]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


async def with_retries(function: Callable[[], Awaitable[R]], max_retries: int) -> R:
    """Await ``function()``, and again up to `max_retries` times while the teacher is unavailable.

    Waits for as long as the server asks, else exponentially longer with jitter.
    """
    backoff = tenacity.wait_random_exponential(multiplier=0.5, max=MAX_WAIT)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        return float(backoff(state) if asked is None else asked)

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(TeacherUnavailableError),
        stop=tenacity.stop_after_attempt(max_retries + 1),
        wait=wait,
        sleep=anyio.sleep,
        reraise=True,
    )

    async def call() -> R:  # tenacity awaits only what it knows to be a coroutine function
        return await function()

    return await retrying(call)
