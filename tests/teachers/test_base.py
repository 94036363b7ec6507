"""LLMTeacher: what a subclass gets for its one method."""

import asyncio
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from pgkd.exceptions import (
    InvalidInputError,
    TeacherAuthenticationError,
    TeacherError,
    TeacherRequestError,
    TeacherUnavailableError,
)
from pgkd.records import AnnotationRequest, Completion, Example, GenerationRequest, Usage
from pgkd.teachers import FunctionTeacher, LLMTeacher
from pgkd.testing import ScriptedTeacher

ANSWER = '{"a": ["one"], "b": ["two"]}'
REQUESTS = [GenerationRequest(f"1-{i}", {"a": 1, "b": 1}) for i in range(1, 9)]


def test_only_complete_is_needed():
    class Mine(LLMTeacher):
        def complete(self, messages, *, schema):
            assert messages[-1]["role"] == "user"
            assert schema["type"] == "object"
            return Completion(ANSWER, Usage(1, 1_000, 500, cost=None))

    generations = list(Mine().generate(REQUESTS))
    assert {g.request.id for g in generations} == {r.id for r in REQUESTS}
    assert all(g.examples == (Example("one", "a"), Example("two", "b")) for g in generations)
    assert generations[0].usage == Usage(1, 1_000, 500, cost=None)


def test_price():
    class Priced(LLMTeacher):
        price = (1.0, 10.0)

        def complete(self, messages, *, schema):
            return Completion(ANSWER, Usage(1, 1_000, 500, cost=None))

    assert next(Priced().generate(REQUESTS)).usage.cost == pytest.approx(0.006)


def test_without_complete():
    with pytest.raises(TeacherError, match="must define `complete`"):
        list(LLMTeacher().generate(REQUESTS))


class Slow(LLMTeacher):
    max_concurrency = 4

    def __init__(self):
        self.lock = threading.Lock()
        self.under_way = self.most = 0

    def complete(self, messages, *, schema):
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        time.sleep(0.3)
        with self.lock:
            self.under_way -= 1
        return Completion(ANSWER)


def test_concurrency():
    teacher = Slow()
    start = time.perf_counter()
    assert len(list(teacher.generate(REQUESTS))) == 8
    assert teacher.most == 4
    assert time.perf_counter() - start < 2  # 0.6 s of waiting; 2.4 s one after the other


def test_closing_calls_off_what_is_left():
    teacher = Slow()
    start = time.perf_counter()
    answers = teacher.generate(REQUESTS * 20)
    next(answers)
    answers.close()
    assert time.perf_counter() - start < 6  # all of them would take 12 s


def test_inside_a_running_event_loop():
    """As in a notebook."""

    async def cell():
        return list(Slow().generate(REQUESTS))

    assert len(asyncio.run(cell())) == 8


def test_a_refused_request_fails_alone():
    teacher = ScriptedTeacher([ANSWER, TeacherRequestError("prompt too long"), ANSWER])
    generations = sorted(teacher.generate(REQUESTS[:3]), key=lambda g: g.request.id)
    assert [g.error for g in generations] == [None, "prompt too long", None]
    assert [len(g.examples) for g in generations] == [2, 0, 2]
    assert generations[1].usage.n_requests == 1


class Flaky(ScriptedTeacher):
    max_retries = 2


def test_an_unavailable_teacher_is_asked_again():
    later = TeacherUnavailableError("busy", retry_after=0.01)
    teacher = Flaky([later, later, ANSWER])
    [generation] = teacher.generate(REQUESTS[:1])
    assert len(generation.examples) == 2
    assert generation.usage.n_requests == 3
    # One that stays unserved loses itself only.
    [lost] = Flaky([later] * 3).generate(REQUESTS[:1])
    assert (lost.error, lost.usage.n_requests) == ("busy", 3)


def test_waits_as_long_as_asked():
    teacher = Flaky([TeacherUnavailableError("busy", retry_after=0.3), ANSWER])
    start = time.perf_counter()
    list(teacher.generate(REQUESTS[:1]))
    assert 0.3 < time.perf_counter() - start < 1


def test_errors_that_no_retry_helps():
    teacher = Flaky([TeacherAuthenticationError("wrong key"), ANSWER])
    with pytest.raises(TeacherAuthenticationError, match="wrong key"):
        list(teacher.generate(REQUESTS[:1]))
    assert len(teacher.prompts_) == 1


def test_a_bug_in_complete_is_shown_as_it_is():
    def buggy(messages):
        raise ZeroDivisionError("division by zero")

    with pytest.raises(TeacherError, match="ZeroDivisionError") as caught:
        list(FunctionTeacher(buggy).generate(REQUESTS))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_wrong_return_type():
    with pytest.raises(TeacherError, match=r"must return a Completion\. Got dict"):
        list(FunctionTeacher(lambda messages: {}).generate(REQUESTS))


def test_a_cut_off_answer_is_counted():
    teacher = FunctionTeacher(lambda messages: Completion(ANSWER[:-4], truncated=True))
    generation = next(teacher.generate(REQUESTS[:1]))
    # The follow-up asks for "b" only, and is told "a" and half a text of "b".
    assert generation.examples == (Example("one", "a"),)
    assert generation.rejected == {"answer cut off": 2, "unknown label": 1}


def test_an_iterator_left_in_the_middle_does_not_keep_the_process():
    script = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_base import REQUESTS, ANSWER
from pgkd.teachers import FunctionTeacher
answers = FunctionTeacher(lambda messages: ANSWER).generate(REQUESTS)
next(answers)
sys.keep = answers
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


def test_a_second_interrupt_does_not_wait():
    script = """
import signal, sys, threading, time, os
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
from pgkd.records import GenerationRequest
from pgkd.teachers import FunctionTeacher
def interrupt():
    for _ in range(2):
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
start = time.monotonic()
try:
    teacher = FunctionTeacher(lambda messages: time.sleep(60))
    list(teacher.generate([GenerationRequest("1-1", {"a": 1})]))
except KeyboardInterrupt:
    print(time.monotonic() - start < 20, flush=True)
os._exit(0)
"""
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True)
    assert run.stdout == "True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork():
    """As in joblib's and torch's workers: no loop or thread of the parent is needed."""
    teacher = FunctionTeacher(lambda messages: ANSWER)
    assert len(list(teacher.generate(REQUESTS))) == 8
    context = multiprocessing.get_context("fork")
    process = context.Process(target=lambda: sys.exit(len(list(teacher.generate(REQUESTS)))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks in threaded processes
        process.start()
    process.join(60)
    assert process.exitcode == 8


# What is no text

TEXT = {"type": "text", "text": ANSWER}


@pytest.mark.parametrize(
    "content",
    [
        [TEXT],
        TEXT,
        [{"type": "thinking", "thinking": [{"type": "text", "text": "draft"}]}, TEXT],
        [{"type": "reasoning", "text": '{"a": ["draft"]}'}, {"text": ANSWER}],
        [ANSWER[:9], {"type": "output_text", "text": ANSWER[9:]}, None, {"type": "image_url"}],
        {"a": ["one"], "b": ["two"]},
    ],
)
def test_the_parts_of_an_answer_are_joined(content):
    for answer in (lambda messages: Completion(content), lambda messages: content):
        if not isinstance(content, list):
            answer = lambda messages: Completion(content)  # noqa: E731
        [generation] = FunctionTeacher(answer).generate(REQUESTS[:1])
        assert generation.examples == (Example("one", "a"), Example("two", "b"))


@pytest.mark.parametrize("content", [None, [], [None], 7, object(), [object()], b"bytes"])
def test_an_answer_without_a_text_is_unreadable(content):
    teacher = FunctionTeacher(lambda messages: Completion(content))
    [generation] = teacher.generate(REQUESTS[:1])
    assert generation.examples == ()
    assert generation.error is None
    assert generation.rejected
    labelling = AnnotationRequest("1-a1", ("x",), (("a", "b"),))
    [generation] = teacher.annotate([labelling])
    assert generation.rejected


def test_a_function_may_return_none_as_sdks_do_after_a_refusal():
    [generation] = FunctionTeacher(lambda messages: None).generate(REQUESTS[:1])
    assert generation.rejected == {"unreadable answer": 2}


@pytest.mark.parametrize("asked", [float("nan"), float("inf"), -1.0, -float("inf"), "5"])
def test_what_is_no_time_to_wait_is_the_usual_back_off(asked):
    teacher = Flaky([TeacherUnavailableError("busy", retry_after=asked), ANSWER])
    assert next(teacher.generate(REQUESTS[:1])).examples


# Parameters

WRONG = {
    "max_concurrency": [0, -1, 1.5, "8", None, True, np.int64(2)],
    "requests_per_minute": [0, -1, "60", float("nan"), True],
    "tokens_per_minute": [0, -1, [100, 100], (100,), (0, 100), (100, -1), "1000"],
    "max_retries": [-1, 1.5, None],
    "deadline": [0, -1.0, None],
    "max_followups": [-1, None],
    "max_tokens": [0, -5, 1.5, "9"],
    "price": [3.0, (-1, -2), (1,), (1, 2, 3, 4), (1, None), ("1", "2"), (float("nan"), 1), "12"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_parameter_that_cannot_work_is_refused(name, value):
    class Mine(LLMTeacher):
        def complete(self, messages, *, schema):
            raise AssertionError("asked")

    teacher = Mine()
    setattr(teacher, name, value)
    match = f"`{name}` parameter of Mine must be .* Got {re.escape(repr(value))} instead"
    for refuse in (teacher.check_ready, lambda: next(teacher.generate(REQUESTS))):
        with pytest.raises(InvalidInputError, match=match):
            refuse()


@pytest.mark.parametrize(
    "good",
    [
        {"tokens_per_minute": (1e6, None)},
        {"tokens_per_minute": 1e6, "requests_per_minute": np.float64(6000)},
        {"max_concurrency": 2, "price": [1, 2.5, 0], "max_tokens": 9},
        {"max_retries": 0, "max_followups": 0, "deadline": 1},
    ],
)
def test_parameters_that_can_work(good):
    answer = Completion(ANSWER, Usage(1, 100, 10, cost=None))
    teacher = FunctionTeacher(lambda messages: answer)
    for name, value in good.items():
        setattr(teacher, name, value)
    assert next(teacher.generate(REQUESTS[:1])).examples


@pytest.mark.parametrize("limit", [60_000, 60_000.0, (60_000.0, None)])
def test_tokens_that_are_not_counted_count_against_the_limit(limit):
    teacher = FunctionTeacher(lambda messages: ANSWER, price=(1.0, 1.0))
    teacher.tokens_per_minute = limit
    teacher.max_tokens = 9
    start = time.perf_counter()
    with pytest.warns(UserWarning, match="does not tell"):
        list(teacher.generate(REQUESTS[:3]))
    assert time.perf_counter() - start > 0.3  # some 250 tokens each, 1,000 a second
