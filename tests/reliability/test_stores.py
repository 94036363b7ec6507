"""Stores that others hold, share, damage or have written; and clocks that jump."""

import contextlib
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import time

import pytest
from reliability import fits
from reliability.fits import Speaker, check_outcome, count_answers, read_log
from reliability.processes import Child

from pgkd.records import Completion, Usage
from pgkd.system import store as stores
from pgkd.system.store import RunStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork")
#: Places where a bit is flipped: in the quick part, and in the long one.
N_FLIPS, N_FLIPS_LONG = 1, 40
PARAMS = {"teacher": Speaker(0.02, 4), "max_cycles": 2}
long = pytest.mark.slow


@pytest.fixture(scope="module")
def whole_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("whole") / "run"


@pytest.fixture(scope="module")
def whole(whole_dir):
    return Child(fits.fit, whole_dir, **PARAMS).result()


def count_asked(found):
    return found["log"].count("asked")


# Others


def fit_impatiently(run_dir, seconds, **params):
    stores.PATIENCE = seconds
    return fits.fit(run_dir, **PARAMS, **params)


@contextlib.contextmanager
def hold(path):
    """Keep a store locked, as a process would that has stopped in the middle."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def test_a_store_that_another_process_holds_from_the_start(tmp_path):
    run_dir = tmp_path / "run"
    RunStore(run_dir / "run.sqlite").check()
    with hold(run_dir / "run.sqlite"):
        kind, error, message, _ = Child(fit_impatiently, run_dir, 0.5).end()
    assert (kind, error) == ("raised", "PersistenceError")
    assert re.fullmatch(
        rf"The answers in '{run_dir}/run.sqlite' cannot be read or kept \(database is locked\): "
        r"another process holds it, wait until that one has ended, or pass another `run_dir`\.",
        message,
    )
    assert not read_log(run_dir)


def test_a_store_that_another_process_holds_later(tmp_path, whole):
    """What is under way is used; nothing more is bought; then it goes on."""
    run_dir = tmp_path / "run"
    fit = Child(fit_impatiently, run_dir, 0.5)
    while read_log(run_dir).count("asked") < 8:
        assert fit.is_alive
        time.sleep(0.001)
    with hold(run_dir / "run.sqlite"):
        found = fit.result()
    assert found["stop_reason"] == "error"
    assert any("another process holds it, wait until" in w for w in found["warnings"])
    assert count_asked(found) == found["log"].count("answered") == found["n_requests"]
    n_kept = count_answers(run_dir)
    assert count_asked(found) - n_kept <= 2 * PARAMS["teacher"].max_concurrency
    # What is not in the store is in the checkpoint, if its step was taken.
    again = Child(fits.fit, run_dir, **PARAMS).result()
    assert again["stop_reason"] == whole["stop_reason"]
    assert count_asked(again) <= count_asked(whole) - n_kept


@long
def test_a_store_that_another_process_holds_for_a_while(tmp_path, whole):
    run_dir = tmp_path / "run"
    fit = Child(fits.fit, run_dir, **PARAMS)
    while read_log(run_dir).count("asked") < 8:
        time.sleep(0.001)
    with hold(run_dir / "run.sqlite"):
        time.sleep(2)
    check_outcome(fit.result(), whole)


def test_two_fits_at_once(tmp_path, whole):
    """The same one: both end right, and together they buy each answer once."""
    children = [Child(fit_logged, tmp_path / "run", name, **PARAMS) for name in "ab"]
    founds = [child.result() for child in children]
    for found in founds:
        check_outcome(found, whole)
        assert count_asked(found) == found["n_requests"]
    assert sum(map(count_asked, founds)) == count_answers(tmp_path / "run") == count_asked(whole)
    third = Child(fits.fit, tmp_path / "run", **PARAMS).result()
    check_outcome(third, whole)
    assert count_asked(third) == 0


def test_a_fit_does_not_wait_for_a_dead_one(tmp_path, whole):
    """What that one was asking for is asked again."""
    fit = Child(fit_logged, tmp_path / "run", "a", **{**PARAMS, "teacher": Speaker(600, 4)})
    while read_log(tmp_path / "run", "a").count("asked") < 4:
        time.sleep(0.001)
    other = Child(fit_logged, tmp_path / "run", "b", **PARAMS)
    while read_log(tmp_path / "run", "b").count("step") < 3:  # what is free
        time.sleep(0.001)
    time.sleep(1)
    assert not read_log(tmp_path / "run", "b").count("asked")
    fit.signal(signal.SIGKILL)
    check_outcome(other.result(), whole)


@long
def test_two_other_fits_at_once(tmp_path, whole):
    """Each ends as it would alone, with a checkpoint of its own."""
    other = {**PARAMS, "samples_per_cycle": 9}
    alone = Child(fits.fit, tmp_path / "alone", **other).result()
    assert alone["history"] != whole["history"]
    children = [
        Child(fit_logged, tmp_path / "run", "a", **PARAMS),
        Child(fit_logged, tmp_path / "run", "b", **other),
    ]
    for child, expected in zip(children, (whole, alone)):
        check_outcome(child.result(), expected)
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


def fit_logged(run_dir, name, **params):
    """Fit in a `run_dir` that others fit in, with a log of its own."""
    os.environ["RANK"] = name
    return fits.fit(run_dir, **params)


# Clocks


def fit_with_a_clock(run_dir, days, *args, **params):
    """Fit while the clock jumps by so many days at most, back and forth."""
    rng, real = random.Random(0), time.time

    def jump():
        return real() + rng.uniform(-days, days) * 86_400

    time.time = jump
    return fits.fit(run_dir, *args, **params)


def test_a_clock_that_jumps_while_a_fit_runs(tmp_path, whole):
    found = Child(fit_with_a_clock, tmp_path / "run", 9, **PARAMS).result()
    check_outcome(found, whole)
    assert found["warnings"] == whole["warnings"]


@pytest.mark.parametrize("days", [9, pytest.param(-9, marks=long)])
def test_a_clock_that_jumped_while_nobody_ran(tmp_path, days):
    """A dead process's reservations are released, however old its files seem to be."""
    params = {"teacher": Speaker(), "max_cost": 0.013}
    whole = Child(fits.fit, tmp_path / "whole", **params).result()
    run_dir = tmp_path / "run"
    place = ("asked", 14, signal.SIGKILL)
    assert Child(fits.fit, run_dir, place, **params).end() == ("killed", signal.SIGKILL)
    stamp = time.time() + days * 86_400
    for path in run_dir.rglob("*"):
        os.utime(path, (stamp, stamp))
    check_outcome(Child(fits.fit, run_dir, **params).result(), whole)


@pytest.mark.parametrize("days", [-9, 9])
def test_a_process_that_lives_keeps_its_reservations(tmp_path, days):
    """However old its lease seems to be."""
    store = RunStore(tmp_path / "run.sqlite")
    with store.lease():
        assert store.reserve(Usage(1, 0, 0, cost=0.9), 1.0, None)
        [lease] = tmp_path.glob(".*.lease")
        stamp = time.time() + days * 86_400
        os.utime(lease, (stamp, stamp))
        assert not Child(can_reserve, tmp_path, days).result()
    # What is under way when a process ends well may have been billed: it counts on.
    assert not Child(can_reserve, tmp_path, days).result()


def can_reserve(folder, days):
    real = time.time
    time.time = lambda: real() + days * 86_400
    store = RunStore(folder / "run.sqlite")
    with store.lease():
        return store.reserve(Usage(1, 0, 0, cost=0.9), 1.0, None) is not None


# Damage


@pytest.fixture
def cut_off(tmp_path):
    """A run that was killed, with the write-ahead log that its store had."""
    run_dir = tmp_path / "run"
    store = RunStore(run_dir / "run.sqlite")
    place = ("asked", 14, signal.SIGKILL)
    store.check()
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        connection.execute("SELECT * FROM answers")  # who is last would tidy up
        assert Child(fits.fit, run_dir, place, **PARAMS).end() == ("killed", signal.SIGKILL)
        shutil.copytree(run_dir, tmp_path / "copy")
    shutil.rmtree(run_dir)
    (tmp_path / "copy").rename(run_dir)
    assert {"run.sqlite", "run.sqlite-wal", "run.sqlite-shm"} <= {p.name for p in run_dir.iterdir()}
    return run_dir


def test_what_a_kill_leaves_of_a_store_is_read(cut_off, whole):
    n_kept = count_answers(cut_off)
    assert n_kept >= 10
    found = Child(fits.fit, cut_off, **PARAMS).result()
    check_outcome(found, whole)
    assert count_asked(found) == count_asked(whole) - n_kept


@long
def test_a_log_that_is_damaged_is_not_read(cut_off, whole):
    """As far as SQLite can read it; the answers of the rest are bought again."""
    wal = cut_off / "run.sqlite-wal"
    data = wal.read_bytes()
    wal.write_bytes(data[: len(data) // 2] + os.urandom(len(data) // 2))
    (cut_off / "run.sqlite-shm").write_bytes(b"noise" * 999)
    check_outcome(Child(fits.fit, cut_off, **PARAMS).result(), whole)


LONG_DAMAGE = [pytest.param(how, marks=long) for how in ("truncated", "noise")]


def spoil(path, how):
    data = path.read_bytes()
    if how == "newer":
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        return
    middle = len(data) // 2
    spoilt = {
        "truncated": data[:middle],
        "noise": random.Random(0).randbytes(len(data)),
        "corrupt": data[:4096] + random.Random(0).randbytes(4096) + data[8192:],
        "empty": b"",
    }
    path.write_bytes(spoilt[how])


@pytest.mark.parametrize(
    "how", ["corrupt", "newer", *(pytest.param(how, marks=long) for how in ("truncated", "noise"))]
)
def test_a_store_that_cannot_be_read(tmp_path, whole_dir, whole, how):
    """Nothing is bought or trained; and what the message says helps."""
    run_dir = shutil.copytree(whole_dir, tmp_path / "run")
    path = run_dir / "run.sqlite"
    spoil(path, how)
    before = path.read_bytes()
    kind, error, message, _ = Child(fits.fit, run_dir, **PARAMS).end()
    assert (kind, error) == ("raised", "PersistenceError")
    assert not read_log(run_dir)
    assert path.read_bytes() == before
    fix = "upgrade pgkd" if how == "newer" else "move it away, what it holds will be bought again"
    assert message.startswith(f"The answers in {str(path)!r} ")
    assert message.endswith(f": {fix}, or pass another `run_dir`.")
    path.rename(tmp_path / "moved")
    shutil.rmtree(run_dir / "checkpoints")
    again = Child(fits.fit, run_dir, **PARAMS).result()
    check_outcome(again, whole)
    assert count_asked(again) == count_asked(whole)


def test_a_store_that_is_empty_is_a_new_one(tmp_path, whole_dir, whole):
    """What the checkpoint has of it is not bought again."""
    run_dir = shutil.copytree(whole_dir, tmp_path / "run")
    spoil(run_dir / "run.sqlite", "empty")
    found = Child(fits.fit, run_dir, **PARAMS).result()
    check_outcome(found, whole)
    assert count_asked(found) == 0


@pytest.mark.parametrize("n_flips", [N_FLIPS, pytest.param(N_FLIPS_LONG, marks=long)])
def test_a_bit_that_is_flipped_changes_no_answer(tmp_path, whole_dir, whole, n_flips):
    """The fit ends as ever, or says that the store is damaged."""
    rng, n_damaged = random.Random(0), 0
    for number in range(n_flips):
        run_dir = shutil.copytree(whole_dir, tmp_path / str(number))
        shutil.rmtree(run_dir / "checkpoints")
        path = run_dir / "run.sqlite"
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        kind, *rest = Child(fits.fit, run_dir, **PARAMS).end()
        if kind == "raised":
            assert rest[0] == "PersistenceError"
            assert "move it away" in rest[1] or "upgrade pgkd" in rest[1]
            continue
        [found] = rest
        check_outcome(found, whole)
        if count_asked(found):
            n_damaged += any("is damaged" in w for w in found["warnings"])
    assert n_damaged or n_flips < N_FLIPS_LONG


def test_an_answer_that_is_damaged_is_bought_again(tmp_path):
    store = RunStore(tmp_path / "run.sqlite")
    answer = Completion('{"ham": ["é \\ud83d"]}', Usage(1, 5, 5, cost=0.1))
    store.put("key", answer)
    assert store.get("key") == answer
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        connection.execute("UPDATE answers SET answer = replace(answer, 'ham', 'jam')")
        connection.commit()
    with pytest.warns(UserWarning, match=rf"An answer in '{store.path}' is damaged .*bought again"):
        assert store.get("key") is None


def test_a_store_of_an_earlier_pgkd_is_read(tmp_path):
    """It had no digest and no version."""
    store = RunStore(tmp_path / "run.sqlite")
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        connection.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, answer TEXT)")
        usage = '{"n_requests": 1, "input_tokens": 5, "output_tokens": 5, "cost": 0.1}'
        row = f'{{"text": "hello", "usage": {usage}, "truncated": false}}'
        connection.execute("INSERT INTO answers VALUES ('key', ?)", [row])
        connection.commit()
    assert store.get("key") == Completion("hello", Usage(1, 5, 5, cost=0.1))
    store.check()
