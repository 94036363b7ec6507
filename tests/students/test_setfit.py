"""The setfit package tunes the encoder; what is saved or exported does not need it."""

import importlib.util
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from tiny_bert import write_texts, write_tiny_bert

from pgkd.exceptions import InvalidInputError, ModelNotFoundError
from pgkd.students import EmbeddingStudent, SetFitStudent
from pgkd.students._encoder import get_encoder

TEXTS, LABELS = write_texts()

needs_setfit = pytest.mark.skipif(
    importlib.util.find_spec("setfit") is None, reason="it needs pgkd[setfit]"
)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture
def student(tiny_bert):
    return SetFitStudent(tiny_bert, pairs_per_text=8, learning_rate=3e-3, random_state=0)


@pytest.fixture(scope="session")
def fitted(tiny_bert):
    student = SetFitStudent(tiny_bert, pairs_per_text=8, learning_rate=3e-3, random_state=0)
    return student.fit(TEXTS, LABELS)


@needs_setfit
def test_check_student(student):
    from pgkd.testing import check_student

    check_student(student)


@needs_setfit
def test_texts_of_a_class_come_closer(fitted, tiny_bert):
    def separate(encoder):
        embeddings = encoder.encode(TEXTS, 8)
        same = np.equal.outer(LABELS, LABELS)
        similar = embeddings @ embeddings.T
        return similar[same].mean() - similar[~same].mean()

    before = get_encoder(tiny_bert, 128)
    assert separate(fitted.encoder_) > separate(before) + 0.1
    assert fitted.encoder_ is not before
    assert fitted.score(TEXTS, LABELS) > 0.9


@needs_setfit
def test_the_seed_decides(fitted, student):
    again = student.fit(TEXTS, LABELS).predict_proba(TEXTS)
    np.testing.assert_allclose(again, fitted.predict_proba(TEXTS), atol=1e-5)
    other = clone(student).set_params(random_state=1).fit(TEXTS, LABELS).predict_proba(TEXTS)
    assert abs(other - again).max() > 1e-3


@needs_setfit
def test_random_states_and_logs_stay(student, capfd):
    import torch

    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    student.fit(TEXTS[:6], LABELS[:6])
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@needs_setfit
def test_weight_zero_is_absence(student):
    weights = np.array([0.0, 1.0] * (len(TEXTS) // 2))
    found = student.fit(TEXTS, LABELS, weights).predict_proba(TEXTS)
    fewer = clone(student).fit(TEXTS[1::2], LABELS[1::2]).predict_proba(TEXTS)
    np.testing.assert_allclose(found, fewer, atol=0.2)  # of other pairs
    with pytest.raises(InvalidInputError, match="at least two classes"):
        student.fit(TEXTS, LABELS, [label == "pin" for label in LABELS])


@needs_setfit
def test_save_and_export_do_without_setfit(fitted, tmp_path):
    pytest.importorskip("onnxruntime", reason="export needs pgkd[onnx]")
    fitted.save(tmp_path / "saved")
    fitted.export(tmp_path / "exported", texts=TEXTS)
    code = (
        "import sys\n"
        "sys.modules.update(setfit=None, sentence_transformers=None)\n"
        "import pgkd.runtime\n"
        "from pgkd.students import SetFitStudent\n"
        "print(SetFitStudent.load(sys.argv[1] + '/saved').predict_proba(['my card']).tolist())\n"
        "model = pgkd.runtime.load(sys.argv[1] + '/exported')\n"
        "print(model.predict_proba(['my card']).tolist())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        np.testing.assert_allclose(eval(line), fitted.predict_proba(["my card"]), atol=1e-5)
    restored = pickle.loads(pickle.dumps(fitted)).predict_proba(TEXTS)
    np.testing.assert_allclose(restored, fitted.predict_proba(TEXTS), atol=1e-6)


def test_without_setfit(student, monkeypatch):
    monkeypatch.setattr("pgkd.students.setfit.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "pgkd\[setfit\]"'):
        student.fit(TEXTS, LABELS)


@needs_setfit
def test_no_such_model():
    with pytest.raises(ModelNotFoundError, match=r"'no/such-model'.*Pass a local directory"):
        SetFitStudent("no/such-model").fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("name", "value"), [("pairs_per_text", 1), ("n_epochs", 0), ("learning_rate", 0), ("head", 3)]
)
def test_parameters_are_checked(student, name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of SetFitStudent must be .* Got"):
        student.set_params(**{name: value}).fit(TEXTS, LABELS)


def test_what_it_shares(student):
    """Its parameters but those of the tuning are the other student's."""
    own = {"pairs_per_text", "n_epochs", "learning_rate", "random_state"}
    assert student.get_params().keys() - own == EmbeddingStudent().get_params().keys()
