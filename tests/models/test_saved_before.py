"""What an earlier pgkd has written is read by this one: `fixtures/make.py` has made it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures import load

from pgkd import PGKDClassifier
from pgkd.exceptions import TeacherError
from pgkd.records import Usage
from pgkd.students import SetFitStudent
from pgkd.teachers import LLMTeacher

FIXTURES = Path(__file__).parent / "fixtures"
FORMATS = ("format_3",)

pytest.importorskip("onnxruntime", reason="an export is opened, which needs pgkd[onnx]")
pytest.importorskip("sklearn", minversion="1.8", reason="scikit-learn 1.9 wrote it")


@pytest.fixture(scope="module", params=FORMATS)
def folder(request):
    return FIXTURES / request.param


@pytest.fixture(scope="module")
def loaded(folder):
    """What another process finds, in which nothing of pgkd has been imported before."""
    answer = subprocess.run(
        [sys.executable, load.__file__, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def check(found, expected):
    """All is as it was, but for what rounding may do to numbers."""
    assert "error" not in found, found["error"]
    _check_same(json.loads(json.dumps(found)), expected, "")


def _check_same(found, expected, place):
    if isinstance(expected, dict):
        for name, value in expected.items():  # more may be found
            _check_same(found.get(name), value, f"{place}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for i, (one, other) in enumerate(zip(found, expected)):
            _check_same(one, other, f"{place}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=0, abs=1e-6), place
    else:
        assert found == expected, place


@pytest.mark.parametrize("name", load.CLASSIFIERS)
def test_saved_classifiers(loaded, folder, name):
    found, expected = loaded[name], read(folder, name)
    check(found, expected)
    for route, taken, *_ in expected["history"]:
        assert route in found["report"]
        assert isinstance(taken, bool)


@pytest.mark.parametrize("name", [f"{name}_student" for name in load.STUDENTS])
def test_saved_students(loaded, folder, name):
    check(loaded[name], read(folder, name))


@pytest.mark.parametrize("name", load.EXPORTS)
def test_exports(loaded, folder, name):
    check(loaded[name], read(folder, name))


def test_saved_over(folder, tmp_path):
    """`save` knows its own files, and replaces no others."""
    shutil.copytree(folder / "one_label", tmp_path / "model")
    clf = PGKDClassifier.load(tmp_path / "model")
    clf.save(tmp_path / "model")
    assert PGKDClassifier.load(tmp_path / "model").history_ == clf.history_
    clf = PGKDClassifier.load(tmp_path / "model")
    check(load.describe_fit(clf), read(folder, "one_label"))


def test_a_recording(loaded, folder):
    assert loaded["answers"] == read(folder, "answers")


def test_a_setfit_student(folder, tmp_path):
    """Made of an EmbeddingStudent, as setfit is a gigabyte; what is saved has the same files."""
    shutil.copytree(folder / "embedding", tmp_path / "model")
    for path, name, old, new in [
        ("student/student.json", "class", "EmbeddingStudent", "SetFitStudent"),
        ("pgkd.json", "student", "embedding:EmbeddingStudent", "setfit:SetFitStudent"),
    ]:
        path = tmp_path / "model" / path
        document = json.loads(path.read_text(encoding="utf-8"))
        assert old in document[name]
        document[name] = document[name].replace(old, new)
        path.write_text(json.dumps(document), encoding="utf-8")
    clf = PGKDClassifier.load(tmp_path / "model")
    assert isinstance(clf.student_, SetFitStudent)
    check(load.describe_fit(clf), read(folder, "embedding"))


class Writer(LLMTeacher):
    """Has the name of the one whose answers were kept, by which they are found, and none itself."""

    price = (1.0, 1.0)

    def complete(self, messages, *, schema):
        raise TeacherError(f"There is no answer to {messages[-1]['content']!r}.")


@pytest.fixture
def run_dir(folder, tmp_path):
    """A copy, because to read is to write, for SQLite."""

    def copy_run(name):
        shutil.copytree(folder / name, tmp_path / name)
        return tmp_path / name

    return copy_run


@pytest.mark.filterwarnings("ignore:The teacher failed")
def test_answers_of_a_run_are_found(folder, run_dir):
    """Of its questions, those that today's loop asks as well: the first one of the probe."""
    data = read(folder, "run")["data"]
    with pytest.warns(UserWarning, match="1 of its answers could be read"):
        clf = load.fit_run(Writer(), data, run_dir("run"))
    assert clf.saved_usage_.n_requests == 1
    assert clf.usage_.tokens == 0


@pytest.mark.filterwarnings("ignore:The probe of the teacher says nothing")
def test_the_budget_of_a_run_is_spent(folder, run_dir):
    """Another fit with the same `run_dir` may buy what the ledger leaves: nothing."""
    expected = read(folder, "run")
    n_tokens = expected["usage"]["input_tokens"] + expected["usage"]["output_tokens"]
    budget = {"max_tokens": n_tokens + 1}
    clf = load.fit_run(Writer(), expected["data"], run_dir("run"), random_state=1, **budget)
    assert clf.stop_reason_ == "budget"


def test_a_cascade_goes_on(folder, run_dir):
    expected = read(folder, "cascade")
    data, texts = expected.pop("data"), expected.pop("texts")
    cascade = load.fit_cascade(Writer(), data, run_dir("cascade"))
    assert cascade.escalates(texts).tolist() == [True, False]
    check(load.describe(cascade, texts) | {"thresholds": cascade.thresholds_.tolist()}, expected)
    assert cascade.usage_ == Usage()
    assert "escalated" in str(cascade.report())
