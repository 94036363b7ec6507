"""Answers and the ledger, held by processes of which any may be killed at any time."""

import itertools
import math
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pgkd.exceptions import PersistenceError, TeacherError
from pgkd.records import Completion, Usage
from pgkd.system.store import RunStore
from pgkd.teachers import CachedTeacher, FunctionTeacher, RecordedTeacher

N_EXAMPLES, N_STEPS = 20, 25
#: How many processes are killed while they work, how many do at once, and within how many seconds
#: after another; and what they may spend.
N_KILLED, N_AT_ONCE, SECONDS, MAX_COST = 24, 6, 0.1, 5.0

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="forks")


class Process:
    """A process of its own with a store, which does what it is told until it is killed."""

    def __init__(self, path, work=None):
        self.path = path
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work or serve, args=(theirs, path), daemon=True)
        self.process.start()
        theirs.close()

    def __getattr__(self, name):
        def call(*args):
            self.pipe.send((name, args))
            assert self.pipe.poll(60), f"{name} hangs"
            answer = self.pipe.recv()
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def kill(self):
        self.process.kill()
        self.process.join()


def serve(pipe, path):
    store, leases = RunStore(path), ExitStack()
    own = {"lease": lambda: leases.enter_context(store.lease()), "end": leases.close}
    while True:
        name, args = pipe.recv()
        try:
            pipe.send((own.get(name) or getattr(store, name))(*args))
        except Exception as error:
            pipe.send(error)


# Sixteenths: their sums are exact, whatever the order.
COSTS = st.integers(0, 12).map(lambda n: n / 16)
TOKENS = st.integers(0, 40)
TEXTS = st.one_of(
    st.text(st.characters()),  # with surrogates, and NUL
    st.sampled_from(["\0", "a\0b", "\ud83d", "\udfff\ud800", "\u2028", ""]),
    st.integers(1, 3).map(lambda n: "\U0001f600\n" * 10**5 * n),
)
ANSWERS = st.builds(
    Completion,
    TEXTS,
    st.builds(Usage, st.integers(0, 3), TOKENS, TOKENS, st.none() | COSTS, st.integers(0, 9)),
    truncated=st.booleans(),
    logprobs=st.lists(
        st.dictionaries(TEXTS, st.floats(allow_nan=False), max_size=2), max_size=2
    ).map(tuple),
)
KEYS = ["a", "b", "a-9"]
BUDGETS = st.sampled_from([(2.0, None), (None, 100), (2.0, 100)])


class Stores(RuleBasedStateMachine):
    """Processes with two files in one folder, against what these must hold."""

    @initialize(budgets=st.tuples(BUDGETS, BUDGETS))
    def begin(self, budgets):
        self.folder = Path(tempfile.mkdtemp())
        # One name ends as the other does, and is a pattern that matches it.
        paths = [self.folder / name for name in ("run.sqlite", "*.run.sqlite")]
        self.budgets = dict(zip(paths, budgets))
        self.answers = {path: {} for path in paths}
        self.batches = {path: {} for path in paths}
        self.settled = dict.fromkeys(paths, Usage())
        self.above = dict.fromkeys(paths, Usage())  # what answers took above what was reserved
        self.dead = []
        self.running = [self.start(path) for path in paths]
        for process in self.running:
            self.lease_or_end(process)

    def teardown(self):
        self.look()
        for process in self.running:
            process.kill()
        shutil.rmtree(self.folder)

    def start(self, path):
        process = Process(path)
        process.is_leased, process.reserved = False, {}
        return process

    def total(self, path):
        reserved = (
            process.reserved.values()
            for process in (*self.running, *self.dead)
            if process.path == path
        )
        return sum(itertools.chain.from_iterable(reserved), self.settled[path])

    def give_back(self, path):
        self.dead = [process for process in self.dead if process.path != path]

    @precondition(lambda self: len(self.running) < 5)
    @rule(data=st.data())
    def another(self, data):
        self.running.append(self.start(data.draw(st.sampled_from(list(self.answers)))))

    @rule(data=st.data())
    def die(self, data):
        process = data.draw(st.sampled_from(self.running))
        process.kill()
        self.running.remove(process)
        if process.is_leased:
            self.dead.append(process)
        else:  # nobody can tell
            self.settled[process.path] = sum(process.reserved.values(), self.settled[process.path])
        self.running.append(self.start(process.path))

    @rule(data=st.data())
    def choose_lease(self, data):
        self.lease_or_end(data.draw(st.sampled_from(self.running)))

    def lease_or_end(self, process):
        if process.is_leased:
            process.end()
            process.reserved = {}
        else:
            process.lease()
            self.settled[process.path] = sum(process.reserved.values(), self.settled[process.path])
            process.reserved = {}
        process.is_leased = not process.is_leased
        self.give_back(process.path)

    @rule(data=st.data(), key=st.sampled_from(KEYS), answer=ANSWERS)
    def keep(self, data, key, answer):
        process = data.draw(st.sampled_from(self.running))
        process.put(key, answer)
        self.answers[process.path][key] = answer

    @rule(
        data=st.data(),
        keys=st.lists(st.sampled_from(KEYS)),
        batch=st.none() | st.text(st.characters(codec="utf-8")),
    )
    def submit(self, data, keys, batch):
        process = data.draw(st.sampled_from(self.running))
        if batch is None:
            process.forget_batches(keys)
        else:
            process.put_batch(keys, batch)
        own = self.batches[process.path]
        own |= dict.fromkeys(keys, batch)

    @rule(data=st.data(), cost=COSTS, tokens=TOKENS)
    def reserve(self, data, cost, tokens):
        process = data.draw(st.sampled_from(self.running))
        max_cost, max_tokens = self.budgets[process.path]
        expected = Usage(0, tokens, tokens, cost)
        total = self.total(process.path) + expected
        is_allowed = total.cost <= (max_cost or math.inf) and count(total) <= (
            max_tokens or math.inf
        )
        is_known = max_cost is not None or cost
        asked = expected if is_known else replace(expected, cost=None)
        entry = process.reserve(asked, max_cost, max_tokens)
        assert (entry is not None) == is_allowed
        if is_allowed:
            assert entry not in process.reserved
            process.reserved[entry] = expected

    @precondition(lambda self: any(process.reserved for process in self.running))
    @rule(data=st.data(), tokens=TOKENS, cost=st.none() | COSTS)
    def settle(self, data, tokens, cost):
        process = data.draw(st.sampled_from([p for p in self.running if p.reserved]))
        entry = data.draw(st.sampled_from(sorted(process.reserved)))
        expected = process.reserved.pop(entry)
        usage = Usage(0, tokens, 1, cost)
        process.settle(entry, usage)
        took = usage if cost is not None else replace(usage, cost=expected.cost)
        self.settled[process.path] += took
        excess = took - expected
        self.above[process.path] += Usage(0, max(count(excess), 0), 0, max(excess.cost, 0.0))

    @invariant()
    def ledger(self):
        for path, (max_cost, max_tokens) in self.budgets.items():
            total, above = self.total(path), self.above[path]
            assert RunStore(path).total_cost() == total.cost
            assert RunStore(path).reserve(Usage(), None, count(total) - 1) is None
            assert total.cost <= (max_cost or math.inf) + above.cost
            assert count(total) <= (max_tokens or math.inf) + count(above)

    @rule()
    def look(self):
        """As one who comes anew."""
        for path, answers in self.answers.items():
            store = RunStore(path)
            assert {key: store.get(key) for key in KEYS} == {key: answers.get(key) for key in KEYS}
            batches = {key: own for key, own in self.batches[path].items() if own is not None}
            assert store.find_batches(KEYS) == batches
            # With the invariant: the ledger has just as many tokens.
            assert store.reserve(Usage(), None, count(self.total(path)))


def count(usage):
    return usage.input_tokens + usage.output_tokens


TestStores = needs_fork(Stores.TestCase)
TestStores.settings = settings(max_examples=N_EXAMPLES, stateful_step_count=N_STEPS)


@needs_fork
@pytest.mark.parametrize("names", [("run.sqlite", "*.sqlite"), ("sqlite", "run.sqlite")])
def test_a_ledger_frees_its_own_reservations_only(tmp_path, names):
    """Also where the name of one is a pattern that matches the other's, or ends as it does."""
    processes = [Process(tmp_path / name) for name in names]
    for process in processes:
        process.lease()
        assert process.reserve(Usage(cost=0.75), 1.0, None)
        process.kill()
    for path in (process.path for process in reversed(processes)):
        store = RunStore(path)
        assert store.reserve(Usage(cost=0.5), 1.0, None) is None
        with store.lease():
            assert store.reserve(Usage(cost=0.5), 1.0, None)
        assert store.total_cost() == 0  # what was under way at the end


# All at once


def work(pipe, path):
    """Buy answer after answer at once, and tell of each that is kept."""
    store, rng = RunStore(path), random.Random(os.getpid())
    with store.lease():
        for i in itertools.count():
            entry = store.reserve(Usage(1, 10, 10, cost=1 / 16), MAX_COST, None)
            if entry is None:
                time.sleep(0.001)
                continue
            key = f"{os.getpid()}-{i}"
            store.put(key, Completion(key * rng.randint(1, 10**4)))
            store.settle(entry, Usage(1, 5, 5, cost=1 / 64))
            pipe.send(key)


@needs_fork
def test_killed_while_they_work(tmp_path):
    """All begin at once, with a file that is not there yet; each is killed at any moment."""
    path = tmp_path / "run" / "run.sqlite"
    told = set()
    for _ in range(N_KILLED // N_AT_ONCE):
        workers = [Process(path, work) for _ in range(N_AT_ONCE)]
        for worker in random.sample(workers, len(workers)):
            time.sleep(random.uniform(0, SECONDS))
            worker.kill()
        for worker in workers:
            with suppress(EOFError):
                while True:
                    told.add(worker.pipe.recv())
    assert told
    store = RunStore(path)
    assert all(store.get(key).text.startswith(key) for key in told)
    with store.lease():
        spent = store.total_cost()
    # Settled is what was told, but for one a process that was killed in between.
    assert len(told) <= 64 * spent <= len(told) + N_KILLED
    assert spent <= MAX_COST
    assert [path.name for path in path.parent.iterdir()] == ["run.sqlite"]


# What is kept


FAILURES = st.sampled_from([None, "", " \n", Completion("{", filtered=True), TeacherError("down")])
GOOD = TEXTS.filter(str.strip) | TEXTS.map(lambda text: Completion(text, truncated=True))


@given(st.lists(FAILURES, max_size=3), GOOD, st.sampled_from(["cache", "recording"]))
@settings(max_examples=50)
def test_failures_are_asked_again_and_answers_never(failures, good, kind):
    script = [*failures, good]

    def answer(messages):
        own = script.pop(0)
        if isinstance(own, Exception):
            raise own
        return own

    with tempfile.TemporaryDirectory() as folder:

        def ask():
            teacher, path = FunctionTeacher(answer), Path(folder) / "kept"
            kept = (
                RecordedTeacher(path, teacher)
                if kind == "recording"
                else CachedTeacher(teacher, path)
            )
            return anyio.run(ask_once, kept)

        for failure in failures:
            if isinstance(failure, TeacherError):
                with pytest.raises(TeacherError, match="down"):
                    ask()
            else:
                assert not ask().is_worth_keeping
        bought = ask()
        assert bought.text == (good if isinstance(good, str) else good.text)
        assert script == []
        again = ask()
        assert (again.text, again.truncated) == (bought.text, bought.truncated)


async def ask_once(teacher):
    async with teacher.session() as ask:
        return await ask([{"role": "user", "content": "hello"}], {})


# What is in the way


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "noise").write_text("noise" * 1000)
    for path in (tmp_path, tmp_path / "file" / "run.sqlite", tmp_path / "noise"):
        with pytest.raises(PersistenceError, match=f"{re.escape(repr(str(path)))} cannot be read"):
            RunStore(path).get("a") or RunStore(path).put("a", Completion("b"))
