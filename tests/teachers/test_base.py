"""LLMTeacher: what a subclass gets for its one method."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings

import pytest

from pgkd.exceptions import (
    TeacherAuthenticationError,
    TeacherError,
    TeacherRequestError,
    TeacherUnavailableError,
)
from pgkd.records import Completion, Example, GenerationRequest, Usage
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
