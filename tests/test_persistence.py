import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.exceptions import PersistenceError
from pgkd.teachers import OpenAITeacher


@pytest.fixture
def fitted(teacher, student, data):
    return PGKDClassifier(
        teacher, student, max_cycles=2, samples_per_cycle=6, random_state=0, scoring="f1_macro"
    ).fit(*data)


def test_round_trip(fitted, data, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(data[0]), fitted.predict_proba(data[0]))
    for name in vars(fitted):
        if name.endswith("_") and name not in ("student_", "classes_"):
            assert getattr(loaded, name) == getattr(fitted, name), name
    assert loaded.classes_.dtype == fitted.classes_.dtype
    assert loaded.get_params(deep=False)["scoring"] == "f1_macro"
    assert loaded.teacher is None


def test_files_are_no_pickles(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    files = sorted(
        p.relative_to(tmp_path / "model").as_posix() for p in tmp_path.rglob("*.*") if p.is_file()
    )
    assert files == ["pgkd.json", "student/student.skops", "synthetic.jsonl"]


def test_in_a_new_process_without_the_teachers_module(fitted, data, tmp_path):
    """`WordTeacher` lives in conftest, which the new process cannot import."""
    fitted.save(tmp_path / "model")
    code = (
        "import json, sys\n"
        "from pgkd import PGKDClassifier\n"
        "clf = PGKDClassifier.load(sys.argv[1])\n"
        "assert 'httpx' not in sys.modules\n"
        "print(json.dumps(clf.predict_proba(json.loads(sys.argv[2])).tolist()))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model"), json.dumps(data[0])],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    np.testing.assert_allclose(json.loads(out), fitted.predict_proba(data[0]), atol=1e-12)


@pytest.mark.parametrize("labels", [[0, 1], [True, False], ["да", "нет, никогда"]])
def test_labels_of_any_type(teacher, student, tmp_path, labels):
    X = ["aa bb", "aa cc", "dd ee", "dd ff"] * 3
    y = [labels[0], labels[0], labels[1], labels[1]] * 3
    clf = PGKDClassifier(teacher, student, max_cycles=0, random_state=0).fit(X, y)
    clf.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    assert loaded.predict(X).tolist() == y
    assert loaded.history_ == clf.history_


def test_saved_again_and_safe_from_mistakes(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    fitted.save(tmp_path / "model")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(PersistenceError, match="holds something else"):
        fitted.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").exists()


def test_a_save_that_fails_leaves_nothing_behind(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    fitted.synthetic_ = [object()]
    with pytest.raises(TypeError):
        fitted.save(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert PGKDClassifier.load(tmp_path / "model").predict(["pin code"]).tolist() == ["pin"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "pgkd.json").unlink(), "is not a saved classifier"),
        (lambda d: (d / "pgkd.json").write_text("{"), "is damaged"),
        (lambda d: (d / "synthetic.jsonl").unlink(), "is damaged"),
        (lambda d: edit(d, format=99), "upgrade pgkd"),
        (lambda d: edit(d, student="os:system"), "none of pgkd's"),
    ],
)
def test_damaged_directories(fitted, tmp_path, spoil, message):
    fitted.save(tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(PersistenceError, match=message):
        PGKDClassifier.load(tmp_path / "model")


def edit(directory, **changes):
    document = json.loads((directory / "pgkd.json").read_text())
    (directory / "pgkd.json").write_text(json.dumps({**document, **changes}))


class Stranger(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def test_untrusted_types_are_named(teacher, data, tmp_path):
    clf = PGKDClassifier(teacher, Stranger(), max_cycles=0, random_state=0).fit(*data)
    clf.save(tmp_path / "model")
    with pytest.raises(PersistenceError, match=r"Stranger.*trusted=\[\.\.\.\]"):
        PGKDClassifier.load(tmp_path / "model")
    name = f"{Stranger.__module__}.Stranger"
    loaded = PGKDClassifier.load(tmp_path / "model", trusted=[name])
    assert loaded.predict_proba(["x"]).shape == (1, 3)


def test_no_key_is_saved(student, data, tmp_path):
    teacher = OpenAITeacher("m", base_url="http://127.0.0.1:9/v1", api_key="sk-canary")
    clf = PGKDClassifier(
        teacher,
        make_pipeline(TfidfVectorizer(), LogisticRegression()),
        max_cycles=0,
        run_dir=tmp_path / "run",
        random_state=0,
    ).fit(*data)
    clf.save(tmp_path / "model")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"sk-canary" not in path.read_bytes()
    assert "sk-canary" not in repr(clf)
