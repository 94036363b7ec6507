"""SIGKILL, SIGTERM and Ctrl-C in each phase of a fit, and the same fit again.

A library has no handler of SIGTERM to offer: it ends the process as SIGKILL does, and nothing is
lost then either, as every answer and every step is on disk before it is used.
"""

import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from reliability import fits
from reliability.fits import (
    TEXTS,
    Speaker,
    check_outcome,
    count_answers,
    count_right,
    read_log,
)
from reliability.processes import Child

from pgkd import PGKDClassifier
from pgkd.exceptions import PersistenceError
from pgkd.system import files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork")
N_AT_ONCE = 4  # answers under way
PARAMS = {"teacher": Speaker(0.02, N_AT_ONCE), "scoring": count_right, "max_cycles": 2}
long = pytest.mark.slow
PHASES = (
    "generation",
    "save",
    pytest.param("training", marks=long),
    pytest.param("first training", marks=long),
    pytest.param("use of an answer", marks=long),
    pytest.param("evidence", marks=long),
    pytest.param("refit", marks=long),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return Child(fits.fit, folder / "run", save_to=folder / "saved", **PARAMS).result()


def find_place(phase, whole):
    """What is logged in a phase, and its number."""
    log = whole["log"]
    n_trainings = log.count("training")
    return {
        "first training": ("training", 1),
        "generation": ("asked", log.count("asked") // 2),
        "use of an answer": ("generation", log.count("generation") // 2),
        "training": ("training", n_trainings // 2),
        "evidence": ("scoring", log.count("scoring") // 2),
        "refit": ("training", n_trainings),
        "save": ("saving", log.count("saving")),
    }[phase]


def go_on(folder, whole):
    """Fit again, and assert that all is as if nothing had been, and paid for once."""
    before, n_kept = read_log(folder / "run"), count_answers(folder / "run")
    found = Child(fits.fit, folder / "run", save_to=folder / "saved", **PARAMS).result()
    check_outcome(found, whole)
    assert not [w for w in found["warnings"] if "run_dir" in w or "checkpoint" in w]
    n_asked = found["log"].count("asked")
    assert n_asked == found["n_requests"] == whole["log"].count("asked") - n_kept
    assert before.count("asked") - n_kept <= N_AT_ONCE  # what was under way
    clf = PGKDClassifier.load(folder / "saved", trusted=["reliability.fits.Counted"])
    assert clf.predict_proba(TEXTS).tolist() == whole["probabilities"]
    assert {path.name for path in folder.iterdir()} == {"run", "run.0.log", "saved"}


def start(folder, phase, number, whole):
    place = (*find_place(phase, whole), number)
    return Child(fits.fit, folder / "run", place, save_to=folder / "saved", **PARAMS)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=long)],
    ids=lambda n: n.name,
)
def test_a_killed_fit_goes_on(tmp_path, whole, phase, number):
    assert start(tmp_path, phase, number, whole).end() == ("killed", number)
    go_on(tmp_path, whole)


def test_sigterm_ends_a_fit_at_once(tmp_path, whole):
    assert start(tmp_path, "generation", signal.SIGTERM, whole).end() == ("killed", signal.SIGTERM)
    go_on(tmp_path, whole)


def save_and_die(directory, step):
    """Be killed before the second save takes the place of the first one, or in the midst of it."""
    X, y = zip(*fits.LABELLED)
    clf = fits.make_classifier(None, teacher=None, max_cycles=0, routes=("write",)).fit(X, y)
    clf.save(directory)
    rename, calls = Path.rename, []

    def counted(self, target):
        calls.append(target)
        if len(calls) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    Path.rename = counted
    files._exchange = lambda one, other: False  # as on a disk that cannot exchange two names
    clf.save(directory)


@pytest.mark.parametrize("step", [1, 2])
def test_a_kill_never_leaves_half_a_classifier(tmp_path, step):
    trusted, saved = ["reliability.fits.Counted"], tmp_path / "saved"
    assert Child(save_and_die, saved, step).end() == ("killed", signal.SIGKILL)
    if step == 2:  # the old one is moved away, and the new one not in its place yet
        [old] = tmp_path.glob(".saved-*-old")
        with pytest.raises(PersistenceError, match=re.escape(f"{str(old)!r}: rename it")):
            PGKDClassifier.load(saved, trusted=trusted)
        old.rename(saved)
    clf = PGKDClassifier.load(saved, trusted=trusted)
    clf.save(saved)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]  # gigabytes, perhaps


@long
@pytest.mark.parametrize("phase", ["first training", "save"])
def test_ctrl_c_where_there_is_no_student_to_keep(tmp_path, whole, phase):
    kind, error, *_ = start(tmp_path, phase, signal.SIGINT, whole).end()
    assert (kind, error) == ("raised", "KeyboardInterrupt")
    go_on(tmp_path, whole)


@pytest.mark.parametrize(
    "phase",
    [
        "generation",
        "use of an answer",
        pytest.param("training", marks=long),
        pytest.param("evidence", marks=long),
    ],
)
def test_ctrl_c_ends_a_fit_with_its_student(tmp_path, whole, phase):
    found = start(tmp_path, phase, signal.SIGINT, whole).result()
    assert found["stop_reason"] == "interrupted"
    assert np.shape(found["probabilities"]) == np.shape(whole["probabilities"])
    log = found["log"]
    assert log.count("asked") == log.count("answered") == count_answers(tmp_path / "run")
    said = [w for w in found["warnings"] if "nterrupted" in w]
    if phase in ("generation", "use of an answer"):
        assert log.count("asked") < whole["log"].count("asked")  # the others were not begun
        assert "waiting for the answers under way, which are paid for" in said.pop(0)
    assert said == [
        f"Interrupted. The student learns what had been found to help by step "
        f"{log.count('step') - 1}. With `run_dir` and an int as `random_state`, the same `fit` "
        "goes on from there."
    ]
    go_on(tmp_path, whole)


@long
def test_ctrl_c_in_the_last_training(tmp_path, whole):
    found = start(tmp_path, "refit", signal.SIGINT, whole).result()
    [said] = [w for w in found["warnings"] if "KeyboardInterrupt" in w]
    assert "`student_` has learnt the labelled texts alone. `refit` tries again." in said
    assert found["history"] == whole["history"]
    assert found["stop_reason"] == "interrupted"
    go_on(tmp_path, whole)
