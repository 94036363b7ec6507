"""What `TransformerStudent` offers beyond plain fine-tuning."""

import copy
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_validate
from sklearn.utils.class_weight import compute_sample_weight
from tiny_bert import write_texts, write_tiny_bert

from pgkd.exceptions import InvalidInputError
from pgkd.students import TransformerStudent, _tokens, transformer
from pgkd.students._tokens import TextReader
from pgkd.system.pretrained import preserve_globals
from pgkd.testing import check_student

TEXTS, LABELS = write_texts()
NEXT = {"card": "pin", "pin": "rate", "rate": "card"}
WRONG = [NEXT[label] for label in LABELS]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    with preserve_globals():
        return write_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture
def student(tiny_bert):
    return TransformerStudent(tiny_bert, n_epochs=2, learning_rate=3e-3, random_state=0)


@pytest.fixture
def learnt(monkeypatch):
    """The rows and epochs of each training."""
    calls = []
    fine_tune = transformer.fine_tune

    def spy(model, tokenizer, rows, **options):
        calls.append(SimpleNamespace(rows=rows, n_epochs=options["n_epochs"]))
        return fine_tune(model, tokenizer, rows, **options)

    monkeypatch.setattr(transformer, "fine_tune", spy)
    return calls


def assert_same_weights(a, b):
    a, b = a.model_.state_dict(), b.model_.state_dict()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize(
    "params", [{"validation_fraction": 0.25, "class_weight": "balanced"}, {"lora_rank": 4}]
)
def test_same_seed_same_weights(student, params):
    """Whatever else the process has drawn or trained."""
    first = clone(student.set_params(**params)).fit(TEXTS, LABELS).partial_fit(TEXTS, LABELS)
    torch.manual_seed(9)
    np.random.seed(9)
    clone(student).set_params(random_state=7, n_epochs=1).fit(TEXTS[:12], LABELS[:12])
    assert_same_weights(student.fit(TEXTS, LABELS).partial_fit(TEXTS, LABELS), first)


# Early stopping


@pytest.mark.usefixtures("float32")
def test_stops_early(student):
    student.set_params(n_epochs=30, patience=2).fit(TEXTS, LABELS, X_val=TEXTS, y_val=WRONG)
    losses = student.validation_loss_
    assert len(losses) == losses.index(min(losses)) + 3 < 30
    assert log_loss(WRONG, student.predict_proba(TEXTS)) == pytest.approx(min(losses), abs=1e-6)


def test_held_out_texts_are_not_learnt(student, learnt):
    weights = np.ones(len(TEXTS))
    weights[::4] = 0
    texts = [f"{text} {i}" for i, text in enumerate(TEXTS)]  # copies would stay together
    student.set_params(validation_fraction=0.25).fit(texts, LABELS, weights)
    assert len(student.validation_loss_) == 2
    rows = learnt[0].rows
    # A quarter of the 27 texts that weigh anything; the others stay, without a say.
    assert len(TEXTS) - len(rows) == 7
    assert sum(row["weight"] == 0 for row in rows) == 9
    student.fit(TEXTS, LABELS, X_val=TEXTS[:3], y_val=LABELS[:3])
    assert len(learnt[1].rows) == len(TEXTS)


def test_nothing_to_hold_out(student):
    student.set_params(validation_fraction=0.1)
    with pytest.raises(InvalidInputError, match=r"validation_fraction=0\.1.*or pass `X_val`"):
        student.fit(["my card", "the pin"], ["card", "pin"])


# Class weights and soft labels


def test_class_weights(student):
    uneven = TEXTS[:18] + TEXTS[0:18:3]
    labels = LABELS[:18] + LABELS[0:18:3]
    for class_weight in ("balanced", {"pin": 5}):
        factors = {"card": 1, "rate": 1, "pin": 5} if class_weight != "balanced" else "balanced"
        weights = compute_sample_weight(factors, labels)
        expected = clone(student).fit(uneven, labels, weights).predict_proba(TEXTS)
        weighted = clone(student).set_params(class_weight=class_weight).fit(uneven, labels)
        np.testing.assert_allclose(weighted.predict_proba(TEXTS), expected, atol=1e-6)


def test_class_weights_are_saved(student, tmp_path):
    labels = np.array([sorted(NEXT).index(label) for label in LABELS])
    class_weight = {np.int64(0): 2, 1: np.float64(0.5)}
    student.set_params(class_weight=class_weight, n_epochs=1).fit(TEXTS, labels).save(tmp_path)
    assert TransformerStudent.load(tmp_path).class_weight == class_weight


def test_soft_labels(student):
    sure = np.eye(3)[np.unique(LABELS, return_inverse=True)[1]]
    hard = clone(student).fit(TEXTS, LABELS)
    assert_same_weights(clone(student).fit(TEXTS, WRONG, soft_labels=sure), hard)
    student.set_params(n_epochs=6)
    unsure = student.fit(TEXTS, LABELS, soft_labels=np.full((len(TEXTS), 3), 1 / 3))
    assert abs(unsure.predict_proba(TEXTS) - 1 / 3).max() < 0.1


def test_soft_labels_are_cut_to_the_fold(student, learnt):
    soft = np.full((len(TEXTS), 3), 1 / 3)
    student.set_params(n_epochs=1)
    params = {"soft_labels": soft}
    cross_validate(student, TEXTS, LABELS, cv=2, params=params, error_score="raise")
    assert [len(call.rows) for call in learnt] == [18, 18]


# LoRA


@pytest.mark.slow
def test_check_student_with_everything(student):
    options = {"lora_rank": 2, "class_weight": {"card": 2}, "validation_fraction": 0.2}
    check_student(student.set_params(n_epochs=6, learning_rate=0.02, **options))


def test_lora(student, tmp_path):
    student.set_params(learning_rate=0.02)
    base = clone(student).set_params(n_epochs=1, learning_rate=1e-12).fit(TEXTS, LABELS)
    student.set_params(lora_rank=4, n_epochs=10).fit(TEXTS, LABELS)
    before, after = base.model_.state_dict(), student.model_.state_dict()
    assert before.keys() == after.keys()  # an ordinary model
    moved = {n for n in before if not torch.allclose(before[n], after[n], rtol=0, atol=1e-6)}
    linear = [n for n in before if before[n].ndim == 2 and "embeddings" not in n]
    assert moved == {*linear, "classifier.bias"}
    changes = after["bert.encoder.layer.0.intermediate.dense.weight"]
    changes = changes - before["bert.encoder.layer.0.intermediate.dense.weight"]
    assert torch.linalg.matrix_rank(changes, atol=1e-4) == 4
    assert all(weight.requires_grad for weight in student.model_.parameters())
    assert student.score(TEXTS, LABELS) > 0.8
    student.save(tmp_path)
    for again in (TransformerStudent.load(tmp_path), pickle.loads(pickle.dumps(student))):
        np.testing.assert_allclose(
            again.predict_proba(TEXTS), student.predict_proba(TEXTS), atol=1e-6
        )


@pytest.mark.usefixtures("float32")
def test_lora_keeps_the_best_weights(student):
    student.set_params(lora_rank=2, n_epochs=5, learning_rate=0.02, patience=None)
    student.fit(TEXTS, LABELS, X_val=TEXTS, y_val=WRONG)
    losses = student.validation_loss_
    assert min(losses) < losses[-1] - 0.01
    assert log_loss(WRONG, student.predict_proba(TEXTS)) == pytest.approx(min(losses), abs=1e-5)


def test_lora_without_peft(student, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"`lora_rank`.*pip install \"pgkd\[lora\]\""):
        student.set_params(lora_rank=2, model="no/such").fit(TEXTS, LABELS)


# Going on


def test_partial_fit_goes_on(student, learnt):
    student.set_params(n_epochs=10).fit(TEXTS, LABELS)
    before = copy.deepcopy(student)
    student.set_params(n_epochs_partial=1, learning_rate=1e-5).partial_fit(TEXTS[:6], LABELS[:6])
    assert [len(call.rows) for call in learnt] == [36, 6]
    change = abs(student.predict_proba(TEXTS) - before.predict_proba(TEXTS)).max()
    assert 0 < change < 0.05  # a new model would be far away
    assert student.score(TEXTS, LABELS) > 0.8


def test_first_partial_fit(student):
    names = [*NEXT, "zoo"]
    student.partial_fit(TEXTS, LABELS, classes=names)
    assert student.classes_.tolist() == sorted(names)
    assert student.predict_proba(TEXTS).shape == (len(TEXTS), 4)
    student.partial_fit(["my zoo"], ["zoo"]).partial_fit(TEXTS, LABELS, names, np.ones(36))
    other = clone(student).partial_fit(TEXTS, LABELS)
    assert_same_weights(other, clone(student).fit(TEXTS, LABELS))
    with pytest.raises(InvalidInputError, match=r"\['card', 'pin', 'rate'\].*Got \['zoo'\]: use"):
        other.partial_fit(["my zoo"], ["zoo"])
    with pytest.raises(InvalidInputError, match=r"goes on with.*Got \['card', 'pin', 'rate', 'zo"):
        other.partial_fit(TEXTS, LABELS, classes=names)
    with pytest.raises(InvalidInputError, match="at least two classes"):
        clone(student).partial_fit(["my zoo"], ["zoo"])


def test_interrupted_partial_fit(student, monkeypatch):
    """What is left is an ordinary model, which can be pickled."""
    student.set_params(lora_rank=2).fit(TEXTS, LABELS)

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("pgkd.students._training._WeightedTrainer.compute_loss", fail)
    names = list(student.model_.state_dict())
    with pytest.raises(KeyboardInterrupt):
        student.partial_fit(TEXTS, LABELS)
    assert list(student.model_.state_dict()) == names
    pickle.dumps(student)


# Tokens


def test_each_text_is_tokenised_once(student, monkeypatch):
    _tokens._get_cache.cache_clear()
    read = []
    tokenize = TextReader._tokenize

    def spy(self, texts):
        read.extend(texts)
        return tokenize(self, texts)

    monkeypatch.setattr(TextReader, "_tokenize", spy)
    student.set_params(n_epochs=2).fit(TEXTS, LABELS, X_val=TEXTS, y_val=LABELS)
    again = copy.deepcopy(student).partial_fit(TEXTS, LABELS)
    again.predict(TEXTS)
    clone(student).set_params(n_epochs=1, max_length=student.max_length).fit(
        [*TEXTS, "a new one"], [*LABELS, "pin"]
    )
    assert sorted(read) == sorted({*TEXTS, "a new one"})
    # Another length is another matter; a pickle carries none of it.
    clone(student).set_params(n_epochs=1, max_length=4).fit(TEXTS[:6], LABELS[:6])
    assert read[len({*TEXTS}) + 1 :] == TEXTS[:6]
    assert len(pickle.dumps(student._reader)) < len(pickle.dumps(student.tokenizer_)) + 1000


def test_tokens_are_cut_as_at_training(student):
    student.set_params(n_epochs=1, max_length=3).fit(TEXTS, LABELS)
    student.set_params(max_length=64)
    long, short = student.predict_proba(["pin card rate post", "pin"])
    np.testing.assert_allclose(long, short, atol=1e-6)
