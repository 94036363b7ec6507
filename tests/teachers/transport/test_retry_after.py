"""How long a server asks to wait, in whatever it may send."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd.records import GenerationRequest
from pgkd.teachers import AnthropicTeacher, OpenAITeacher
from pgkd.teachers.transport.retry_after import read_retry_after
from pgkd.testing import Fault, FaultServer

NAMES = ("retry-after", "retry-after-ms", "x-ratelimit-reset-tokens")
NO_TIMES = [
    *("nan", "-1", "-100", "inf", "-inf", "1e999", "1.2.3", "1.2.3s", "--5", "", "soon", "\u00b2"),
    *("5, 10", "0x10", "5 seconds", "null", "[5]", " ", "9" * 400, "9" * 400 + "s", "1h-2m"),
    *("Fri, 31 Dec 99999 23:59:59 GMT", "Fri, 99 Foo 2030 99:99:99 GMT", "9999999999999999-01-01"),
]


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_time_is_left_out(name, value):
    headers = {name: value, "x-ratelimit-remaining-tokens": "0"}
    assert read_retry_after(headers) is None
    assert read_retry_after({"retry-after": "7"} | headers) in (7.0, None)


def test_the_header_that_can_be_read_counts():
    assert read_retry_after({"retry-after-ms": "-100", "retry-after": "7"}) == 7
    assert read_retry_after({"retry-after-ms": "1500"}) == 1.5
    assert read_retry_after({"retry-after-ms": " 20 ", "retry-after": " 7\n"}) == 0.02
    assert read_retry_after({"retry-after": " 6m0.5s "}) == 360.5
    assert read_retry_after({"retry-after": "0"}) == 0
    assert read_retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    past = formatdate(time.time() - 100, usegmt=True)
    assert read_retry_after({"retry-after": past}) == 0  # clocks differ: it is now


NUMBERS = st.floats().map(str) | st.integers().map(str) | st.integers(1, 999).map("9".__mul__)
VALUES = st.text() | st.tuples(NUMBERS, st.sampled_from(["", "s", "ms", "d"])).map("".join)


@given(st.sampled_from(NAMES), VALUES)
def test_any_header_is_a_time_or_none(name, value):
    seconds = read_retry_after({name: value, "x-ratelimit-remaining-tokens": "0"})
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize("make", [OpenAITeacher, AnthropicTeacher])
@pytest.mark.parametrize(
    "headers", [{"Retry-After": "nan"}, {"retry-after-ms": "-100"}, {"Retry-After": "1.2.3s"}]
)
def test_a_header_never_ends_the_run(make, headers):
    with FaultServer([Fault.error(429, headers=headers), Fault.none()]) as server:
        teacher = make("m", base_url=server.base_url)
        [generation] = teacher.generate([GenerationRequest("1-1", {"card": 1})])
    assert generation.examples
    assert server.n_requests == 2
