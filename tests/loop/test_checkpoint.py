"""What is kept of a fit after each step, and which fit goes on with it.

`tests/reliability/test_kills.py` kills processes.
"""

import json
import os
import warnings
import zipfile

import numpy as np
import pytest
from conftest import WORDS, write_text
from reliability.fits import LABELLED, POOL, Log, Other, make_classifier
from sklearn.linear_model import LogisticRegression

from pgkd import Evidence, Logs
from pgkd.exceptions import PersistenceError
from pgkd.loop import checkpoint
from pgkd.records import Example, Generation, Usage

X, Y = (list(column) for column in zip(*LABELLED))


@pytest.fixture
def fit(tmp_path, request):
    """Fit with a `run_dir`; return the classifier, its trainings, and the warnings."""

    def fit(X=X, y=Y, X_unlabeled=POOL, *, data=None, **params):
        Log.begin(tmp_path / "log")
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


def test_steps_of_the_past_are_told_as_such(fit, capsys):
    (first, _, _), _ = fit(max_cycles=2), capsys.readouterr()
    fit(max_cycles=4, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    n = first.history_[-1].number
    assert lines[0] == f"goes on after step {n}, where the same run was left; until then:"
    assert any(step.seconds_left for step in first.history_)
    assert not any(" left" in line for line in lines[1 : n + 2])
    assert len(lines) > n + 2


def test_a_finished_run_says_so(fit, capsys):
    (first, _, _), _ = fit(), capsys.readouterr()
    fit(verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the same run is finished already, and nothing is bought again; it went:"
    is_probed = first.probe_ is not None
    assert len(lines) == 1 + len(first.history_) + is_probed + 1  # why it stopped is the last


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
    clf.set_params(student__tfidfvectorizer__min_df=2, teacher=Other())
    with pytest.warns(UserWarning, match="with other `student` and `teacher`"):
        clf.fit(X, Y, X_unlabeled=POOL)


def test_more_cycles_and_what_decides_nothing_go_on(fit, tmp_path):
    _, n_all, _ = fit(max_cycles=4)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    _, n_first, _ = fit(max_cycles=2)
    evidence = Evidence(probe_size=10, calibrate=False)
    clf, n_then, found = fit(max_cycles=4, evidence=evidence, callbacks=None, verbose=0)
    assert (clf.n_cycles_, found) == (4, [])
    # The last student, and those that label: they go when a run is over.
    assert n_first + n_then <= n_all + 1 + 6
    # A run that is moved is the same run.
    (tmp_path / "run").rename(tmp_path / "other")
    (tmp_path / "elsewhere").rename(tmp_path / "run")
    assert fit(max_cycles=4)[1] == 1


def test_without_a_seed_nothing_is_kept(fit, tmp_path):
    fit(random_state=None)
    assert not (tmp_path / "run" / checkpoint.FOLDER).exists()
    assert fit(random_state=None)[1] > 10


def forge(path, change):
    """Change the arrays of an archive, of which one is the document."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    document = json.loads(arrays["document"].tobytes())
    change(document, arrays)
    if "document" in arrays and document:
        arrays["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(path, **arrays)


def nest(document, arrays):
    document.clear()
    arrays["document"] = np.frombuffer(b"[" * 10**6, np.uint8)


def add_nan(document, arrays):
    for name in arrays:
        if name.startswith("array-"):
            arrays[name] = arrays[name] * np.nan


def add_objects(document, arrays):
    arrays["array-evil"] = np.array([print], dtype=object)


#: Ways that keep the archive whole.
FORGED = {
    "nested": nest,
    "NaN": add_nan,
    "objects": add_objects,
    "no step": lambda document, arrays: document["history"].__setitem__(0, {}),
    "no document": lambda document, arrays: arrays.pop("document"),
    "no arrays": lambda document, arrays: [arrays.pop(n) for n in [*arrays] if "array-" in n],
}


def damage(path, how):
    data = path.read_bytes()
    if how == "newer":
        archive = dict(np.load(path))
        np.savez(path, **{**archive, "format": np.array(99)})
        return
    if how == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("format.npy", b"\0" * 2**28)
        return
    if how == "pipe":
        path.unlink()
        os.mkfifo(path)
        return
    if how in FORGED:
        forge(path, FORGED[how])
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


DAMAGES = ("empty", "truncated", "corrupt", "noise", "pickle", "newer", "bomb", "pipe", *FORGED)


@pytest.mark.parametrize("how", DAMAGES)
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


def test_a_checkpoint_that_fits_to_nothing(fit, tmp_path):
    """It is in order, and its texts are of steps that were not."""
    fit()
    path = find_checkpoint(tmp_path)
    forge(path, lambda document, arrays: [t.update(cycle=99) for t in document["tables"]["texts"]])
    with pytest.raises(PersistenceError, match=rf"{path.name}.*delete it.*answers that are kept"):
        fit()
    path.unlink()
    fit()


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
    Log.begin(tmp_path / "log")
    clfs = []
    for _ in range(2):
        clf = make_classifier(tmp_path / "run", max_cycles=2).set_params(teacher=Counter())
        clfs.append(clf.fit(X, Y))
    assert clfs[0].usage_.n_requests == clfs[1].usage_.n_requests > 0
    assert clfs[0].synthetic_ == clfs[1].synthetic_


def test_a_strangers_teacher_is_not_asked_again(tmp_path):
    Log.begin(tmp_path / "log")
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

    Log.begin(tmp_path / "log")
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
