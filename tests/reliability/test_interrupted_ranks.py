"""Ctrl-C and kills of processes that fit together: all end alike, and nothing paid for is lost."""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest
from reliability import fits
from reliability.fits import OUTCOME, Speaker, check_outcome, count_answers, read_log
from reliability.processes import PATIENCE, Child

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork")
#: Random moments of Ctrl-C: in the quick part, and in the long one.
N_MOMENTS, N_MOMENTS_LONG = 1, 40
#: Which ranks get it, one after the other.
TARGETS = ([0], [0, 1], [1, 0])
N_AT_ONCE = 4
PARAMS = {"teacher": Speaker(0.02, N_AT_ONCE), "max_cycles": 2}
long = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Of one process."""
    return Child(fits.fit, tmp_path_factory.mktemp("whole") / "run", **PARAMS).result()


def start(run_dir, seconds=(0, 0)):
    """Start two processes that fit together; a training takes so long in each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        Child(
            fits.fit,
            run_dir,
            environment={**shared, "RANK": str(rank), "TRAINING_SECONDS": str(seconds[rank])},
            **PARAMS,
        )
        for rank in (0, 1)
    ]


def wait_for(run_dir, children, kind="training", n=1):
    """Wait until both have begun and rank 0 has logged something."""
    deadline = time.monotonic() + PATIENCE
    while not (read_log(run_dir, 1) and read_log(run_dir).count(kind) >= n):
        assert all(child.is_alive for child in children)
        assert time.monotonic() < deadline
        time.sleep(0.001)


def check_alike(ends):
    """Assert that all came to the same; return how it ended."""
    kinds = [(kind, None if kind == "returned" else rest[0]) for kind, *rest in ends]
    assert kinds[0] == kinds[1], ends
    if kinds[0][0] == "returned":
        first, second = (found for _, found in ends)
        check_outcome(second, first)
        return first["stop_reason"]
    return kinds[0][1]


def go_on_alone(run_dir, whole):
    """Fit again in one process, and assert that nothing is paid for twice."""
    n_kept = count_answers(run_dir)
    found = Child(fits.fit, run_dir, **PARAMS).result()
    check_outcome(found, whole)
    assert found["n_requests"] == whole["log"].count("asked") - n_kept


def test_ctrl_c_where_one_asks_and_the_other_still_trains(tmp_path, whole):
    """That was a race: the other one ended alone, and rank 0 could not reach it any more."""
    run_dir = tmp_path / "run"
    children = start(run_dir, seconds=(0, 0.02))
    wait_for(run_dir, children, "asked", 8)
    for rank in (1, 0):
        children[rank].signal(signal.SIGINT)
    assert check_alike([child.end() for child in children]) == "interrupted"
    log = read_log(run_dir)
    assert log.count("asked") == log.count("answered") == count_answers(run_dir)
    go_on_alone(run_dir, whole)


@pytest.mark.parametrize("n_moments", [N_MOMENTS, pytest.param(N_MOMENTS_LONG, marks=long)])
def test_ctrl_c_at_random_moments(tmp_path, whole, n_moments):
    begin = time.perf_counter()
    together = start(tmp_path / "whole")
    for child in together:
        check_outcome(child.result(), whole)
    seconds = time.perf_counter() - begin
    rng, ends = random.Random(0), []
    for number, ranks in zip(range(n_moments), itertools.cycle(TARGETS)):
        run_dir = tmp_path / str(number)
        children = start(run_dir)
        wait_for(run_dir, children)
        time.sleep(rng.uniform(0, seconds))
        for rank in ranks:
            children[rank].signal(signal.SIGINT)
        ends.append(check_alike([child.end() for child in children]))
        log = read_log(run_dir)
        assert log.count("asked") == log.count("answered") == count_answers(run_dir)
        go_on_alone(run_dir, whole)
    assert {*ends} <= {"interrupted", "max_cycles", "KeyboardInterrupt"}
    assert "interrupted" in ends or n_moments < N_MOMENTS_LONG


@long
def test_ctrl_c_in_another_rank_alone_ends_nothing(tmp_path, whole):
    """Rank 0 is who decides that; launchers tell all."""
    children = start(tmp_path / "run")
    wait_for(tmp_path / "run", children)
    for _ in range(3):
        children[1].signal(signal.SIGINT)
        time.sleep(0.1)
    for child in children:
        check_outcome(child.result(), whole)


@long
def test_ctrl_c_twice_ends_all(tmp_path, whole):
    rng = random.Random(1)
    for number in range(N_MOMENTS_LONG // 4):
        run_dir = tmp_path / str(number)
        children = start(run_dir, seconds=(0.2, 0.2))
        wait_for(run_dir, children, n=rng.randint(1, 9))
        for rank in (0, 1, 0, 1):
            children[rank].signal(signal.SIGINT)
            time.sleep(0.02)
        (kind, *_), (other_kind, *other) = [child.end() for child in children]
        assert kind == other_kind == "raised"
        assert other[0] in ("KeyboardInterrupt", "RankError")
        go_on_alone(run_dir, whole)


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=long)])
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=long)])
def test_a_kill_of_one_ends_the_other(tmp_path, whole, rank, number):
    children = start(tmp_path / "run")
    wait_for(tmp_path / "run", children, "asked", 7)
    children[rank].signal(number)
    assert children[rank].end() == ("killed", number)
    kind, error, message, _ = children[1 - rank].end()
    assert (kind, error) == ("raised", "RankError")
    assert f"Rank {1 - rank} cannot reach the other processes, of which one has ended" in message
    assert "the same `fit` goes on where this one ended" in message
    go_on_alone(tmp_path / "run", whole)


@long
def test_ctrl_c_at_torchrun(tmp_path, whole):
    """It passes it on, rank by rank, and kills after half a minute."""
    options = ["--standalone", "--nproc-per-node=2", "-m", "reliability.fits", str(tmp_path)]
    launcher = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TRAINING_SECONDS": "0.05"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while read_log(tmp_path / "run").count("asked") < 7:
        assert launcher.poll() is None
        time.sleep(0.01)
    launcher.send_signal(signal.SIGINT)
    launcher.wait(PATIENCE)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["stop_reason"] == "interrupted"
    assert {name: first[name] for name in OUTCOME} == {name: second[name] for name in OUTCOME}
    go_on_alone(tmp_path / "run", whole)
