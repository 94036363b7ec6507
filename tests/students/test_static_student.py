import doctest
import importlib.util
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_classifier
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from tiny_bert import make_tokenizer, write_texts, write_tiny_bert
from tiny_static import write_tiny_static

import pgkd.runtime
from pgkd import CascadeClassifier, PGKDClassifier
from pgkd.exceptions import ExportError, ModelNotFoundError, PersistenceError, StudentError
from pgkd.export.static import StaticEmbedding
from pgkd.students import EmbeddingStudent, StaticStudent, _encoder
from pgkd.testing import PoolTeacher, check_student

TEXTS, LABELS = write_texts()
ODD = ["", " ", "карта", "🙂", "card " * 1000, "pin\x00code", "e\u0301", "card  pin"]


@pytest.fixture(scope="session")
def tiny_static(tmp_path_factory):
    return write_tiny_static(tmp_path_factory.mktemp("tiny_static"))


@pytest.fixture
def student(tiny_static):
    return StaticStudent(tiny_static)


def test_check_student(student):
    check_student(student)


def test_docstring(tiny_static):
    """The example, with a model that is here."""
    source = StaticStudent.__doc__.replace("  # doctest: +SKIP", "")
    source = source.replace('StaticStudent("wordllama")', f"StaticStudent({str(tiny_static)!r})")
    test = doctest.DocTestParser().get_doctest(source, {}, "example", None, None)
    assert doctest.DocTestRunner().run(test).failed == 0
    assert len(test.examples) == 4


def test_learns_more_than_the_prior(student):
    predicted = cross_val_predict(student, TEXTS, LABELS, cv=3)
    assert np.mean(predicted == LABELS) > 0.6


def test_each_text_is_embedded_once(student, monkeypatch):
    embedded = []
    embed = StaticEmbedding.embed

    def spy(self, texts):
        embedded.extend(texts)
        return embed(self, texts)

    monkeypatch.setattr(StaticEmbedding, "embed", spy)
    _encoder._get_encoder.cache_clear()
    cross_val_predict(student, TEXTS, LABELS, cv=3)
    clone(student).fit(TEXTS, LABELS).predict([*TEXTS, "a new text"])
    assert sorted(embedded) == sorted({*TEXTS, "a new text"})


@pytest.mark.parametrize(
    "labels",
    [np.array(LABELS), np.array([len(x) for x in LABELS]), np.array([x == "pin" for x in LABELS])],
    ids=lambda labels: str(labels.dtype),
)
def test_save_and_export_keep_labels_and_probabilities(student, labels, tmp_path):
    """Two classes, whose head has one row of weights, and three."""
    student.fit(TEXTS, labels)
    expected = student.predict_proba(ODD)
    student.save(tmp_path / "saved")
    parity = student.export(tmp_path / "exported", texts=TEXTS)
    assert parity.max_difference < 1e-6
    exported = pgkd.runtime.load(tmp_path / "exported")
    for other in (StaticStudent.load(tmp_path / "saved"), exported):
        np.testing.assert_allclose(other.predict_proba(ODD), expected, atol=1e-6)
        assert other.classes_.dtype == labels.dtype
        assert other.predict(ODD).tolist() == student.predict(ODD).tolist()
    assert next(exported.predict_iter(iter(TEXTS))) == student.predict(TEXTS[:1])[0]


def test_load_without_the_original(tmp_path):
    model = write_tiny_static(tmp_path / "model")
    student = StaticStudent(model, head=LogisticRegression(C=7), max_length=3).fit(TEXTS, LABELS)
    expected = student.predict_proba(ODD)
    student.save(tmp_path / "saved")
    pickled = pickle.dumps(student)
    shutil.rmtree(model)
    loaded = StaticStudent.load(tmp_path / "saved")
    assert loaded.get_params()["head__C"] == 7
    assert loaded.max_length == 3
    for other in (loaded, pickle.loads(pickled)):
        np.testing.assert_allclose(other.predict_proba(ODD), expected, atol=1e-6)
    suffixes = {p.suffix for p in (tmp_path / "saved").rglob("*") if p.is_file()}
    assert suffixes == {".json", ".safetensors", ".skops"}
    with pytest.raises(PersistenceError, match=r"use StaticStudent\.load"):
        EmbeddingStudent.load(tmp_path / "saved")


def test_what_is_saved_is_a_model(student, tmp_path):
    """Of the same vectors, that a student can be trained with."""
    student.fit(TEXTS, LABELS).save(tmp_path)
    again = StaticStudent(tmp_path / "encoder").fit(TEXTS, LABELS)
    np.testing.assert_allclose(again.predict_proba(ODD), student.predict_proba(ODD), atol=1e-6)


@pytest.mark.filterwarnings("ignore:The teacher is nowhere measurably better")
def test_in_the_loop_the_cascade_and_the_grid(student, tmp_path):
    teacher = PoolTeacher(["my card", "the pin code", "euro rate"], ["card", "pin", "rate"])
    clf = make_classifier(
        teacher, student, scout=clone(student), max_cycles=1, samples_per_cycle=3, random_state=0
    ).fit(TEXTS, LABELS)
    clf.save(tmp_path / "saved")
    loaded = PGKDClassifier.load(tmp_path / "saved")
    assert (loaded.predict_proba(ODD) == clf.predict_proba(ODD)).all()
    assert clf.export(tmp_path / "exported").n_texts == len(TEXTS)
    cascade = CascadeClassifier(clf, teacher).fit(TEXTS, LABELS)
    assert cascade.predict(TEXTS).shape == (len(TEXTS),)
    search = GridSearchCV(student, {"head__C": [1e-6, 10.0]}, cv=3)
    search.estimator.set_params(head=LogisticRegression())
    assert search.fit(TEXTS, LABELS).best_params_ == {"head__C": 10.0}


def test_export_without_torch(student, tmp_path):
    """What runs it is numpy and tokenizers, and what is written says so."""
    student.fit(TEXTS, LABELS).export(tmp_path / "model", texts=TEXTS)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"README.md", "model.npz", "pgkd.json", "tokenizer.json"}
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "With numpy and tokenizers, no torch" in card
    assert "StaticStudent of pgkd" in card
    assert "Optimum" not in card
    code = (
        "import sys\n"
        "blocked = ['torch', 'transformers', 'sklearn', 'scipy', 'safetensors', 'onnxruntime']\n"
        "sys.modules.update(dict.fromkeys(blocked))\n"
        "import pgkd.runtime\n"
        "print(*pgkd.runtime.load(sys.argv[1]).predict(['my card', 'the pin code']))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.split() == student.predict(["my card", "the pin code"]).tolist()


def test_export_is_checked(student, tiny_static, tmp_path):
    student.fit(TEXTS, LABELS)
    for parameters, message in [
        ({"format": "onnx"}, "StaticStudent cannot be exported with `format='onnx'`"),
        ({"quantize": "int8"}, "StaticStudent cannot be exported with `quantize='int8'`"),
    ]:
        with pytest.raises(ExportError, match=message):
            student.export(tmp_path / "model", texts=TEXTS, **parameters)
    other = StaticStudent(tiny_static, head=KNeighborsClassifier(3)).fit(TEXTS, LABELS)
    with pytest.raises(ExportError, match="head KNeighborsClassifier.*cannot be exported"):
        other.export(tmp_path / "model", texts=TEXTS)
    assert not list(tmp_path.iterdir())
    student.export(tmp_path / "model", texts=TEXTS)
    with pytest.raises(PersistenceError, match=r"holds model\.npz, which onnxruntime cannot run"):
        pgkd.runtime.load(tmp_path / "model", engine="onnxruntime")
    assert pgkd.runtime.load(tmp_path / "model", engine="numpy").predict(TEXTS).size == len(TEXTS)
    (tmp_path / "model" / "model.npz").write_bytes(b"nothing")
    with pytest.raises(PersistenceError, match="damaged"):
        pgkd.runtime.load(tmp_path / "model")


def test_a_graph_is_no_numpy_array(tmp_path):
    student = EmbeddingStudent(write_tiny_bert(tmp_path / "model")).fit(TEXTS, LABELS)
    with pytest.raises(ExportError, match="EmbeddingStudent cannot be exported.*'numpy'"):
        student.export(tmp_path / "exported", format="numpy", texts=TEXTS)


def test_shared_and_weighted_vectors(tiny_static, tmp_path):
    """As model2vec writes a vocabulary that it has quantised."""
    n_tokens = make_tokenizer().get_vocab_size()
    rng = np.random.default_rng(0)
    tensors = {
        "embeddings": rng.normal(size=(5, 16)).astype(np.float16),
        "mapping": rng.integers(5, size=n_tokens),
        "weights": rng.random(n_tokens),
    }
    student = StaticStudent(write_tiny_static(tmp_path, **tensors)).fit(TEXTS, LABELS)
    expected = tensors["embeddings"][tensors["mapping"]] * tensors["weights"][:, None]
    np.testing.assert_allclose(student.encoder_.model.vectors, expected, rtol=1e-5)


@pytest.mark.parametrize("folder", [".", "0_StaticEmbedding"])
def test_sentence_transformers_files(tmp_path, folder):
    vectors = np.random.default_rng(0).normal(size=(make_tokenizer().get_vocab_size(), 16))
    write_tiny_static(tmp_path / folder, **{"embedding.weight": vectors})
    student = StaticStudent(tmp_path).fit(TEXTS, LABELS)
    np.testing.assert_allclose(student.encoder_.model.vectors, vectors, rtol=1e-5)


@pytest.mark.filterwarnings(
    "ignore:.*FileIO:pytest.PytestUnraisableExceptionWarning"
)  # model2vec's
def test_model2vec(student, tmp_path):
    """It opens what we save, and embeds texts as we do."""
    model2vec = pytest.importorskip("model2vec", reason="a comparison with its embeddings")
    student.fit(TEXTS, LABELS).save(tmp_path / "saved")
    model = model2vec.StaticModel.from_pretrained(tmp_path / "saved" / "encoder")
    texts = [text for text in (*TEXTS, *ODD) if len(text) < 100]  # it cuts at characters
    np.testing.assert_allclose(model.encode(texts), student.encoder_.encode(texts, 8), atol=1e-6)
    model2vec.model.quantize_model(model, vocabulary_quantization=20).save_pretrained(tmp_path)
    model = model2vec.StaticModel.from_pretrained(tmp_path)
    found = StaticStudent(tmp_path).fit(TEXTS, LABELS).encoder_.encode(texts, 8)
    np.testing.assert_allclose(model.encode(texts), found, atol=1e-5)


def test_wordllama():
    spec = importlib.util.find_spec("wordllama")
    if spec is None:
        pytest.skip("its vectors need pgkd[wordllama]")
    student = StaticStudent("wordllama").fit(TEXTS, LABELS)
    assert "wordllama" not in sys.modules  # whose import sets up the log of the process
    assert student.encoder_.model.vectors.shape == (32000, 256)
    assert student.predict(["where is my debit card"]) == ["card"]
    (folder,) = map(Path, spec.submodule_search_locations)
    (file,) = folder.glob("weights/*256.safetensors")
    tokens = student.encoder_.tokenizer.encode("my  card 日本", add_special_tokens=False).ids
    mean = load_file(file)["embedding.weight"][tokens].astype(np.float32).mean(axis=0)
    found = student.encoder_.encode(["my  card 日本"], 1)[0]
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)


def test_without_wordllama(monkeypatch):
    monkeypatch.setattr("pgkd.students._static_encoder.find_spec", lambda name: None)
    _encoder._get_encoder.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "pgkd\[wordllama\]"'):
        StaticStudent("wordllama").fit(TEXTS, LABELS)


def test_no_such_model(tmp_path):
    for name in ("no/such-model", "no such model", str(tmp_path / "missing")):
        with pytest.raises(
            ModelNotFoundError, match=r"no directory.*Pass a local directory"
        ) as caught:
            StaticStudent(name).fit(TEXTS, LABELS)
        assert caught.value.__suppress_context__  # the traceback of the network is long
        assert caught.value.__cause__ is None
    with pytest.raises(ModelNotFoundError, match="Did you mean 'wordllama'"):
        StaticStudent("wordlama").fit(TEXTS, LABELS)
    with pytest.raises(ModelNotFoundError, match=r"tokenizer\.json is missing"):
        StaticStudent(tmp_path).fit(TEXTS, LABELS)


def test_a_model_that_is_not_static(tmp_path):
    write_tiny_bert(tmp_path / "bert")
    with pytest.raises(StudentError, match=r"no static embeddings.*EmbeddingStudent.*model2vec"):
        StaticStudent(tmp_path / "bert").fit(TEXTS, LABELS)
    few = write_tiny_static(tmp_path / "few", embeddings=np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(StudentError, match="it has 3 vectors, and token [0-9]+"):
        StaticStudent(few).fit(TEXTS, LABELS)
    (few / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(StudentError, match="cannot be read"):
        StaticStudent(few).fit(TEXTS, LABELS)


@pytest.mark.parametrize(("name", "value"), [("max_length", 0), ("model", None), ("head", 3)])
def test_parameters_are_checked(student, name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of StaticStudent must be .* Got"):
        student.set_params(**{name: value}).fit(TEXTS, LABELS)


def test_several_labels_a_text(student, tmp_path):
    sets = [("any", label) for label in LABELS]
    student.fit(TEXTS, sets)
    assert student.predict(TEXTS) == [tuple(sorted(own)) for own in sets]
    student.export(tmp_path / "exported", texts=TEXTS)
    found = pgkd.runtime.load(tmp_path / "exported")
    np.testing.assert_allclose(found.predict_proba(TEXTS), student.predict_proba(TEXTS), atol=1e-5)
    assert found.predict(TEXTS) == student.predict(TEXTS)
