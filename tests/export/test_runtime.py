"""Exported classifiers where neither torch nor the rest of pgkd is there."""

import itertools
import json
import pickle
import shutil
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import replace
from importlib.util import find_spec

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
    if not find_spec(engine):  # an import of OpenVINO by itself tells its makers
        pytest.skip(f"the engine is not installed: {engine}")
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


def test_what_is_cut_off_takes_no_memory(clf):
    """The tokenizer keeps the rest of a text beside what is read of it."""
    [encoding] = clf._graph.encode(["card pin " * 5000])
    assert encoding.shape == (2, 12)
    assert encoding.nbytes < 100


def test_labels_of_many_texts_take_the_memory_of_the_labels(clf, monkeypatch):
    names = np.array(["a" * 50, "b" * 50, "c"])
    monkeypatch.setattr(clf, "classes_", names)
    rows = np.eye(3)[np.arange(1000) % 3]
    monkeypatch.setattr(clf, "_predict_window", lambda texts: rows[: len(texts)])
    n = 100_000
    tracemalloc.start()
    labels = clf.predict("card" for _ in range(n))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert labels[:3].tolist() == names.tolist()
    assert peak < 1.2 * labels.nbytes


@pytest.mark.parametrize("wrong", [{"batch_size": 1.5}, {"batch_size": "8"}, {"n_threads": 0}])
def test_numbers_that_are_none(exported, wrong):
    with pytest.raises(InvalidInputError, match="must be an int of 1 or more"):
        pgkd.runtime.load(exported, **wrong)


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
    floors = {name.split(".")[1] for name in modules if "." in name}
    assert floors == {"_version", "exceptions", "export", "inputs", "records", "runtime", "system"}
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


def test_pickle(exported, monkeypatch, tmp_path):
    """As a part of a cascade, say; wherever the process that opens it works."""
    monkeypatch.chdir(exported.parent)
    clf = pgkd.runtime.load(exported.name, engine="onnxruntime", batch_size=5, n_threads=1)
    written = pickle.dumps(clf)
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(written)
    assert (repr(again), again._batch_size, again._n_threads) == (repr(clf), 5, 1)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), clf.predict_proba(TEXTS))


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


class Frame(list):
    """Like pandas', it has columns, and gives their names when it is read."""

    columns = ("text",)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("my card", r"Got a single str.*\[text\]"),
        ("tickets.CSV", "Got the file 'tickets.CSV' instead: read it, and pass its texts"),
        (3, "Got a single int"),
        ({"text": "my card"}, r"Got a dict instead: pass its text column"),
        (Frame(), r"Got a Frame instead: pass its text column"),
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


def test_predict_holds_no_probabilities_of_all_texts(clf, monkeypatch):
    sizes = []
    found = clf._predict_window
    monkeypatch.setattr(clf, "_predict_window", lambda w: sizes.append(len(w)) or found(w))
    texts = TEXTS * 100
    assert clf.predict(iter(texts)).tolist() == clf.predict(TEXTS).tolist() * 100
    assert max(sizes) == 64 * 32 < sum(sizes)


def measure_peak(clf, n):
    """Bytes that Python and numpy hold at most while `n` texts are labelled one after another."""
    tracemalloc.start()
    n_done = sum(1 for _ in clf.predict_iter((f"card {i}" for i in range(n)), window_size=512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_done == n
    return peak


def play_engine(clf, monkeypatch):
    """Let nothing take time but what is measured: reading, cutting, sorting, padding, labelling."""
    answer = np.full((32, 3), 1 / 3)
    engine = replace(clf._graph.engine, run=lambda batch: answer[: len(batch["input_ids"])])
    monkeypatch.setattr(clf._graph, "engine", engine)


def test_memory_does_not_grow_with_the_texts(clf, monkeypatch):
    play_engine(clf, monkeypatch)
    measure_peak(clf, 512)
    few, many = (measure_peak(clf, n) for n in (1_000, 8_000))
    assert many < 1.2 * few


@pytest.mark.slow
def test_memory_does_not_grow_with_200_000_texts(clf):
    """Of the whole process, with the engine's own: tracemalloc does not see that."""
    resource = pytest.importorskip("resource", reason="no such measure on this system")

    def label(n):
        sum(1 for _ in clf.predict_iter(f"card {i % 1000}" for i in range(n)))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB

    few = label(10_000)
    assert label(200_000) - few < 20_000


def test_progress(exported, capsys):
    clf = pgkd.runtime.load(exported, verbose=True)
    assert len(clf.predict(TEXTS)) == 36
    assert "36/36" in capsys.readouterr().err
    assert len(list(clf.predict_iter(iter(TEXTS)))) == 36
    assert "36 texts" in capsys.readouterr().err
    pgkd.runtime.load(exported).predict(TEXTS)
    assert capsys.readouterr().err == ""


def test_without_a_threshold(clf):
    assert (clf.temperature_, clf.threshold_) == (1.0, None)
    for ask in (
        lambda: clf.predict(TEXTS, abstain_label="unsure"),
        lambda: clf.predict_iter(TEXTS, abstain_label="unsure"),  # before the first text
        lambda: clf.abstains(TEXTS),
    ):
        with pytest.raises(InvalidInputError, match="call `fit_threshold`"):
            ask()


def test_abstaining(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "model")
    probabilities = pgkd.runtime.load(exported).predict_proba(TEXTS)
    threshold = float(np.median(probabilities.max(axis=1)))
    edit(tmp_path / "model", threshold=threshold)
    clf = pgkd.runtime.load(tmp_path / "model", batch_size=4)
    unsure = clf.abstains(TEXTS)
    assert 10 < unsure.sum() < 26
    expected = np.where(unsure, "unsure", clf.predict(TEXTS)).tolist()
    assert clf.predict(TEXTS, abstain_label="unsure").tolist() == expected
    assert list(clf.predict_iter(TEXTS, window_size=5, abstain_label="unsure")) == expected
    assert {type(label) for label in clf.predict(TEXTS, -1)} == {str, int}
    assert clf.predict([], abstain_label=-1).tolist() == []
    with pytest.raises(InvalidInputError, match="none of the classes. Got 'card'"):
        clf.predict_iter(TEXTS, abstain_label="card")


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
        (lambda d: edit(d, format=None), "is damaged.*TypeError"),
        (lambda d: (d / "pgkd.json").write_text('{"writer": "export"}'), "is damaged.*'format'"),
        (lambda d: (d / "model.onnx").write_bytes(b"cut"), "is damaged.*ONNXRuntimeError"),
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
    with pytest.raises(
        ImportError, match=r"^onnxruntime is not .*: pip install \"pgkd\[onnx\]\"\.$"
    ):
        pgkd.runtime.load(exported, engine="onnxruntime")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match="onnxruntime is not installed"):
        pgkd.runtime.load(exported)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to itself")
def test_signals_arrive_after_models_of_openvino_are_gone(exported):
    """The first to come is the first to go; as it was, the process was gone as well."""
    pytest.importorskip("openvino", reason="the engine is not installed")
    program = (
        "import gc, pgkd.runtime, signal, sys\n"
        "first, second = (pgkd.runtime.load(sys.argv[1], engine='openvino') for _ in 'ab')\n"
        "for model in (first, second): model.predict(['card'])\n"
        "del model, first; gc.collect()\n"
        "del second; gc.collect()\n"
        "signal.signal(signal.SIGINT, lambda *_: print('heard'))\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program, exported],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
