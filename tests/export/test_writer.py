"""What is exported answers as the student does, or is not there."""

import copy
import importlib.metadata
import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import make_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from students.tiny_bert import write_texts, write_tiny_bert
from students.tiny_static import write_tiny_static

import pgkd.export.writer
import pgkd.runtime
from pgkd import PGKDClassifier
from pgkd.evaluation.calibration import Calibration
from pgkd.evaluation.estimates import Estimate
from pgkd.exceptions import ExportError, InvalidInputError, PersistenceError
from pgkd.models.abstention import choose_threshold
from pgkd.students import EmbeddingStudent, StaticStudent, TransformerStudent

for _package in ("onnx", "onnxruntime"):
    pytest.importorskip(_package, reason="export needs pgkd[onnx]")

TEXTS, LABELS = write_texts()
ODD = ["", "карта", "card " * 100, "pin code"]


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture(scope="module")
def embedding(tiny_bert):
    return EmbeddingStudent(tiny_bert).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def transformer(tiny_bert):
    student = TransformerStudent(tiny_bert, n_epochs=2, learning_rate=3e-3, random_state=0)
    return student.fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    return StaticStudent(write_tiny_static(tmp_path_factory.mktemp("tiny_static")))


@pytest.fixture
def distilled(teacher, embedding, data):
    clf = make_classifier(
        teacher, embedding, max_cycles=1, samples_per_cycle=6, keep_all=True, random_state=0
    )
    return clf.fit(*data)


def names(directory):
    return {path.name for path in directory.iterdir()}


FILES = {
    "README.md",
    "config.json",
    "pgkd.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


def test_embedding_student(embedding, tmp_path):
    parity = embedding.export(tmp_path / "model", texts=TEXTS)
    assert parity.n_texts == len(TEXTS)
    assert parity.max_difference < 1e-5
    assert parity.agreement == 1
    clf = pgkd.runtime.load(tmp_path / "model")
    np.testing.assert_allclose(clf.predict_proba(ODD), embedding.predict_proba(ODD), atol=1e-5)
    assert clf.document["parity"] == vars(parity)
    assert names(tmp_path / "model") == {*FILES, "model.onnx"}
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    tokenizer = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"  # known to transformers 4
    assert config["id2label"] == {"0": "card", "1": "pin", "2": "rate"}


def test_transformer_student(transformer, tmp_path):
    """`transformers` opens the same directory, and cuts long texts at the same place."""
    from transformers import pipeline

    transformer = copy.deepcopy(transformer).set_params(max_length=9)
    transformer.export(tmp_path / "model", texts=[*TEXTS, *ODD])
    assert names(tmp_path / "model") == {*FILES, "model.onnx", "model.safetensors"}
    expected = transformer.predict_proba(ODD)
    clf = pgkd.runtime.load(tmp_path / "model")
    np.testing.assert_allclose(clf.predict_proba(ODD), expected, atol=1e-5)
    classify = pipeline("text-classification", str(tmp_path / "model"), device="cpu")
    for text, row in zip(ODD, expected):
        (answer,) = classify([text], truncation=True)
        assert answer["label"] == transformer.classes_[row.argmax()]
        assert answer["score"] == pytest.approx(row.max(), abs=1e-5)


def test_openvino(embedding, tmp_path):
    if not find_spec("openvino"):  # an import of it by itself tells its makers
        pytest.skip("the format needs pgkd[openvino]")
    embedding.export(tmp_path / "model", format="openvino", texts=TEXTS)
    assert names(tmp_path / "model") == {*FILES, "openvino_model.xml", "openvino_model.bin"}
    clf = pgkd.runtime.load(tmp_path / "model")
    np.testing.assert_allclose(clf.predict_proba(ODD), embedding.predict_proba(ODD), atol=1e-5)
    with pytest.raises(PersistenceError, match=r"openvino_model\.xml, which onnxruntime cannot"):
        pgkd.runtime.load(tmp_path / "model", engine="onnxruntime")


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8(transformer, tmp_path, format):
    pytest.importorskip(
        pgkd.export.writer.ENGINES[format], reason=f"the format needs pgkd[{format}]"
    )
    file = {"onnx": "model.onnx", "openvino": "openvino_model.bin"}[format]
    transformer.export(tmp_path / "float", format=format, texts=TEXTS)
    parity = transformer.export(
        tmp_path / "int8", format=format, quantize="int8", texts=TEXTS, min_agreement=0.8
    )
    assert 1e-6 < parity.max_difference < 0.3
    assert parity.agreement >= 0.8
    sizes = [(tmp_path / name / file).stat().st_size for name in ("int8", "float")]
    assert sizes[0] < 0.9 * sizes[1]
    assert "model.safetensors" not in names(tmp_path / "int8")
    clf = pgkd.runtime.load(tmp_path / "int8")
    assert clf.document["quantize"] == "int8"
    assert np.mean(clf.predict(TEXTS) == transformer.predict(TEXTS)) >= 0.8


def test_a_classifier_is_compared_on_the_labelled_texts(distilled, data, tmp_path):
    parity = distilled.export(tmp_path / "export")
    assert parity.n_texts == len(data[0])
    clf = pgkd.runtime.load(tmp_path / "export")
    expected = distilled.predict_proba(data[0])
    np.testing.assert_allclose(clf.predict_proba(data[0]), expected, atol=1e-5)
    distilled.save(tmp_path / "saved")
    loaded = PGKDClassifier.load(tmp_path / "saved")
    parity = loaded.export(tmp_path / "export")
    assert parity.n_texts == len(distilled.synthetic_) > 0


def test_without_labelled_texts_it_is_compared_on_the_names(static, tmp_path):
    clf = PGKDClassifier(student=static, class_names=["card", "pin", "rate"]).fit()
    assert clf.export(tmp_path / "model", format="numpy").n_texts == 3
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "on 3 texts: the same class in 100.00%" in card
    assert "labelled texts that the student had not learnt" not in card


def test_model_card(distilled, data, tmp_path):
    distilled.export(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    report = distilled.history_[-1].report
    assert card.startswith("---\nlibrary_name: pgkd\n")
    assert '3 classes: `"card"`, `"pin"`, `"rate"`' in card
    assert f"accuracy {report.accuracy:.3f}, macro F1 {report.f1_macro:.3f}" in card
    assert f"on {len(data[0])} texts: the same class in 100.00%" in card
    assert not any(text in card for text in data[0])
    distilled.refit().export(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "macro F1" not in card  # nothing has judged this student
    distilled.refit_mask_, distilled.history_ = None, []  # as an earlier pgkd saved it
    distilled.export(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "the same class in 100.00%" in card


@pytest.mark.parametrize("kind", ["embedding", "transformer", "static"])
def test_a_calibrated_classifier(request, kind, teacher, data, tmp_path):
    """The model itself is calibrated, and what else opens the directory answers alike."""
    student = request.getfixturevalue(kind)
    clf = make_classifier(teacher, student, max_cycles=0, random_state=0).fit(*data)
    weights = student_weights(clf.student_)
    clf.calibration_ = Calibration(
        2.5, 2.5, 30, 0.9, 0.7, 0.1, 0.2, 0.1, Estimate(0.1, 0, 0.2), 0.1
    )
    clf.abstention_ = choose_threshold(
        np.linspace(0.4, 0.6, 60),
        np.full(60, True),
        min_accuracy=0.9,
        confidence=0.95,
        on_gate=True,
    )
    assert clf.export(tmp_path / "model").agreement == 1
    model = pgkd.runtime.load(tmp_path / "model")
    expected = clf.predict_proba(ODD)
    assert abs(expected - clf.student_.predict_proba(ODD)).max() > 0.05
    np.testing.assert_allclose(model.predict_proba(ODD), expected, atol=1e-5)
    assert (model.temperature_, model.threshold_) == (2.5, clf.threshold_)
    np.testing.assert_array_equal(student_weights(clf.student_), weights)
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "calibrated, with temperature 2.5" in card
    assert str(clf.abstention_) in card
    if kind == "transformer":
        from transformers import pipeline

        classify = pipeline("text-classification", str(tmp_path / "model"), device="cpu")
        answers = classify(ODD, truncation=True, top_k=None)
        found = [{one["label"]: one["score"] for one in answer} for answer in answers]
        found = [[scores[label] for label in clf.classes_] for scores in found]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def student_weights(student):
    if hasattr(student, "head_"):
        return student.head_.coef_.copy()
    return student.model_.classifier.weight.detach().numpy().copy()


def test_two_classes(tiny_bert, tmp_path):
    """Their head has one row of weights."""
    y = [label == "card" for label in LABELS]
    student = EmbeddingStudent(tiny_bert, head=LogisticRegression(C=7)).fit(TEXTS, y)
    assert student.head_.coef_.shape == (1, 32)
    student.export(tmp_path / "model", texts=TEXTS)
    clf = pgkd.runtime.load(tmp_path / "model")
    np.testing.assert_allclose(clf.predict_proba(ODD), student.predict_proba(ODD), atol=1e-5)


def test_students_without_a_graph(tiny_bert, teacher, student, data, tmp_path):
    for other, message in [
        (EmbeddingStudent(tiny_bert, head=KNeighborsClassifier(3)), "head KNeighborsClassifier.*"),
        (CalibratedClassifierCV(EmbeddingStudent(tiny_bert), cv=2), "CalibratedClassifierCV"),
        (student, "A student of class Pipeline cannot be exported.*`save`"),
    ]:
        clf = make_classifier(teacher, other, max_cycles=0, random_state=0).fit(*data)
        with pytest.raises(ExportError, match=message):
            clf.export(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotFittedError):
        EmbeddingStudent(tiny_bert).export(tmp_path / "model", texts=TEXTS)


def spoil(monkeypatch, change):
    """Let what is exported answer otherwise."""
    predict = pgkd.runtime.ExportedClassifier.predict_proba
    monkeypatch.setattr(
        pgkd.runtime.ExportedClassifier,
        "predict_proba",
        lambda self, texts: change(predict(self, texts)),
    )


@pytest.mark.parametrize(
    ("change", "quantize"),
    [
        (lambda p: p + 0.002, None),
        (lambda p: p[:, ::-1], None),
        (lambda p: p * np.nan, None),
        (lambda p: p * np.nan, "int8"),
    ],
)
def test_what_answers_otherwise_is_not_left(embedding, tmp_path, monkeypatch, change, quantize):
    spoil(monkeypatch, change)
    with pytest.raises(ExportError, match=r"on 36 texts, .*differ by up to"):
        embedding.export(tmp_path / "model", texts=TEXTS, quantize=quantize, min_agreement=0)
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_the_one_before(embedding, tmp_path, monkeypatch):
    embedding.export(tmp_path / "model", texts=TEXTS)
    spoil(monkeypatch, lambda p: p[:, ::-1])
    with pytest.raises(ExportError, match=r"'int8'` changes too much.*`min_agreement=0\.9"):
        embedding.export(tmp_path / "model", texts=TEXTS, quantize="int8")
    assert names(tmp_path) == {"model"}
    monkeypatch.undo()
    assert pgkd.runtime.load(tmp_path / "model").document["quantize"] is None


def test_parity():
    expected = np.array([[0.5, 0.5 - 1e-4, 0.0], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    found = expected[:, [1, 0, 2]]  # a near tie, a mistake, and one that stays
    parity = pgkd.export.writer.measure_parity(expected, found)
    assert parity == pgkd.export.writer.Parity(3, pytest.approx(0.3), pytest.approx(2 / 3))


def test_only_an_export_is_replaced(distilled, tmp_path):
    distilled.save(tmp_path / "saved")
    with pytest.raises(PersistenceError, match=r"Cannot export to.*it holds what `save` wrote"):
        distilled.export(tmp_path / "saved")
    PGKDClassifier.load(tmp_path / "saved")
    distilled.export(tmp_path / "exported")
    distilled.export(tmp_path / "exported")
    with pytest.raises(PersistenceError, match=r"Cannot save to.*it holds what `export` wrote"):
        distilled.save(tmp_path / "exported")
    with pytest.raises(PersistenceError, match=r"written by `export`.*pgkd\.load"):
        PGKDClassifier.load(tmp_path / "exported")
    (tmp_path / "exported" / "notes.txt").write_text("years of work")
    with pytest.raises(PersistenceError, match=r"notes\.txt"):
        distilled.export(tmp_path / "exported")
    assert names(tmp_path) == {"saved", "exported"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"format": "torch"},
            r"`format` must be one of \['onnx', 'openvino', 'numpy'\]. Got 'torch'",
        ),
        ({"quantize": "int4"}, r"`quantize` must be one of \['int8', None\]. Got 'int4'"),
        ({"min_agreement": 99}, r"`min_agreement` must be in \[0, 1\]. Got 99"),
        ({"texts": None}, "has kept none: pass `texts`"),
        ({"texts": []}, "texts must be a list.*Got no text"),
        ({"texts": "my card"}, r"Got a single str.*\[text\]"),
    ],
)
def test_parameters_are_checked(embedding, tmp_path, parameters, message):
    with pytest.raises(InvalidInputError, match=message):
        embedding.export(tmp_path / "model", **{"texts": TEXTS, **parameters})
    assert not list(tmp_path.iterdir())


def test_without_the_packages(embedding, tmp_path, monkeypatch):
    for package, parameters in [
        ("openvino", {"format": "openvino"}),
        ("onnx", {"quantize": "int8"}),
        ("onnxruntime", {}),
    ]:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=f"{package} is not installed"):
            embedding.export(tmp_path / "model", texts=TEXTS, **parameters)
    assert not list(tmp_path.iterdir())


def test_the_student_stays_as_it_is(tiny_bert, tmp_path):
    student = EmbeddingStudent(tiny_bert, max_length=5).fit(TEXTS, LABELS)
    encoder = student.encoder_

    def state():
        return encoder.tokenizer.model_max_length, encoder.model.config.to_dict()

    before = state()
    student.export(tmp_path / "model", texts=TEXTS)
    assert pgkd.runtime.load(tmp_path / "model").document["max_length"] == 5
    assert state() == before


def test_an_engine_of_another_distribution(embedding, tmp_path, monkeypatch):
    """The module of onnxruntime-gpu and of onnxruntime-openvino is onnxruntime as well."""

    def refuse(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", refuse)
    embedding.export(tmp_path / "model", texts=TEXTS)
    versions = pgkd.runtime.load(tmp_path / "model").document["versions"]
    assert versions["onnxruntime"] == sys.modules["onnxruntime"].__version__
