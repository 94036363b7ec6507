import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
from conftest import make_classifier
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from students.tiny_bert import write_tiny_bert

from pgkd import Evidence, PGKDClassifier
from pgkd.exceptions import InvalidInputError, PersistenceError
from pgkd.students import EmbeddingStudent
from pgkd.system import files
from pgkd.teachers import OpenAITeacher

OLD_COLUMNS = ("text", "label", "cycle", "request_id", "verdict", "reason", "source", "weight")


OLD_PARAMS = {
    "audit_size": 0,
    "calibrate": True,
    "feedback": "out_of_fold",
    "label_threshold": "auto",
    "min_gain_per_dollar": None,
    "n_candidates": 5,
    "patience": 3,
    "refit_on_all": True,
    "rollback": True,
    "scout": None,
    "synthetic_weight": "auto",
    "validation_fraction": 0.2,
    "verification": None,
    "warm_start": False,
}


@pytest.fixture
def fitted(teacher, student, data):
    return make_classifier(
        teacher,
        student,
        max_cycles=2,
        samples_per_cycle=6,
        random_state=0,
        scoring="f1_macro",
        keep_all=True,
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
    assert all(t.seed_texts for t in loaded.synthetic_)


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


@pytest.mark.parametrize(
    ("name", "old_format"),
    [
        *[(name, False) for name in ("notes.txt", "sub/notes.txt", "sub", "student/notes.txt")],
        *[(name, True) for name in ("notes.txt", "sub/notes.txt", "sub")],
    ],
)
def test_what_is_no_saved_classifier_is_never_deleted(fitted, tmp_path, name, old_format):
    fitted.save(tmp_path / "model")
    if old_format:
        remove(tmp_path / "model", "files")
    strange = tmp_path / "model" / name
    if "." in name:
        strange.parent.mkdir(exist_ok=True)
        strange.write_text("years of work")
    else:
        strange.mkdir()
    with pytest.raises(PersistenceError, match=rf"did not write.*{name}.*Move them away"):
        fitted.save(tmp_path / "model")
    assert strange.exists()
    PGKDClassifier.load(tmp_path / "model")
    strange.unlink() if "." in name else strange.rmdir()
    if name.startswith("sub/"):
        strange.parent.rmdir()
    fitted.save(tmp_path / "model")


def test_a_directory_without_a_saved_classifier_is_never_deleted(fitted, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    for document in (None, "{", "[]", '{"files": 1}'):
        if document:
            (tmp_path / "thesis" / "pgkd.json").write_text(document)
        with pytest.raises(PersistenceError, match=r"chapter1\.tex"):
            fitted.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").exists()
    (tmp_path / "empty").mkdir()
    fitted.save(tmp_path / "empty")


def test_a_kill_while_the_directory_is_replaced_loses_nothing(fitted, tmp_path, monkeypatch):
    """Where the disk cannot exchange two names in one step; elsewhere there is no such moment."""
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    fitted.save(tmp_path / "model")
    rename = Path.rename
    seen = []

    def fail(path, target):
        if target == tmp_path / "model" and not seen:
            for left in tmp_path.iterdir():  # as a kill would leave them
                seen.append(PGKDClassifier.load(left).classes_.tolist())
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(KeyboardInterrupt):
        fitted.save(tmp_path / "model")
    assert seen == [["card", "pin", "rate"]] * 2
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    PGKDClassifier.load(tmp_path / "model")


def test_places_that_cannot_be_replaced(fitted, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    fitted.save(tmp_path / "model")
    (tmp_path / "link").symlink_to(tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    for place, message in [
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "model", "file"),
        (tmp_path / "link", f"symbolic link.*{tmp_path / 'model'}"),
        (".", "in which the process works"),
        (tmp_path / "model", "in which the process works"),
        ("/", "in which the process works"),
    ]:
        with pytest.raises(PersistenceError, match=f"Cannot save to.*{message}"):
            fitted.save(place)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link", "model"]
    fitted.save("../other/")
    PGKDClassifier.load(tmp_path / "other")


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_is_respected(fitted, tmp_path, umask):
    before = os.umask(umask)
    try:
        fitted.save(tmp_path / "model")
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o777 & ~umask


def test_texts_and_labels_of_any_kind(fitted, tmp_path):
    """A text may have other ends of lines, and a rejected one whatever the teacher wrote."""
    text = replace(fitted.synthetic_[0], text="one\u2028two\x85three\x0bfour\nfive\r\nsix \ud83d")
    odd = [float("inf"), None, np.int64(3), "pin", {"card"}, ("a", "b"), {("a",): object}, 1j]
    fitted.synthetic_ = [text, *(replace(text, label=label) for label in odd)]
    fitted.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model").synthetic_
    assert loaded[0] == text
    assert [t.label for t in loaded[1:]] == [
        *odd[:4],
        repr(odd[4]),
        ("a", "b"),
        *map(repr, odd[6:]),
    ]


def test_a_save_that_fails_leaves_nothing_behind(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    fitted.synthetic_ = [object()]
    with pytest.raises(AttributeError):
        fitted.save(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert PGKDClassifier.load(tmp_path / "model").predict(["pin code"]).tolist() == ["pin"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "pgkd.json").unlink(), "is not a saved classifier: it has no pgkd.json"),
        (shutil.rmtree, "is not a saved classifier: there is no such directory"),
        (lambda d: (d / "pgkd.json").write_text("{"), "is damaged"),
        (lambda d: (d / "synthetic.jsonl").unlink(), "is damaged"),
        (lambda d: edit(d, format=99), "upgrade pgkd"),
        (lambda d: edit(d, student="os:system"), "none of pgkd's"),
        (lambda d: edit(d, student="pgkd.nothing:X"), "none of pgkd's"),
        # torch.load would unpickle
        (lambda d: edit(d, student="pgkd.students._encoder:torch"), "none of pgkd's"),
        (lambda d: (d / "student").rename(d / "pupil"), "is damaged.*student.skops"),
        (lambda d: cut(d / "student" / "student.skops"), "is damaged.*BadZipFile"),
        (lambda d: edit(d, classes=["card", "pin"]), "student has classes that pgkd.json has not"),
        (lambda d: edit(d, history=[{}]), "is damaged.*KeyError"),
        (lambda d: edit(d, params={"new": 1}), "of another version.*'new'"),
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


def remove(directory, name):
    document = json.loads((directory / "pgkd.json").read_text())
    del document[name]
    (directory / "pgkd.json").write_text(json.dumps(document))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


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


class SavesOnly(Stranger):
    def save(self, directory):
        (directory / "prior.txt").write_text(" ".join(self.classes_))


class SavesAndLoads(SavesOnly):
    @classmethod
    def load(cls, directory):
        return cls().fit(None, (directory / "prior.txt").read_text().split())


def test_a_student_with_its_own_save(teacher, data, tmp_path):
    clf = PGKDClassifier(teacher, SavesAndLoads(), max_cycles=0, random_state=0).fit(*data)
    clf.save(tmp_path / "model")
    with pytest.raises(PersistenceError, match=r"none of pgkd's.*trusted="):
        PGKDClassifier.load(tmp_path / "model")
    name = f"{SavesAndLoads.__module__}:SavesAndLoads"
    loaded = PGKDClassifier.load(tmp_path / "model", trusted=[name])
    assert loaded.predict_proba(["x"]).shape == (1, 3)
    (tmp_path / "model" / "student" / "prior.txt").unlink()
    with pytest.raises(PersistenceError, match=r"is damaged.*prior\.txt"):
        PGKDClassifier.load(tmp_path / "model", trusted=[name])


def test_a_student_that_could_not_be_loaded_is_not_saved(teacher, data, tmp_path):
    class Local(SavesAndLoads):
        pass

    for student in (SavesOnly(), Local()):
        clf = PGKDClassifier(teacher, student, max_cycles=0, random_state=0).fit(*data)
        with pytest.raises(PersistenceError, match=r"could not be loaded again.*class method"):
            clf.save(tmp_path / "model")
        assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    return str(write_tiny_bert(tmp_path_factory.mktemp("tiny_bert")))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda student: CalibratedClassifierCV(student, cv=2),
        lambda student: GridSearchCV(student, {"batch_size": [32]}, cv=2),
    ],
)
def test_a_pretrained_student_in_a_wrapping(teacher, data, tmp_path, tiny_bert, wrap):
    student = wrap(EmbeddingStudent(tiny_bert))
    clf = PGKDClassifier(teacher, student, max_cycles=0, random_state=0)
    clf.fit(*data)
    with pytest.raises(PersistenceError, match=r"`estimator`, of class EmbeddingStudent.*joblib"):
        clf.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_pretrained_student_is_kept_for_another_fit(teacher, data, tmp_path, tiny_bert):
    student = EmbeddingStudent(tiny_bert, head=LogisticRegression(C=7), max_length=32)
    clf = PGKDClassifier(teacher, student, max_cycles=0, random_state=0).fit(*data)
    clf.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict_proba(data[0]), clf.predict_proba(data[0]), atol=1e-6)
    assert isinstance(loaded.student, EmbeddingStudent)
    assert (loaded.student.model, loaded.student.max_length) == (tiny_bert, 32)
    assert loaded.student.head.C == 7


def test_fit_again_after_load(fitted, data, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    with pytest.raises(NotFittedError):
        loaded.student.predict(["pin code"])
    loaded.set_params(teacher=type(fitted.teacher)()).fit(*data)
    np.testing.assert_array_equal(loaded.predict_proba(data[0]), fitted.predict_proba(data[0]))


@pytest.mark.parametrize("labels", [["a", "b"], [0, 1], [False, True]])
def test_class_descriptions_are_kept(teacher, student, tmp_path, labels):
    descriptions = dict(zip(labels, ["the first", "the second"]))
    clf = PGKDClassifier(
        teacher, student, max_cycles=0, class_descriptions=descriptions, random_state=0
    ).fit(
        ["aa bb", "aa cc", "dd ee", "dd ff"] * 3, [labels[0], labels[0], labels[1], labels[1]] * 3
    )
    clf.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model").class_descriptions
    assert loaded == descriptions
    assert list(map(type, loaded)) == list(map(type, labels))


def test_routes_and_evidence_are_kept(student, data, tmp_path):
    evidence = Evidence(
        validation_fraction=0.3,
        feedback="validation",
        n_folds=3,
        synthetic_weight=0.5,
        keep_all=True,
        patience=4,
        probe_size=7,
        scout=student,
        calibrate=False,
        label_threshold=0.4,
    )
    clf = PGKDClassifier(student=student, routes=["names"], evidence=evidence, random_state=0)
    clf.fit(*data).save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    assert loaded.routes == ("names",)
    params = evidence.get_params(deep=False)
    assert loaded.evidence.get_params(deep=False) == {**params, "scout": None}
    assert all(params[name] != value for name, value in Evidence().get_params().items())


@pytest.mark.parametrize("names", [["card", "pin", "rate"], np.array([30, 4, 5]), [True, False]])
def test_class_names_are_kept(student, tmp_path, names):
    """Without labelled texts another fit has nothing else to begin with."""
    descriptions = {name: f"all about {name} {i}" for i, name in enumerate(list(names))}
    clf = PGKDClassifier(student=student, class_names=names, class_descriptions=descriptions)
    clf.fit().save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    assert loaded.class_names == list(names)
    assert loaded.fit().classes_.tolist() == clf.classes_.tolist()


@pytest.mark.parametrize("number", [1, 2])
def test_directories_of_an_earlier_format(fitted, data, tmp_path, number):
    """Of the run, the texts and the bill are left; it predicts as before."""
    fitted.save(tmp_path / "model")
    for name in ("files", "class_descriptions", "labelled_diversity", "routes", "evidence"):
        remove(tmp_path / "model", name)
    for name in ("class_names", "comparison", "probe", "n_cycles", "refit_mask"):
        remove(tmp_path / "model", name)
    params = {"samples_per_cycle": 6, "scoring": "f1_macro", **OLD_PARAMS}
    cycles = [{"number": n, "gate_score": -0.5} for n in range(3)]
    edit(
        tmp_path / "model",
        format=number,
        params=params,
        history=cycles,
        best_cycle=2,
        choice={"gate_score": -0.5, "n_texts": 12},
        audit=None,
    )
    rows = (tmp_path / "model" / "synthetic.jsonl").read_text().splitlines()
    rows = [{k: v for k, v in json.loads(row).items() if k in OLD_COLUMNS} for row in rows]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "model" / "synthetic.jsonl").write_text(lines)
    loaded = PGKDClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(data[0]), fitted.predict_proba(data[0]))
    assert (loaded.samples_per_cycle, loaded.scoring) == (6, "f1_macro")
    assert (loaded.n_cycles_, loaded.comparison_, loaded.probe_) == (2, None, None)
    assert loaded.usage_ == fitted.usage_
    assert [t.text for t in loaded.synthetic_] == [t.text for t in fitted.synthetic_]
    with pytest.raises(InvalidInputError, match="saved by an earlier pgkd"):
        loaded.report()
    loaded.save(tmp_path / "model")
    again = PGKDClassifier.load(tmp_path / "model")
    assert (again.comparison_, again.synthetic_) == (None, loaded.synthetic_)


SEVERAL = {
    "on every text": ([["a", "z"], ["b", "z"], ["a", "b", "z"], ["z"]] * 3, None),
    "on none": (np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]] * 3), ["a", "b", "z"]),
}


def fit_and_reload(directory, student, y, sample_weight=None, **params):
    X = ["aa bb", "aa cc", "dd ee", "dd ff"] * 3
    clf = PGKDClassifier(student=student, routes=(), random_state=0, **params)
    clf.fit(X, y, sample_weight=sample_weight).save(directory / "model")
    loaded = PGKDClassifier.load(directory / "model")
    np.testing.assert_allclose(loaded.predict_proba(X), clf.predict_proba(X), atol=1e-6)
    return clf


@pytest.mark.parametrize("kind", SEVERAL)
@pytest.mark.parametrize("weights", [None, [1.0, 0.5] * 6])
def test_a_label_on_every_text_or_on_none(tmp_path, tiny_bert, kind, weights):
    y, names = SEVERAL[kind]
    for i, student in enumerate(
        [
            EmbeddingStudent(tiny_bert),
            make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression())),
        ]
    ):
        fit_and_reload(tmp_path / str(i), student, y, weights, class_names=names)


def test_requests_for_metadata_are_not_saved(tmp_path):
    with config_context(enable_metadata_routing=True):
        head = LogisticRegression().set_fit_request(sample_weight=True)
    clf = fit_and_reload(tmp_path, make_pipeline(TfidfVectorizer(), head), ["x", "x", "y", "y"] * 3)
    assert "_metadata_request" in vars(clf.student_[-1])  # and the user's own are let alone


def split(text):
    return text.split()


class Splitter:
    """Callable in ways that no file can hold."""

    def __init__(self):
        self.pattern = re.compile(r"\w+")

    def __call__(self, text):
        return self.pattern.findall(text)

    @staticmethod
    def split(text):
        return text.split()

    @classmethod
    def cut(cls, text):
        return text.split()


@pytest.mark.parametrize(
    "tokenizer",
    [
        *(lambda text: text.split(), str.split, re.compile(r"\w+").findall, "local", "partial"),
        *(partial(lambda sep, text: text.split(sep), None), lru_cache(split)),
        *(Splitter(), Splitter.split, Splitter.cut),
    ],
)
def test_a_part_that_could_never_be_loaded_is_not_saved(tmp_path, tokenizer):
    if tokenizer in ("local", "partial"):

        def split(text):  # by its name, the other one would be found
            return list(text)

        tokenizer = split if tokenizer == "local" else partial(split)
    vectorizer = TfidfVectorizer(tokenizer=tokenizer, token_pattern=None)
    student = make_pipeline(vectorizer, LogisticRegression())
    X, y = ["aa bb", "aa cc", "dd ee", "dd ff"] * 3, ["x", "x", "y", "y"] * 3
    clf = PGKDClassifier(student=student, routes=(), random_state=0).fit(X, y)
    with pytest.raises(PersistenceError, match=r"`tfidfvectorizer__tokenizer` of Pipeline.*`def`"):
        clf.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    clf.student_.set_params(tfidfvectorizer__tokenizer=globals()["split"])
    clf.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model", trusted=[f"{__name__}.split"])
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
