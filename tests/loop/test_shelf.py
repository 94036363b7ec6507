"""The students of the folds outlive the process: no step that goes on trains them again."""

import json
import os
import shutil
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reliability.fits import LABELLED, POOL, TEXTS, Speaker
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from students.tiny_bert import write_tiny_bert

from pgkd import Evidence, PGKDClassifier
from pgkd.loop.checkpoint import ABANDONED, STALE
from pgkd.loop.learner import Learner
from pgkd.records import Usage
from pgkd.students import EmbeddingStudent, TransformerStudent

X, Y = (list(column) for column in zip(*LABELLED))
N_FOLDS = 3


class Lengths(ClassifierMixin, BaseEstimator):
    """A stranger's student, which saves itself."""

    def fit(self, X, y):
        self.pipeline_ = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X, y)
        self.classes_, self.learnt_ = self.pipeline_.classes_, [list(X), list(y)]
        return self

    def predict_proba(self, X):
        return self.pipeline_.predict_proba(X)

    def save(self, directory):
        (Path(directory) / "learnt.json").write_text(json.dumps(self.learnt_))

    @classmethod
    def load(cls, directory):
        return cls().fit(*json.loads((Path(directory) / "learnt.json").read_text()))


class Killed(BaseException):
    pass


class KillAt:
    def __init__(self, number):
        self.left = number

    def on_event(self, event):
        if event.kind == "step":
            self.left -= 1
            if not self.left:
                raise Killed


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Fit; return the classifier and how many students were trained until each step."""
    trained = []
    own = Learner.fit
    monkeypatch.setattr(Learner, "fit", lambda *args: trained.append(1) or own(*args))

    class Counter:
        def on_event(self, event):
            if event.kind == "step":
                counts.append(len(trained))

    counts = []

    def fit(student, run_dir, kill_at=0):
        trained.clear()
        counts.clear()
        clf = PGKDClassifier(
            Speaker(),
            student,
            routes=("names", "unlabelled", "label"),
            max_cycles=2,
            samples_per_cycle=12,
            evidence=Evidence(probe_size=0, n_folds=N_FOLDS),
            random_state=0,
            run_dir=run_dir,
            callbacks=[Counter(), KillAt(kill_at)],
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if kill_at:
                with pytest.raises(Killed):
                    clf.fit(X, Y, X_unlabeled=POOL)
            else:
                clf.fit(X, Y, X_unlabeled=POOL)
        assert not [str(w.message) for w in caught if "checkpoint" in str(w.message)]
        return clf, [*counts, len(trained)]

    return fit


def make_pipe(**params):
    return make_pipeline(TfidfVectorizer(**params), LogisticRegression())


STUDENTS = {
    "pipeline": lambda model: make_pipe(),
    "embedding": EmbeddingStudent,
    "transformer": lambda model: TransformerStudent(model, n_epochs=1, device="cpu"),
    "stranger": lambda model: Lengths(),
}


def find_students(run_dir):
    return [path for path in (run_dir / "checkpoints").glob("*/*") if path.is_dir()]


def check_same(clf, whole):
    def plain(steps):
        alike = {"usage": Usage(), "saved": Usage(), "seconds": 0, "seconds_left": None}
        return [repr(replace(step, **alike)) for step in steps]

    assert plain(clf.history_) == plain(whole.history_)
    assert clf.synthetic_ == whole.synthetic_
    assert (clf.predict_proba(TEXTS) == whole.predict_proba(TEXTS)).all()


@pytest.mark.parametrize(
    "name",
    ["pipeline", "embedding", "stranger", pytest.param("transformer", marks=pytest.mark.slow)],
)
def test_one_training_more_at_most(name, fit, tmp_path, tiny_bert):
    make = STUDENTS[name]
    whole, counts = fit(make(tiny_bert), tmp_path / "whole")
    routes = [step.route for step in whole.history_]
    assert {"unlabelled", "label"} <= set(routes)
    assert not find_students(tmp_path / "whole")  # nothing asks them any more
    for number in {routes.index("unlabelled"), routes.index("label")}:
        run_dir = tmp_path / str(number)
        fit(make(tiny_bert), run_dir, kill_at=number)
        assert len(find_students(run_dir)) == N_FOLDS
        clf, again = fit(make(tiny_bert), run_dir)
        assert again[-1] - (counts[-1] - counts[number - 1]) in (0, 1)
        check_same(clf, whole)


def test_pretrained_weights_that_are_frozen_are_not_copied(fit, tmp_path, tiny_bert):
    fit(EmbeddingStudent(tiny_bert), tmp_path, kill_at=1)
    files = [p.name for folder in find_students(tmp_path) for p in folder.rglob("*")]
    assert sorted(set(files)) == ["head.skops", "student.json"]


def damage(path):
    for file in path.rglob("*.skops"):
        file.write_bytes(file.read_bytes()[:100])


def be_of_format_1(path):
    [file] = path.parents[1].glob("*.npz")
    archive = dict(np.load(file))
    document = json.loads(archive["document"].tobytes())
    document.pop("students", None)
    archive["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(file, **{**archive, "format": np.array(1)})


@pytest.mark.parametrize("spoil", [damage, shutil.rmtree, be_of_format_1])
def test_students_that_cannot_be_read_are_trained_again(spoil, fit, tmp_path):
    whole, counts = fit(make_pipe(), tmp_path / "whole")
    fit(make_pipe(), tmp_path / "cut", kill_at=2)
    for path in find_students(tmp_path / "cut"):
        spoil(path)
    clf, again = fit(make_pipe(), tmp_path / "cut")
    assert again[-1] - (counts[-1] - counts[1]) in (N_FOLDS, N_FOLDS + 1)
    check_same(clf, whole)


@pytest.mark.parametrize("why", ["lambda", "disk"])
def test_students_that_cannot_be_kept_are_trained_again(why, fit, tmp_path, monkeypatch):
    if why == "disk":
        usage = shutil._ntuple_diskusage(10**6, 10**6 - 10**4, 10**4)
        monkeypatch.setattr("pgkd.loop.shelf.shutil.disk_usage", lambda path: usage)
    params = {"tokenizer": lambda text: text.split()} if why == "lambda" else {}
    whole, counts = fit(make_pipe(**params), tmp_path / "whole")
    fit(make_pipe(**params), tmp_path / "cut", kill_at=2)
    assert not find_students(tmp_path / "cut")
    clf, again = fit(make_pipe(**params), tmp_path / "cut")
    assert again[-1] - (counts[-1] - counts[1]) in (N_FOLDS, N_FOLDS + 1)
    check_same(clf, whole)


def test_without_unlabelled_texts_no_student_is_kept(fit, tmp_path, monkeypatch):
    monkeypatch.setattr("test_shelf.POOL", None)
    fit(make_pipe(), tmp_path, kill_at=1)
    assert not find_students(tmp_path)


def test_what_is_nobodys_is_thrown_away(fit, tmp_path):
    """A run that was not touched for a month, and what killed processes have left."""
    folder = tmp_path / "checkpoints"
    fit(make_pipe(), tmp_path, kill_at=2)
    [(abandoned, students)] = [(p, p.with_suffix("")) for p in folder.glob("*.npz")]
    recent, others = (folder / f"{letter * 32}" for letter in "ab")
    for path in (recent, others):
        shutil.copy(abandoned, path.with_suffix(".npz"))
        shutil.copytree(students, path)
    orphans = [folder / ("c" * 32), folder / f"{'d' * 32}.77.tmp"]
    orphans[0].mkdir()
    orphans[1].touch()
    for path in [others.with_suffix(".npz"), others]:
        age(path, ABANDONED + 60)
    for path in orphans:
        age(path, STALE + 60)
    fit(make_pipe(ngram_range=(1, 2)), tmp_path, kill_at=3)  # another run of the same folder
    left = {path.name for path in folder.iterdir()}
    assert left >= {abandoned.name, students.name, recent.name, f"{recent.name}.npz"}
    assert not left & {path.name for path in [*orphans, others, others.with_suffix(".npz")]}


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_run_that_is_gone_on_with_is_not_abandoned(fit, tmp_path):
    fit(make_pipe(), tmp_path)
    [path] = (tmp_path / "checkpoints").glob("*.npz")
    age(path, 10 * ABANDONED)
    fit(make_pipe(), tmp_path)
    assert time.time() - path.stat().st_mtime < ABANDONED
