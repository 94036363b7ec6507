"""The students with several labels a text; a tiny model stands for a real one."""

import json
from itertools import pairwise

import numpy as np
import pytest
from conftest import make_classifier
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from tiny_bert import write_texts, write_tiny_bert
from tokenizers import Tokenizer, models, pre_tokenizers

import pgkd.runtime
from pgkd.distributed import _find_kind
from pgkd.exceptions import ExportError, InvalidInputError
from pgkd.export.writer import measure_parity
from pgkd.inputs.labels import indicate
from pgkd.students import EmbeddingStudent, StaticStudent, TransformerStudent
from pgkd.students._training import measure_losses
from pgkd.testing import PoolTeacher, check_student

ONE, LABELS = write_texts(24)
# Two texts in one have the labels of both.
TEXTS = ONE + [f"{a} {b}" for a, b in pairwise(ONE)]
SETS = [(label,) for label in LABELS]
SETS += [tuple(sorted({a, b})) for a, b in pairwise(LABELS)]
CLASSES = ["card", "pin", "rate"]
Y = indicate(SETS, CLASSES)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture(params=["embedding", "transformer"])
def student(request, tiny_bert):
    if request.param == "embedding":
        return EmbeddingStudent(tiny_bert)
    return TransformerStudent(tiny_bert, n_epochs=20, learning_rate=5e-3, random_state=0)


def test_check_student(student):
    check_student(student, multilabel=True)


def test_learns_and_is_saved(student, tmp_path):
    fitted = student.fit(TEXTS, SETS)
    assert fitted.classes_.tolist() == CLASSES
    assert fitted.multilabel_
    given = fitted.predict(TEXTS)
    assert np.mean([a == b for a, b in zip(given, SETS)]) > 0.7
    assert fitted.predict_proba(TEXTS).sum(axis=1).max() > 1.2  # each label by itself
    fitted.save(tmp_path / "student")
    loaded = type(student).load(tmp_path / "student")
    assert loaded.predict(TEXTS) == given
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), fitted.predict_proba(TEXTS), atol=1e-6)
    matrix = type(student)(**student.get_params()).fit(TEXTS, Y).predict(TEXTS)
    np.testing.assert_array_equal(matrix, indicate(given, CLASSES))


def test_weights_count(tiny_bert):
    weights = np.where(Y[:, 0], 0.01, 1)
    heavy, light = (
        EmbeddingStudent(tiny_bert).fit(TEXTS, Y, w).predict_proba(TEXTS)
        for w in (np.ones(len(TEXTS)), weights)
    )
    assert light[:, 0].mean() < heavy[:, 0].mean() - 0.05
    custom = EmbeddingStudent(tiny_bert, head=OneVsRestClassifier(LogisticRegression(C=1)))
    custom.fit(TEXTS, Y, weights)
    assert custom.predict(TEXTS).shape == Y.shape


def test_labels_that_no_text_or_every_text_has(tiny_bert, tmp_path):
    y = np.column_stack([Y, np.zeros(len(Y)), np.ones(len(Y))])
    student = EmbeddingStudent(tiny_bert).fit(TEXTS, y)
    assert (student.predict(TEXTS)[:, 3:] == [0, 1]).all()
    pytest.importorskip("onnxruntime", reason="exported classifiers need pgkd[onnx]")
    student.export(tmp_path / "model", texts=TEXTS)
    exported = pgkd.runtime.load(tmp_path / "model")
    np.testing.assert_array_equal(exported.predict(TEXTS), student.predict(TEXTS))


@pytest.mark.usefixtures("float32")
def test_validation_texts_keep_the_best_epoch(tiny_bert):
    student = TransformerStudent(tiny_bert, n_epochs=3, learning_rate=3e-3, random_state=0)
    student.fit(TEXTS, Y, X_val=TEXTS[:9], y_val=Y[:9])
    p = student.predict_proba(TEXTS[:9])
    loss = -np.log(np.where(Y[:9], p, 1 - p)).sum(axis=1).mean()
    assert loss == pytest.approx(min(student.validation_loss_), abs=1e-4)


def test_partial_fit_goes_on(tiny_bert):
    student = TransformerStudent(tiny_bert, n_epochs=2, learning_rate=3e-3, random_state=0)
    student.partial_fit(TEXTS, SETS)
    before = student.predict_proba(TEXTS)
    student.partial_fit(TEXTS[:9], Y[:9])
    assert student.classes_.tolist() == CLASSES
    assert (student.predict_proba(TEXTS) != before).any()
    with pytest.raises(InvalidInputError, match="y has 1 label.*'bird'"):
        student.partial_fit(TEXTS[:2], [["bird"], ["card"]])
    with pytest.raises(InvalidInputError, match="Got one label a text"):
        student.partial_fit(TEXTS[:2], ["card", "pin"])


def test_what_is_for_one_label_a_text(tiny_bert):
    for student, params in (
        (TransformerStudent(tiny_bert, class_weight="balanced"), {}),
        (TransformerStudent(tiny_bert), {"soft_labels": Y}),
    ):
        with pytest.raises(InvalidInputError, match="are for one label a text"):
            student.fit(TEXTS, Y, **params)


def test_the_loss_is_the_sum_over_the_labels():
    torch = pytest.importorskip("torch")
    logits, labels = torch.tensor([[2.0, -1.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    p = torch.sigmoid(logits)
    expected = -torch.log(torch.where(labels == 1, p, 1 - p)).sum(dim=1)
    torch.testing.assert_close(measure_losses(logits, labels, multilabel=True), expected)


def test_export(student, tmp_path):
    pytest.importorskip("onnxruntime", reason="exported classifiers need pgkd[onnx]")
    fitted = student.fit(TEXTS, SETS)
    parity = fitted.export(tmp_path / "model", texts=TEXTS)
    assert parity.agreement == 1
    exported = pgkd.runtime.load(tmp_path / "model")
    assert exported.multilabel_
    found = exported.predict_proba(TEXTS)
    np.testing.assert_allclose(found, fitted.predict_proba(TEXTS), atol=1e-4)
    assert exported.predict(TEXTS) == list(exported.predict_iter(TEXTS)) == fitted.predict(TEXTS)
    assert exported.predict([]) == []
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config["id2label"] == dict(zip("012", CLASSES))
    assert "above their threshold" in (tmp_path / "model" / "README.md").read_text()


def test_static_embeddings(tmp_path, tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    vocabulary = {
        token: i for i, token in enumerate(["[UNK]", *sorted(set(" ".join(TEXTS).split()))])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(directory / "tokenizer.json"))
    vectors = np.random.default_rng(0).normal(size=(len(vocabulary), 16)).astype(np.float32)
    save_file({"embeddings": vectors}, directory / "model.safetensors")
    (directory / "config.json").write_text("{}")
    student = StaticStudent(directory).fit(TEXTS, SETS)
    student.export(tmp_path / "model", texts=TEXTS)
    exported = pgkd.runtime.load(tmp_path / "model")
    np.testing.assert_allclose(
        exported.predict_proba(TEXTS), student.predict_proba(TEXTS), atol=1e-5
    )
    assert exported.predict(TEXTS) == student.predict(TEXTS)
    with pytest.raises(InvalidInputError, match='several labels.*`method="predict_proba"`'):
        _find_kind(tmp_path / "model", "predict")
    assert _find_kind(tmp_path / "model", "predict_proba") == "U"


def test_a_classifier_exports_its_names_and_thresholds(tiny_bert, tmp_path):
    pytest.importorskip("onnxruntime", reason="exported classifiers need pgkd[onnx]")
    clf = make_classifier(
        PoolTeacher(["my card"], [("card",)]),
        EmbeddingStudent(tiny_bert),
        max_cycles=0,
        label_threshold=0.3,
        class_names=["rate", "card", "pin"],
    ).fit(TEXTS, Y[:, [2, 0, 1]])
    clf.export(tmp_path / "model")
    exported = pgkd.runtime.load(tmp_path / "model")
    assert exported.classes_.tolist() == ["rate", "card", "pin"]
    assert exported.label_thresholds_.tolist() == [0.3] * 3
    np.testing.assert_array_equal(exported.predict(TEXTS), clf.predict(TEXTS))


def test_a_head_without_a_graph(tiny_bert, tmp_path):
    student = EmbeddingStudent(tiny_bert, head=KNeighborsClassifier(3)).fit(TEXTS, Y)
    assert student.predict(TEXTS).shape == Y.shape
    with pytest.raises(ExportError, match="head KNeighborsClassifier"):
        student.export(tmp_path / "model", texts=TEXTS)


def test_parity_of_label_sets():
    expected = np.array([[0.9, 0.3001], [0.2, 0.6]])
    found = np.array([[0.9, 0.2999], [0.2, 0.4]])
    parity = measure_parity(expected, found, np.array([0.5, 0.3]))
    assert parity.agreement == 1  # close to its threshold
    assert measure_parity(expected, found, np.array([0.5, 0.5])).agreement == 0.5
