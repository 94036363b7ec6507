"""Limits and retries, without a network."""

import contextlib
import time

import anyio
import pytest

from pgkd.exceptions import TeacherUnavailableError
from pgkd.records import Completion, Usage
from pgkd.teachers.waiting import Limits, run_concurrently, with_retries

ANSWER = Completion("{}", Usage(1, 100, 50, cost=None))
EXPECTED = Usage(1, 100, 100)


async def answer():
    return ANSWER


async def refuse():
    raise TeacherUnavailableError("too many", overloaded=True)


async def call(limits, function, n=1):
    for _ in range(n):
        with contextlib.suppress(TeacherUnavailableError):
            await limits.call(function, EXPECTED)


def test_halves_when_refused_and_grows_again():
    async def run():
        limits = Limits(16)
        seen = [limits.concurrency]
        for function, n in [(refuse, 3), (refuse, 2), (answer, 4), (answer, 100)]:
            await call(limits, function, n)
            seen.append(limits.concurrency)
        return seen

    assert anyio.run(run) == [16, 8, 4, 5, 16]


def test_never_below_one():
    async def run():
        limits = Limits(4)
        await call(limits, refuse, 50)
        return limits.concurrency

    assert anyio.run(run) == 1


def test_single_refusals_are_noise():
    """At 2 % of refusals halving would cost most of the rate."""

    async def run():
        limits = Limits(64)
        for _ in range(20):
            await call(limits, answer, 49)
            await call(limits, refuse)
        return limits.concurrency

    assert anyio.run(run) == 64


@pytest.mark.parametrize(
    ("params", "seconds"),
    [
        ({"requests_per_minute": 600}, 0.4),  # 4 waits of 0.1 s
        ({"tokens_per_minute": 90_000}, 0.4),  # 4 waits for the 150 that each took
        ({"tokens_per_minute": (60_000, 10**9)}, 0.4),
        ({"tokens_per_minute": (10**9, 30_000)}, 0.4),
        ({}, 0.0),
    ],
)
def test_pace(params, seconds):
    async def run():
        limits = Limits(8, **params)
        start = time.perf_counter()
        for _ in range(5):
            await limits.call(answer, EXPECTED)
        return time.perf_counter() - start

    assert seconds - 0.05 < anyio.run(run) < seconds + 0.3


def test_failed_tries_are_counted():
    tries = []

    async def flaky():
        tries.append(1)
        if len(tries) < 3:
            error = TeacherUnavailableError("no JSON came", retry_after=0)
            error.usage = Usage(1, 100, 7, cost=0.5)
            raise error
        return ANSWER

    completion = anyio.run(with_retries, flaky, 5, 60)
    assert completion.usage == Usage(3, 300, 64, cost=None)


def test_deadline():
    async def busy():
        raise TeacherUnavailableError("busy", retry_after=30)

    start = time.perf_counter()
    with pytest.raises(TeacherUnavailableError) as caught:
        anyio.run(with_retries, busy, 5, 10.0)
    assert time.perf_counter() - start < 5  # it does not wait for what cannot be in time
    assert caught.value.usage.n_requests == 1


def test_items_may_be_endless():
    def numbers():
        number = 0
        while True:
            yield number
            number += 1

    class Connection:
        async def __aenter__(self):
            async def double(number):
                await anyio.sleep(0.001)
                return 2 * number

            return double

        async def __aexit__(self, *_):
            return None

    results = run_concurrently(Connection, numbers(), 4)
    first = [next(results) for _ in range(20)]
    results.close()
    assert len(set(first)) == 20
    assert all(number % 2 == 0 for number in first)
