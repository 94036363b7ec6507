"""A fit that was killed goes on with the step that was cut off, and ends as if nothing had been."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import killed_fits
import numpy as np
import pytest
from conftest import WORDS, write_text
from killed_fits import LABELLED, POOL, Log, make_classifier
from sklearn.linear_model import LogisticRegression

from pgkd import Evidence, Logs
from pgkd.loop import checkpoint
from pgkd.records import Example, Generation, Usage
from pgkd.system.store import RunStore

X, Y = (list(column) for column in zip(*LABELLED))
OUTCOME = ("probabilities", "history", "synthetic", "stop_reason", "comparison", "tokens")
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork")


def run_killed(tmp_path, cases, **params):
    """Run `killed_fits.py`; its fits are processes."""
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *sys.path])}
    arguments = json.dumps({"cases": cases, "params": params})
    subprocess.run(
        [sys.executable, killed_fits.__file__, str(tmp_path), arguments],
        check=True,
        env=environment,
        timeout=600,
    )
    return json.loads((tmp_path / "found.json").read_text())


def check_as_whole(found):
    """Assert that all ended as the one that was not killed did; return trainings beyond its own."""
    whole = found.pop("whole")
    ends = [i for i, line in enumerate(whole["log"]) if line == "step"]
    extra = {}
    for case, (log, resumed) in found.items():
        assert {name: resumed[name] for name in OUTCOME} == {name: whole[name] for name in OUTCOME}
        assert not [w for w in resumed["warnings"] if "run_dir" in w or "checkpoint" in w], case
        answered = log.count("answered") + resumed["log"].count("answered")
        # What an LLM has answered is kept a moment later.
        assert answered - whole["log"].count("answered") in (0, 1), case
        assert resumed["n_requests"] == resumed["log"].count("answered"), case
        done = log.count("step")
        left = whole["log"][ends[done - 1] if done else 0 :].count("training")
        extra[case] = resumed["log"].count("training") - left
    return whole, extra


@needs_fork
def test_kill_after_each_step(tmp_path):
    """At most one training more, but where the next step needs the students of all folds."""
    whole, extra = check_as_whole(run_killed(tmp_path, [["step", n] for n in range(1, 10)]))
    assert whole["routes"] == [
        *("labelled", "names", "unlabelled", "unlabelled", "unlabelled"),
        *("describe", "label", "write", "write"),
    ]
    n_folds = Evidence().n_folds
    for number, route in enumerate([*whole["routes"][1:], "end"], start=1):
        before_students = route in ("unlabelled", "label")
        assert extra[f"step {number}"] <= (n_folds if before_students else 0) + 1


@needs_fork
@pytest.mark.slow
def test_kill_in_between(tmp_path):
    cases = [["training", n] for n in (1, 8, 29, 57, 66)]
    cases += [["asked", n] for n in (1, 3, 12)] + [["answered", n] for n in (2, 9, 20)]
    _, extra = check_as_whole(run_killed(tmp_path, cases))
    assert max(extra.values()) <= Evidence().n_folds + 1


@needs_fork
@pytest.mark.slow
def test_kill_where_only_the_teacher_writes(tmp_path):
    cases = [["step", n] for n in (1, 2, 3)] + [["training", 9], ["asked", 9]]
    _, extra = check_as_whole(run_killed(tmp_path, cases, routes=["write"]))
    assert max(extra.values()) <= 1


@needs_fork
@pytest.mark.slow
def test_kill_with_a_gate_and_weights_of_all(tmp_path):
    evidence = {"validation_fraction": 0.3, "keep_all": True, "probe_size": 10}
    cases = [["step", n] for n in (1, 2, 5, 7, 8)]
    check_as_whole(run_killed(tmp_path, cases, evidence=evidence))


@needs_fork
@pytest.mark.parametrize("budget", [{"max_cost": 0.013}, {"max_tokens": 13_500}])
def test_a_budget_that_binds(tmp_path, budget):
    """A request may take 4,096 tokens of output; those of dead processes hold nobody up."""
    cases = [["step", n] for n in (6, 7)] + [["asked", n] for n in (2, 10, 14, 15)]
    found = run_killed(tmp_path, cases, **budget)
    whole, _ = check_as_whole(found)
    assert whole["stop_reason"] == "budget"


@needs_fork
def test_a_dead_process_reserves_nothing(tmp_path):
    store = RunStore(tmp_path / "run.sqlite")
    expected = Usage(1, 0, 0, cost=0.9)
    with store.lease():
        child = os.fork()
        if not child:
            other = RunStore(tmp_path / "run.sqlite")
            with other.lease():
                other.reserve(Usage(1, 0, 0, cost=0.1), 2.0, None)
                settled = other.reserve(Usage(1, 0, 0, cost=0.5), 2.0, None)
                other.settle(settled, Usage(1, 0, 0, cost=0.2))
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert store.reserve(expected, 1.15, None) is None
        with RunStore(tmp_path / "run.sqlite").lease():
            assert store.reserve(expected, 1.05, None) is None  # what was settled counts
            assert store.reserve(expected, 1.15, None)
        with RunStore(tmp_path / "run.sqlite").lease():
            assert store.reserve(expected, 1.15, None) is None  # this process is alive
    assert not list(tmp_path.glob(".*.lease"))


# In this process


@pytest.fixture
def fit(tmp_path, request):
    """Fit with a `run_dir`; return the classifier, its trainings, and the warnings."""
    Log.path, Log.kill_at = tmp_path / "log", ("", 0)

    def fit(X=X, y=Y, X_unlabeled=POOL, *, data=None, **params):
        Log.counts = {}
        clf = make_classifier(tmp_path / "run", **{"max_cycles": 2, **params})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            clf.fit(X, y, X_unlabeled=X_unlabeled, **(data or {}))
        return clf, Log.counts["training"], [str(w.message) for w in caught]

    return fit


def find_checkpoint(tmp_path):
    [path] = (tmp_path / "run" / checkpoint.FOLDER).glob("*")
    return path


def test_the_same_fit_trains_the_last_student_only(fit):
    (first, _, _), (second, n, found) = fit(), fit()
    assert (n, found) == (1, [])
    assert second.usage_ == Usage()
    assert [s.saved for s in second.history_] == [s.usage for s in first.history_]
    assert second.synthetic_ == first.synthetic_
    assert second.probe_.n_texts == first.probe_.n_texts
    assert (second.predict_proba(X) == first.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("names", "change"),
    [
        (["X"], {"X": ["another text", *X[1:]]}),
        (["y"], {"y": [Y[1], *Y[1:]]}),
        (["X_unlabeled"], {"X_unlabeled": POOL[1:]}),
        (["sample_weight"], {"data": {"sample_weight": np.full(len(X), 2.0)}}),
        (["X_val", "y_val"], {"data": {"X_val": ["a card"], "y_val": ["card"]}}),
        (["logs"], {"data": {"logs": Logs(("where is it",), ("card",))}}),
        (["samples_per_cycle"], {"samples_per_cycle": 10}),
        (["max_cycles"], {"max_cycles": 1}),
        (["max_cost"], {"max_cost": 5.0}),
        (["scoring"], {"scoring": "f1_macro"}),
        (["scoring"], {"scoring": lambda model, X, y: float(model.score(X, y))}),
        (["evidence__patience"], {"evidence": Evidence(probe_size=10, patience=3)}),
        (["task_description"], {"task_description": "Messages."}),
        (["class_descriptions"], {"class_descriptions": dict.fromkeys(WORDS, "a thing")}),
        (["random_state"], {"random_state": 1}),
        (["X_unlabeled", "samples_per_cycle"], {"X_unlabeled": POOL[1:], "samples_per_cycle": 10}),
    ],
)
def test_what_differs_is_named(fit, names, change):
    fit()
    _, n, found = fit(**change)
    listed = " and ".join(f"`{name}`" for name in names)
    [warning] = [w for w in found if "run_dir" in w]
    assert f"holds a run with other {listed}: this one begins anew" in warning
    assert n > 10


def test_a_student_or_teacher_that_differs_is_named(fit, tmp_path):
    fit()
    clf = make_classifier(tmp_path / "run", max_cycles=2)
    clf.set_params(student__tfidfvectorizer__min_df=2, teacher=killed_fits.Other())
    with pytest.warns(UserWarning, match="with other `student` and `teacher`"):
        clf.fit(X, Y, X_unlabeled=POOL)


def test_more_cycles_and_what_decides_nothing_go_on(fit, tmp_path):
    _, n_all, _ = fit(max_cycles=4)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    _, n_first, _ = fit(max_cycles=2)
    evidence = Evidence(probe_size=10, calibrate=False)
    clf, n_then, found = fit(max_cycles=4, evidence=evidence, callbacks=None, verbose=0)
    assert (clf.n_cycles_, found) == (4, [])
    assert n_first + n_then <= n_all + 1 + 1  # the last student, and one for `visible`
    # A run that is moved is the same run.
    (tmp_path / "run").rename(tmp_path / "other")
    (tmp_path / "elsewhere").rename(tmp_path / "run")
    assert fit(max_cycles=4)[1] == 1


def test_without_a_seed_nothing_is_kept(fit, tmp_path):
    fit(random_state=None)
    assert not (tmp_path / "run" / checkpoint.FOLDER).exists()
    assert fit(random_state=None)[1] > 10


def damage(path, how):
    data = path.read_bytes()
    if how == "newer":
        archive = dict(np.load(path))
        np.savez(path, **{**archive, "format": np.array(99)})
        return
    middle = len(data) // 2
    damaged = {
        "empty": b"",
        "truncated": data[:middle],
        "corrupt": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "noise": b"noise" * 99,
        "pickle": b"\x80\x04cos\nsystem\n.",
    }
    path.write_bytes(damaged[how])


@pytest.mark.parametrize("how", ["empty", "truncated", "corrupt", "noise", "pickle", "newer"])
def test_a_damaged_checkpoint_is_ignored(fit, tmp_path, how):
    first, n, _ = fit()
    path = find_checkpoint(tmp_path)
    damage(path, how)
    second, n_again, [warning] = fit()
    assert f"The checkpoint {str(path)!r} cannot be used" in warning
    assert ("was written by pgkd" in warning) == (how == "newer")
    assert n_again == n
    assert (second.predict_proba(X) == first.predict_proba(X)).all()
    assert fit()[1:] == (1, [])


def test_a_disk_that_is_full_ends_nothing(fit, tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    clf, _, [warning] = fit()
    assert "No space left on device" in warning
    assert "cannot be written" in warning
    assert clf.n_cycles_ == 2
    assert not list((tmp_path / "run" / checkpoint.FOLDER).iterdir())


def test_a_folder_that_cannot_be_written_ends_nothing(fit, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / checkpoint.FOLDER).write_text("a file")
    _, _, [warning] = fit()
    assert "cannot be written" in warning


def write(request, number):
    examples = tuple(Example(write_text(label, number + i), label) for i, label in enumerate(WORDS))
    return Generation(request, examples, usage=Usage(1, 10, 10, cost=0.1))


class Counter:
    """A stranger's teacher, which numbers its texts."""

    n_written = 0

    def generate(self, requests):
        for request in requests:
            self.n_written += 3
            yield write(request, self.n_written)


class Service:
    """One that remembers nothing."""

    def generate(self, requests):
        for request in requests:
            yield write(request, sum(map(ord, request.id)))


def test_a_teacher_that_remembers_is_asked_anew(tmp_path):
    """Its memory dies with the process, so its steps are not kept."""
    Log.path, Log.kill_at, Log.counts = tmp_path / "log", ("", 0), {}
    clfs = []
    for _ in range(2):
        clf = make_classifier(tmp_path / "run", max_cycles=2).set_params(teacher=Counter())
        clfs.append(clf.fit(X, Y))
    assert clfs[0].usage_.n_requests == clfs[1].usage_.n_requests > 0
    assert clfs[0].synthetic_ == clfs[1].synthetic_


def test_a_strangers_teacher_is_not_asked_again(tmp_path):
    Log.path, Log.kill_at, Log.counts = tmp_path / "log", ("", 0), {}
    clfs = []
    for n in (3, 4):
        clf = make_classifier(tmp_path / "run", max_cycles=n, max_cost=0.5, routes=("write",))
        clfs.append(clf.set_params(teacher=Service()).fit(X, Y))
    assert clfs[0].stop_reason_ == clfs[1].stop_reason_ == "budget"
    assert clfs[0].usage_.cost > 0.4
    assert clfs[1].usage_ == Usage()


def test_several_labels_a_text(tmp_path):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    Log.path, Log.kill_at, Log.counts = tmp_path / "log", ("", 0), {}
    names = list(WORDS)
    y = [(a, b) if a != b else (a,) for i, a in enumerate(Y) for b in [names[i % 3]]]
    student = make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression()))
    clfs = []
    for _ in range(2):
        clf = make_classifier(tmp_path / "run", max_cycles=2, routes=("names", "write"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clfs.append(clf.set_params(student=student).fit(X, y))
    assert clfs[1].usage_ == Usage() != clfs[0].usage_
    assert clfs[1].synthetic_ == clfs[0].synthetic_
    assert [s.report for s in clfs[1].history_] == [s.report for s in clfs[0].history_]
