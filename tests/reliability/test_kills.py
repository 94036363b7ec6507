"""A fit that was killed goes on with the step that was cut off, and ends as if nothing had been.

SIGKILL after each step, in between, and at random moments; with a teacher in the same process and
with one that is asked by HTTP, whose server counts what it was asked.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time

import pytest
from reliability import fits
from reliability.fits import Speaker, answer, check_outcome, count_answers, read_log
from reliability.processes import Child

from pgkd import Evidence
from pgkd.records import Usage
from pgkd.system.store import RunStore
from pgkd.teachers import OpenAITeacher
from pgkd.testing import FaultServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork")
#: Random moments of SIGKILL: in the quick part, and in the long one.
N_MOMENTS, N_MOMENTS_LONG = 6, 40
#: Of each teacher, which takes its time, so that it is hit as often as the trainings.
SECONDS = 0.02
long = pytest.mark.slow


# At places that are known


def kill_at(folder, cases, **params):
    """Fit once to the end; and for each case be killed, and go on."""
    whole = Child(fits.fit, folder / "whole", **params).result()
    cases = [(kind, number) for kind, number in cases if number <= whole["log"].count(kind)]
    assert len(cases) > 2  # what the fit has no longer is no place to be killed at
    found = {}
    for kind, number in cases:
        run_dir = folder / f"{kind}-{number}"
        place = (kind, number, signal.SIGKILL)
        assert Child(fits.fit, run_dir, place, **params).end() == ("killed", signal.SIGKILL)
        log = read_log(run_dir)
        found[f"{kind} {number}"] = log, Child(fits.fit, run_dir, **params).result()
    return whole, found


def check_as_whole(whole, found):
    """Assert that all ended as the one that was not killed; return trainings beyond its own."""
    ends = [i for i, line in enumerate(whole["log"]) if line == "step"]
    extra = {}
    for case, (log, resumed) in found.items():
        check_outcome(resumed, whole)
        assert not [w for w in resumed["warnings"] if "run_dir" in w or "checkpoint" in w], case
        answered = log.count("answered") + resumed["log"].count("answered")
        # What an LLM has answered is kept a moment later.
        assert answered - whole["log"].count("answered") in (0, 1), case
        assert resumed["n_requests"] == resumed["log"].count("answered"), case
        done = log.count("step")
        left = whole["log"][ends[done - 1] if done else 0 :].count("training")
        extra[case] = resumed["log"].count("training") - left
    return extra


@long
def test_kill_after_each_step(tmp_path):
    """At most one training more, even if the next step asks the students of all folds."""
    whole, found = kill_at(tmp_path, [("step", n) for n in range(1, 10)])
    extra = check_as_whole(whole, found)
    assert whole["routes"][:3] == ["labelled", "names", "unlabelled"]
    assert set(whole["routes"][3:]) == {"describe", "label", "write"}
    assert max(extra.values()) <= 1


@long
def test_kill_in_between(tmp_path):
    cases = [("training", n) for n in (1, 8, 29, 57, 66)]
    cases += [("asked", n) for n in (1, 3, 12)] + [("answered", n) for n in (2, 9, 20)]
    extra = check_as_whole(*kill_at(tmp_path, cases))
    assert max(extra.values()) <= 1


@long
def test_kill_where_only_the_teacher_writes(tmp_path):
    cases = [("step", n) for n in (1, 2, 3)] + [("training", 9), ("asked", 9)]
    extra = check_as_whole(*kill_at(tmp_path, cases, routes=["write"]))
    assert max(extra.values()) <= 1


@long
def test_kill_with_a_gate_and_weights_of_all(tmp_path):
    evidence = Evidence(validation_fraction=0.3, keep_all=True, probe_size=10)
    cases = [("step", n) for n in (1, 2, 5, 7, 8)]
    extra = check_as_whole(*kill_at(tmp_path, cases, evidence=evidence))
    assert max(extra.values()) <= 1


@long
@pytest.mark.parametrize("budget", [{"max_cost": 0.013}, {"max_tokens": 13_500}])
def test_a_budget_that_binds(tmp_path, budget):
    """A request may take 4,096 tokens of output; those of dead processes hold nobody up."""
    cases = [("step", n) for n in (6, 7)] + [("asked", n) for n in (2, 10, 14, 15)]
    whole, found = kill_at(tmp_path, cases, **budget)
    check_as_whole(whole, found)
    assert whole["stop_reason"] == "budget"


# At random moments


def cut_off_at_random(start, run_dir, rng, seconds):
    """Start a fit and kill it; ``False`` if it had ended before."""
    fit, moment = start(run_dir), rng.uniform(0, seconds)
    while not read_log(run_dir) and fit.is_alive:
        time.sleep(0.001)
    time.sleep(moment)
    fit.signal(signal.SIGKILL)
    return fit.end() == ("killed", signal.SIGKILL)


def kill_at_random(start, folder, seed, n_moments):
    """Yield, for each of many fits, where it was killed."""
    begin = time.perf_counter()
    whole = start(folder / "whole").result()
    seconds = time.perf_counter() - begin
    rng, n_killed = random.Random(seed), 0
    yield whole
    for number in range(10 * n_moments + 1):
        if n_killed == n_moments:
            return
        if cut_off_at_random(start, folder / str(number), rng, seconds):
            n_killed += 1
            yield folder / str(number)
        else:  # the first one was slow
            seconds *= 0.8
    raise AssertionError("too few were killed before their end")


moments = pytest.mark.parametrize(
    "n_moments", [N_MOMENTS // 3, pytest.param(N_MOMENTS_LONG, marks=long)]
)


@moments
def test_kill_at_random_moments(tmp_path, n_moments):
    def start(run_dir):
        return Child(fits.fit, run_dir, teacher=Speaker(SECONDS))

    whole, *killed = kill_at_random(start, tmp_path, 0, n_moments)
    found = {run_dir.name: (read_log(run_dir), start(run_dir).result()) for run_dir in killed}
    check_as_whole(whole, found)


@moments
def test_kill_at_random_moments_with_a_budget_that_binds(tmp_path, n_moments):
    def start(run_dir):
        return Child(fits.fit, run_dir, teacher=Speaker(SECONDS), max_cost=0.013)

    whole, *killed = kill_at_random(start, tmp_path, 1, n_moments)
    assert whole["stop_reason"] == "budget"
    total = RunStore(tmp_path / "whole" / "run.sqlite").total_cost()
    for run_dir in killed:
        check_outcome(start(run_dir).result(), whole)
        assert RunStore(run_dir / "run.sqlite").total_cost() == pytest.approx(total)


@long
def test_kill_again_and_again(tmp_path):
    """The same fit, each time that it goes on."""

    def start(run_dir):
        return Child(fits.fit, run_dir, teacher=Speaker(SECONDS))

    [whole] = kill_at_random(start, tmp_path, 2, 0)
    rng = random.Random(2)
    n_killed = sum(cut_off_at_random(start, tmp_path / "run", rng, 0.4) for _ in range(10))
    assert n_killed > 4
    check_outcome(start(tmp_path / "run").result(), whole)


# With a server that counts

N_AT_ONCE = 3


def name_request(body):
    return hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()


@moments
def test_kill_at_random_moments_while_a_server_counts(tmp_path, n_moments):
    """It is asked twice for at most what was under way, and for nothing that is on disk."""

    def reply(body):
        schema = body["response_format"]["json_schema"]["schema"]
        return answer(body["messages"][1]["content"], schema)

    with FaultServer([reply], latency=SECONDS) as server:

        def start(run_dir):
            server.requests.clear()
            teacher = OpenAITeacher(
                "any", base_url=server.base_url, max_concurrency=N_AT_ONCE, price=(1.0, 1.0)
            )
            return Child(fits.fit, run_dir, teacher=teacher, max_cost=5.0)

        def list_asked():
            asked = [name_request(request.body) for request in server.requests]
            assert len(set(asked)) == len(asked)  # no process asks for anything twice
            return set(asked)

        fates = kill_at_random(start, tmp_path, 3, n_moments)
        whole, all_asked = next(fates), list_asked()
        spent = RunStore(tmp_path / "whole" / "run.sqlite").total_cost()
        for run_dir in fates:
            asked, n_kept = list_asked(), count_answers(run_dir)
            assert 0 <= len(asked) - n_kept <= N_AT_ONCE
            found, asked_again = start(run_dir).result(), list_asked()
            check_outcome(found, whole)
            assert asked | asked_again == all_asked
            assert len(asked & asked_again) == len(asked) - n_kept
            assert found["n_requests"] == len(asked_again)
            assert RunStore(run_dir / "run.sqlite").total_cost() == pytest.approx(spent)


# What a process leaves


def test_a_dead_process_reserves_nothing(tmp_path):
    store = RunStore(tmp_path / "run.sqlite")
    expected = Usage(1, 0, 0, cost=0.9)
    with store.lease():
        assert Child(reserve_and_die, tmp_path).end() == ("killed", signal.SIGKILL)
        assert store.reserve(expected, 1.15, None) is None
        with RunStore(tmp_path / "run.sqlite").lease():
            assert store.reserve(expected, 1.05, None) is None  # what was settled counts
            assert store.reserve(expected, 1.15, None)
        with RunStore(tmp_path / "run.sqlite").lease():
            assert store.reserve(expected, 1.15, None) is None  # this process is alive
    assert not list(tmp_path.glob(".*.lease"))


def reserve_and_die(folder):
    store = RunStore(folder / "run.sqlite")
    with store.lease():
        store.reserve(Usage(1, 0, 0, cost=0.1), 2.0, None)
        settled = store.reserve(Usage(1, 0, 0, cost=0.5), 2.0, None)
        store.settle(settled, Usage(1, 0, 0, cost=0.2))
        with store.activate():  # a cache that has not kept its answer yet
            lost = store.reserve(Usage(1, 0, 0, cost=0.5), 2.0, None)
            store.settle(lost, Usage(1, 0, 0, cost=0.3), is_kept=True)
        os.kill(os.getpid(), signal.SIGKILL)
