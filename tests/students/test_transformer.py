import copy
import doctest
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from unittest.mock import Mock

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from test_embedding import LOAD
from tiny_bert import write_texts, write_tiny_bert
from transformers.utils import logging

from pgkd.exceptions import InvalidInputError, ModelNotFoundError, PersistenceError, StudentError
from pgkd.students import EmbeddingStudent, TransformerStudent, _training
from pgkd.system import pretrained
from pgkd.testing import check_student

TEXTS, LABELS = write_texts()


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture
def student(tiny_bert):
    return TransformerStudent(tiny_bert, n_epochs=6, learning_rate=3e-3, random_state=0)


@pytest.fixture(scope="session")
def fitted(tiny_bert):
    student = TransformerStudent(tiny_bert, n_epochs=6, learning_rate=3e-3, random_state=0)
    return student.fit(TEXTS, LABELS)


def test_check_student(student):
    check_student(student)


def test_docstring(tiny_bert):
    """The example, with a model that is here."""
    source = TransformerStudent.__doc__.replace("  # doctest: +SKIP", "")
    source = source.replace('"bert-base-uncased", random', f"{str(tiny_bert)!r}, random")
    test = doctest.DocTestParser().get_doctest(source, {}, "example", None, None)
    assert doctest.DocTestRunner().run(test).failed == 0
    assert len(test.examples) == 4


def test_learns(student):
    texts, labels = write_texts(72)
    assert student.fit(texts[:48], labels[:48]).score(texts[48:], labels[48:]) > 0.8


def test_all_weights_are_trained(fitted, tiny_bert):
    before, _ = pretrained.load_pretrained(_training_class(), tiny_bert)
    old, new = before.base_model.state_dict(), fitted.model_.base_model.state_dict()
    moved = [name for name in old if not torch.equal(old[name], new[name])]
    assert len(moved) == len(old)


def _training_class():
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification


@pytest.mark.parametrize("make", [str, lambda c: ord(c[0]), lambda c: c == "card"])
def test_labels_keep_their_type(student, make):
    labels = np.array([make(label) for label in LABELS])
    student.set_params(n_epochs=1).fit(TEXTS, labels)
    assert student.classes_.dtype == labels.dtype
    assert student.classes_.tolist() == sorted(set(labels.tolist()))
    assert student.predict(TEXTS).dtype == labels.dtype


def test_probabilities(fitted):
    probabilities = fitted.predict_proba(TEXTS)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert fitted.predict_proba([]).shape == (0, 3)
    one_by_one = np.concatenate([fitted.predict_proba([text]) for text in TEXTS])
    np.testing.assert_allclose(probabilities, one_by_one, atol=1e-5)
    assert len(np.unique(one_by_one.round(6), axis=0)) > 10  # else any order would do


def test_any_script(fitted):
    texts = ["карта", "курс", "カード", "率", "بطاقة", "🙂", "", " ", "\x00", "é", "e\u0301"]
    probabilities = fitted.predict_proba(texts)
    assert np.isfinite(probabilities).all()
    assert abs(probabilities[0] - probabilities[1]).max() > 1e-3
    np.testing.assert_allclose(probabilities[-1], probabilities[-2], atol=1e-6)


def test_same_seed_same_probabilities(student, fitted):
    np.random.seed(5)
    torch.manual_seed(5)
    again = clone(student).fit(TEXTS, LABELS).predict_proba(TEXTS)
    np.testing.assert_array_equal(again, fitted.predict_proba(TEXTS))
    other = student.set_params(random_state=1).fit(TEXTS, LABELS).predict_proba(TEXTS)
    assert abs(other - again).max() > 1e-3


def test_weights(student, fitted):
    """Only their ratios count, and a class of little weight is predicted less."""
    full = fitted.predict_proba(TEXTS)
    scaled = student.fit(TEXTS, LABELS, np.full(len(TEXTS), 7.0)).predict_proba(TEXTS)
    np.testing.assert_allclose(scaled, full, atol=1e-6)
    light = np.where(np.array(LABELS) == "card", 0.01, 1.0)
    less = student.fit(TEXTS, LABELS, light).predict_proba(TEXTS)
    assert less[:, 0].mean() < full[:, 0].mean() - 0.1


def test_text_of_weight_zero_teaches_nothing(student):
    """Its label may be any other: the trained weights are the same, bit by bit."""
    weights = np.ones(len(TEXTS))
    weights[:6] = 0
    other = [*reversed(LABELS[:6]), *LABELS[6:]]
    assert other != LABELS
    np.testing.assert_array_equal(
        student.fit(TEXTS, LABELS, weights).predict_proba(TEXTS),
        student.fit(TEXTS, other, weights).predict_proba(TEXTS),
    )


@pytest.mark.parametrize("weights", [np.zeros(len(TEXTS)), -np.ones(len(TEXTS)), [1.0]])
def test_bad_weights(student, weights):
    with pytest.raises(ValueError, match="weight"):
        student.fit(TEXTS, LABELS, weights)


@pytest.mark.usefixtures("float32")
def test_best_weights_are_restored(student):
    """Wrong validation labels: the better it learns, the worse it gets."""
    wrong = [{"card": "pin", "pin": "rate", "rate": "card"}[label] for label in LABELS]
    student.set_params(patience=None).fit(TEXTS, LABELS, X_val=TEXTS, y_val=wrong)
    losses = student.validation_loss_
    assert len(losses) == 6
    assert min(losses) < losses[-1] - 0.01
    assert log_loss(wrong, student.predict_proba(TEXTS)) == pytest.approx(min(losses), abs=1e-6)


def test_validation_does_not_disturb_training(student, fitted):
    student.fit(TEXTS, LABELS, X_val=TEXTS, y_val=LABELS)
    assert student.validation_loss_[-1] == min(student.validation_loss_)
    np.testing.assert_array_equal(student.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert fitted.validation_loss_ == []


def test_bad_validation(student):
    with pytest.raises(InvalidInputError, match="`X_val` was given without `y_val`"):
        student.fit(TEXTS, LABELS, X_val=TEXTS)
    with pytest.raises(InvalidInputError, match="y_val has 1 label"):
        student.fit(TEXTS, LABELS, X_val=["a"], y_val=["new"])


def test_inputs_stay_as_they_are(student):
    texts, labels, weights = list(TEXTS), np.array(LABELS), np.full(len(TEXTS), 0.5)
    student.set_params(n_epochs=1).fit(texts, labels, weights).predict_proba(texts)
    assert texts == TEXTS
    assert labels.tolist() == LABELS
    assert (weights == 0.5).all()


def get_globals():
    return {
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "torch": torch.get_rng_state().tolist(),
        "environment": dict(os.environ),
        "verbosity": logging.get_verbosity(),
        "bars": logging.is_progress_bar_enabled(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def test_globals_are_put_back(student, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    logging.set_verbosity_info()
    before = get_globals()
    student.fit(TEXTS, LABELS, X_val=TEXTS, y_val=LABELS).predict(TEXTS)
    with pytest.raises(ModelNotFoundError):
        clone(student).set_params(model="no/such").fit(TEXTS, LABELS)
    after = get_globals()
    logging.set_verbosity_warning()
    assert after == before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_accelerate_is_put_back(student):
    """An `Accelerator` of the user keeps its settings."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    theirs = Accelerator(cpu=True, mixed_precision="bf16")
    student.set_params(n_epochs=1).fit(TEXTS, LABELS)
    assert theirs.mixed_precision == "bf16"
    AcceleratorState._reset_state(reset_partial_state=True)


def test_verbose(student, capfd):
    student.set_params(n_epochs=1, verbose=True).fit(TEXTS, LABELS)
    assert "3/3" in capfd.readouterr().err


def test_failed_fit_stays_unfitted(student, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("pgkd.students.transformer.fine_tune", fail)
    with pytest.raises(KeyboardInterrupt):
        student.fit(TEXTS, LABELS)
    with pytest.raises(NotFittedError):
        student.predict_proba(TEXTS)
    with pytest.raises(NotFittedError):
        student.save("nowhere")


def test_pickles_carry_the_weights(student, tmp_path):
    model = write_tiny_bert(tmp_path / "model")
    student.set_params(model=model, n_epochs=1)
    assert pickle.loads(pickle.dumps(student)).model == model
    expected = student.fit(TEXTS, LABELS).predict_proba(TEXTS)
    joblib.dump(student, tmp_path / "student.joblib")
    pickled = pickle.dumps(student)
    shutil.rmtree(model)
    for restored in (
        pickle.loads(pickled),
        joblib.load(tmp_path / "student.joblib"),
        copy.deepcopy(student),
    ):
        np.testing.assert_allclose(restored.predict_proba(TEXTS), expected, atol=1e-6)
    assert not hasattr(clone(student), "model_")


def test_student_of_a_gpu_predicts_without_one(fitted):
    student = copy.deepcopy(fitted).set_params(device="cuda")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    student = pickle.loads(pickle.dumps(student))
    np.testing.assert_array_equal(student.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    with pytest.raises(InvalidInputError, match=r"`device`.*'cuda'.*\['cpu'\].*or None"):
        student.fit(TEXTS, LABELS)


def test_mixed_precision(student, monkeypatch):
    """Where bfloat16 is used, the trained model is an ordinary one in float32 all the same."""
    monkeypatch.setattr(_training, "has_fast_bf16", lambda device: False)
    single = clone(student).fit(TEXTS, LABELS)
    monkeypatch.setattr(_training, "has_fast_bf16", lambda device: True)
    student.fit(TEXTS, LABELS, X_val=TEXTS, y_val=LABELS)
    assert {weight.dtype for weight in student.model_.parameters()} == {torch.float32}
    probabilities = student.predict_proba(TEXTS)
    restored = pickle.loads(pickle.dumps(student))
    np.testing.assert_array_equal(restored.predict_proba(TEXTS), probabilities)
    assert 0 < abs(probabilities - single.predict_proba(TEXTS)).max() < 0.2


@pytest.mark.parametrize("name", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"])
def test_bfloat16_is_used_where_the_cpu_has_instructions_for_it(name, monkeypatch):
    for other in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, other, lambda: False, raising=False)
    assert not pretrained.has_fast_bf16("cpu")
    monkeypatch.setattr(torch.cpu, name, lambda: True, raising=False)
    assert pretrained.has_fast_bf16("cpu")
    assert not pretrained.has_fast_bf16("mps")


def test_load_in_another_process(student, tmp_path):
    """With the original model gone, and no hub."""
    model = write_tiny_bert(tmp_path / "model")
    student.set_params(model=model, n_epochs=1).fit(TEXTS, LABELS)
    expected = student.predict_proba(["my card", "карта", "the pin code"])
    student.save(tmp_path / "saved")
    shutil.rmtree(model)
    found = tmp_path / "found.npy"
    arguments = ["TransformerStudent", tmp_path / "saved", found]
    subprocess.run([sys.executable, "-c", LOAD, *map(str, arguments)], check=True)
    np.testing.assert_allclose(np.load(found), expected, atol=1e-6)
    suffixes = {p.suffix for p in (tmp_path / "saved").rglob("*") if p.is_file()}
    assert suffixes == {".json", ".safetensors"}


def test_class_names_are_taken_for_no_settings(student, tmp_path):
    """`load` refuses settings of these names, which would lead transformers elsewhere."""
    names = dict(zip(sorted(set(LABELS)), ["auto_map", "vocab_file", "9999 layers"]))
    student.set_params(n_epochs=1).fit(TEXTS, [names[label] for label in LABELS])
    student.save(tmp_path / "student")
    loaded = TransformerStudent.load(tmp_path / "student")
    assert loaded.predict(TEXTS).tolist() == student.predict(TEXTS).tolist()


def test_saved_student_is_a_transformers_model(fitted, tmp_path):
    from transformers import pipeline

    fitted.save(tmp_path)
    classify = pipeline("text-classification", str(tmp_path), device="cpu")
    (answer,) = classify("the pin code")
    probabilities = fitted.predict_proba(["the pin code"])
    assert answer["label"] == fitted.predict(["the pin code"])[0]
    assert answer["score"] == pytest.approx(probabilities.max(), abs=1e-5)
    with pytest.raises(PersistenceError, match=r"use TransformerStudent\.load"):
        EmbeddingStudent.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(PersistenceError, match="damaged"):
        TransformerStudent.load(tmp_path)


def test_head_of_another_task_is_replaced(fitted, student, tmp_path):
    fitted.save(tmp_path)
    student.set_params(model=tmp_path, n_epochs=1).fit(TEXTS, np.arange(len(TEXTS)) % 5)
    assert student.predict_proba(TEXTS).shape == (len(TEXTS), 5)


def test_grid_search_in_processes(student):
    search = GridSearchCV(
        student.set_params(n_epochs=2), {"learning_rate": [1e-6, 1e-2]}, cv=2, n_jobs=2
    ).fit(TEXTS, LABELS)
    assert search.best_params_ == {"learning_rate": 1e-2}


def test_no_such_model_fails_at_once(student, monkeypatch):
    """Even where the hub is asked: no minutes of retries."""
    import huggingface_hub.constants

    def no_route(*args, **kwargs):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(pretrained.HfApi, "model_info", no_route)
    start = time.perf_counter()
    with pytest.raises(ModelNotFoundError) as caught:
        student.set_params(model="no/such-model").fit(TEXTS, LABELS)
    assert time.perf_counter() - start < 2
    assert "'no/such-model'" in str(caught.value)
    assert "no route to the hub" in str(caught.value)
    assert "Pass a local directory" in str(caught.value)
    assert caught.value.__suppress_context__  # the traceback of the network is long
    assert caught.value.__cause__ is None
    # What is wrong with a model that the cache has is shown still.
    monkeypatch.setattr(pretrained, "_load", Mock(side_effect=KeyError("no such architecture")))
    with pytest.raises(ModelNotFoundError) as caught:
        student.fit(TEXTS, LABELS)
    assert isinstance(caught.value.__cause__, KeyError)


def test_no_padding_token(student, tmp_path):
    student.set_params(model=write_tiny_bert(tmp_path, cls_token="[CLS]"))
    with pytest.raises(StudentError, match="neither a padding nor an end token"):
        student.fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_epochs", 0), ("learning_rate", -1.0), ("warmup_ratio", 2), ("device", "gpu")],
)
def test_parameters_are_checked(student, name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of TransformerStudent must be.*Got"):
        student.set_params(**{name: value}).fit(TEXTS, LABELS)


def test_a_text_without_tokens(tmp_path):
    """GPT-2's tokenizer marks neither beginning nor end, so that an empty text has none."""
    student = TransformerStudent(write_tiny_bert(tmp_path, marks_ends=False), n_epochs=1)
    alone = student.fit(TEXTS, LABELS).predict_proba([""])
    student.save(tmp_path / "saved")
    student = TransformerStudent.load(tmp_path / "saved")  # which has no cache yet
    np.testing.assert_allclose(student.predict_proba(["my card", ""])[1:], alone, atol=1e-6)
