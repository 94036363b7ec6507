"""A fork in the middle of things: neither process waits for ever, nor hears what is the other's."""

import multiprocessing
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from pgkd.records import Completion, GenerationRequest, Usage
from pgkd.system.store import RunStore
from pgkd.teachers import CachedTeacher, OpenAITeacher
from pgkd.testing import FaultServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

N_FORKS = 10
#: Seconds in which a child has to end.
LIMIT = 30


def fork(function):
    """Run a function in a fork; return its exit code, ``None`` if it had to be killed."""
    process = multiprocessing.get_context("fork").Process(target=function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks in threaded processes
        process.start()
    process.join(LIMIT)
    code = process.exitcode
    process.kill()
    process.join()
    process.close()
    return code


def test_while_threads_keep_answers(tmp_path):
    store = RunStore(tmp_path / "run.sqlite")
    answer = Completion("a text", Usage(1, 100, 10, cost=0.01))
    is_over = threading.Event()

    def work(number):
        kept = 0
        while not is_over.is_set():
            store.put(f"{number}-{kept}", answer)
            kept += 1
        return kept

    def keep_one():
        store.put(f"fork {os.getpid()}", answer)
        assert store.get(f"fork {os.getpid()}") == answer

    with ThreadPoolExecutor(2) as threads:
        counts = [threads.submit(work, number) for number in range(2)]
        try:
            for _ in range(N_FORKS):
                assert fork(keep_one) == 0
        finally:
            is_over.set()
    for number, count in enumerate(counts):
        assert count.result() > 0
        assert all(store.get(f"{number}-{i}") == answer for i in range(count.result()))


def test_while_a_teacher_is_asked(tmp_path):
    """Each process has connections of its own, and one store."""
    labels = [f"class {i}" for i in range(40)]
    requests = [GenerationRequest(f"1-{label}", {label: 1}) for label in labels]

    def check(generations):
        answers = [(g.request.id, [e.label for e in g.examples]) for g in generations]
        assert sorted(answers) == sorted((r.id, list(r.counts)) for r in requests)

    with FaultServer(latency=0.05) as server:
        teacher = CachedTeacher(
            OpenAITeacher("any", base_url=server.base_url, max_concurrency=8),
            tmp_path / "run.sqlite",
        )
        answers = teacher.generate(requests)
        known = [next(answers), next(answers)]
        # The parent's loop, clients and connections are in use; the child has no such thread.
        assert fork(lambda: check(teacher.generate(requests))) == 0
        check([*known, *answers])
        n_asked = server.n_requests
        check(teacher.generate(requests))
        assert server.n_requests == n_asked  # all are kept
