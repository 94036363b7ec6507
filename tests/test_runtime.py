"""Exported classifiers where neither torch nor the rest of pgkd is there."""

import itertools
import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from students.tiny_bert import write_texts, write_tiny_bert

import pgkd.runtime
from pgkd.exceptions import InvalidInputError, PersistenceError
from pgkd.students import EmbeddingStudent

pytest.importorskip("onnxruntime", reason="exported classifiers need an engine: pgkd[onnx]")

TEXTS, LABELS = write_texts()
ODD = ["", " ", "карта", "🙂", "card " * 100, "pin\x00code", "e\u0301"]


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    model = write_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))
    return EmbeddingStudent(model, max_length=12).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def exported(student, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exported") / "model"
    student.export(directory, texts=TEXTS)
    return directory


@pytest.fixture
def clf(exported):
    return pgkd.runtime.load(exported)


def test_same_probabilities(clf, student):
    texts = [*TEXTS, *ODD]
    found = clf.predict_proba(texts)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, student.predict_proba(texts), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert clf.predict(texts).tolist() == student.predict(texts).tolist()


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines(exported, student, engine):
    pytest.importorskip(engine, reason=f"the engine is not installed: {engine}")
    clf = pgkd.runtime.load(exported, engine=engine, n_threads=1, batch_size=3)
    np.testing.assert_allclose(clf.predict_proba(ODD), student.predict_proba(ODD), atol=1e-5)


def test_alone_or_beside_a_longer_text(clf):
    """Padding and the batch do not count."""
    together = clf.predict_proba([TEXTS[0], "the exchange rate of the euro today", *TEXTS])
    np.testing.assert_allclose(clf.predict_proba(TEXTS[:1])[0], together[0], atol=1e-6)


def test_texts_are_cut_as_the_student_does(clf, student):
    """Of 12 tokens two are special."""
    long, cut = "card " * 10 + "pin pin pin", "card " * 10
    np.testing.assert_allclose(*clf.predict_proba([long, cut]), atol=1e-6)
    assert abs(np.subtract(*clf.predict_proba([long, "card " * 9 + "pin"]))).max() > 1e-3


def test_no_texts(clf):
    assert clf.predict_proba([]).shape == (0, 3)
    assert clf.predict(iter([])).tolist() == []
    assert list(clf.predict_iter([])) == []


WITHOUT = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "sklearn", "scipy", "httpx"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
import pgkd.runtime
print(sorted(name for name in sys.modules if name.startswith("pgkd")))
clf = pgkd.runtime.load(sys.argv[1])
print(clf.predict_proba(["my card", "the pin code"]).tolist())
print(list(clf.predict_iter(["my card", "the pin code"])))
"""


def test_without_torch(exported, student, tmp_path):
    command = [sys.executable, "-c", WITHOUT, str(exported)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    modules, probabilities, labels = map(eval, out.splitlines())
    assert modules == ["pgkd", "pgkd.exceptions", "pgkd.records", "pgkd.runtime", "pgkd.static"]
    texts = ["my card", "the pin code"]
    np.testing.assert_allclose(probabilities, student.predict_proba(texts), atol=1e-5)
    assert labels == student.predict(texts).tolist()


def test_a_stream_is_read_a_window_at_a_time(clf):
    n_read = 0

    def endless():
        nonlocal n_read
        for text in itertools.cycle(TEXTS):
            n_read += 1
            yield text

    stream = clf.predict_iter(endless(), window_size=10)
    assert n_read == 0
    expected = clf.predict(TEXTS).tolist()
    assert list(itertools.islice(stream, 10)) == expected[:10]
    assert n_read == 10
    assert next(stream) == expected[10]
    assert n_read == 20


def test_a_stream_keeps_the_order(exported):
    clf = pgkd.runtime.load(exported, batch_size=2)
    texts = [*TEXTS, *ODD]
    expected = clf.predict_proba(texts)
    for window_size in (1, 7, 1000):
        rows = list(clf.predict_proba_iter(iter(texts), window_size=window_size))
        np.testing.assert_allclose(rows, expected, atol=1e-6)


@pytest.mark.parametrize("labels", [[3, 1], [True, False], ["да", "нет, никогда"]])
def test_labels_keep_their_type(student, tmp_path, labels):
    y = np.where(np.array(LABELS) == "card", *labels)
    two = EmbeddingStudent(student.model).fit(TEXTS, y)
    two.export(tmp_path / "model", texts=TEXTS)
    clf = pgkd.runtime.load(tmp_path / "model")
    assert clf.classes_.dtype == y.dtype
    assert clf.predict(TEXTS).dtype == y.dtype
    assert clf.predict(TEXTS).tolist() == two.predict(TEXTS).tolist()
    assert {type(label) for label in clf.predict_iter(TEXTS)} == {type(labels[0])}


def test_threads_share_it(clf):
    expected = clf.predict_proba(TEXTS)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(clf.predict_proba(TEXTS))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for probabilities in found:
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("my card", r"Got a single str.*\[text\]"),
        (3, "Got a single int"),
        (["my card", None], "Got None at position 1"),
        (["my card", "\ud83d"], r"Got '\\ud83d' at position 1.*surrogates"),
    ],
)
def test_what_is_no_text(clf, texts, message):
    with pytest.raises(InvalidInputError, match=message):
        clf.predict(texts)
    with pytest.raises(InvalidInputError, match=message):
        list(clf.predict_iter(texts))


def test_a_bad_text_in_a_stream_comes_after_the_answers_before_it(clf):
    stream = clf.predict_iter(["my card", "my pin", None], window_size=2)
    assert len([next(stream), next(stream)]) == 2
    with pytest.raises(InvalidInputError, match="position 2"):
        next(stream)


def edit(directory, **changes):
    document = json.loads((directory / "pgkd.json").read_text())
    (directory / "pgkd.json").write_text(json.dumps({**document, **changes}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "pgkd.json").unlink(), r"no exported classifier.*but \['README.md'"),
        (lambda d: (d / "pgkd.json").write_text("{"), "is damaged.*export it again"),
        (lambda d: (d / "pgkd.json").write_text("[]"), "is damaged"),
        (lambda d: (d / "pgkd.json").write_text("{}"), "written by `save`.*PGKDClassifier.load"),
        (lambda d: edit(d, format=99), "in format 99.*upgrade pgkd"),
        (lambda d: (d / "model.onnx").write_bytes(b"cut"), "is damaged.*onnxruntime"),
        (lambda d: (d / "tokenizer.json").unlink(), "is damaged"),
        (lambda d: edit(d, model="../other.onnx"), r"is damaged: its model is '\.\./other"),
    ],
)
def test_what_is_no_export(exported, tmp_path, spoil, message):
    shutil.copytree(exported, tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(PersistenceError, match=message):
        pgkd.runtime.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["batch_size", "n_threads"])
def test_numbers_are_checked(exported, clf, name):
    with pytest.raises(InvalidInputError, match=f"`{name}` must be an int of 1 or more. Got 0"):
        pgkd.runtime.load(exported, **{name: 0})
    with pytest.raises(InvalidInputError, match="`window_size` must be an int of 1 or more"):
        clf.predict_iter(TEXTS, window_size=0)


def test_engines_that_cannot(exported, monkeypatch):
    with pytest.raises(InvalidInputError, match="`engine` must be one of.*Got 'tensorrt'"):
        pgkd.runtime.load(exported, engine="tensorrt")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install onnxruntime.*pgkd\[onnx\]"):
        pgkd.runtime.load(exported, engine="onnxruntime")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match="onnxruntime is not installed"):
        pgkd.runtime.load(exported)
