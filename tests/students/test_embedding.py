import doctest
import json
import pickle
import shutil
import subprocess
import sys
import threading

import joblib
import numpy as np
import pytest
from conftest import make_classifier
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from tiny_bert import write_texts, write_tiny_bert

from pgkd.exceptions import InvalidInputError, ModelNotFoundError, PersistenceError, StudentError
from pgkd.students import EmbeddingStudent, _cache, _encoder
from pgkd.students._encoder import Encoder, get_encoder
from pgkd.testing import PoolTeacher, check_student

TEXTS, LABELS = write_texts()


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture
def student(tiny_bert):
    return EmbeddingStudent(tiny_bert)


@pytest.fixture
def embedded(monkeypatch):
    """Every text that is really embedded."""
    texts = []
    embed = Encoder._embed

    def spy(self, new, batch_size):
        texts.extend(new)
        return embed(self, new, batch_size)

    monkeypatch.setattr(Encoder, "_embed", spy)
    _encoder._get_encoder.cache_clear()
    return texts


def test_check_student(student):
    check_student(student)


def test_docstring(tiny_bert):
    """The example, with a model that is here."""
    source = EmbeddingStudent.__doc__.replace("  # doctest: +SKIP", "")
    source = source.replace("EmbeddingStudent()", f"EmbeddingStudent({str(tiny_bert)!r})")
    test = doctest.DocTestParser().get_doctest(source, {}, "example", None, None)
    assert doctest.DocTestRunner().run(test).failed == 0
    assert len(test.examples) == 4


def test_learns_more_than_the_prior(student):
    predicted = cross_val_predict(student, TEXTS, LABELS, cv=3)
    assert np.mean(predicted == LABELS) > 0.6


def test_embedding_is_the_mean_of_the_tokens(student):
    """Alone or in a batch with a longer text, whose padding must not count."""
    encoder = get_encoder(student.model, 128)
    text = "my card"
    tokens = encoder.tokenizer(text, return_tensors="pt")
    mean = encoder.model(**tokens).last_hidden_state[0].mean(dim=0).detach().numpy()
    (embedding, _) = encoder.encode([text, "the exchange rate of the euro today"], 2)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, mean / np.linalg.norm(mean), atol=1e-6)


def test_texts_are_cut(tiny_bert):
    """At max_length, and at the 64 positions of the model whatever max_length is."""
    long = "card " * 100
    short = get_encoder(tiny_bert, 10)
    np.testing.assert_allclose(*short.encode([long, "card " * 8], 1), atol=1e-6)
    full = EmbeddingStudent(tiny_bert, max_length=1000).fit([long, "pin"], [0, 1])
    assert full.predict(["pin", long]).tolist() == [1, 0]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(LABELS),
        np.array(LABELS, dtype=object),
        np.array([10 * len(label) for label in LABELS]),
        np.array([label == "card" for label in LABELS]),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_keep_their_type(student, labels, tmp_path):
    student.fit(TEXTS, labels)
    assert student.classes_.dtype == labels.dtype
    assert student.predict(TEXTS).dtype == labels.dtype
    assert student.classes_.tolist() == sorted(set(labels.tolist()))
    student.save(tmp_path)
    loaded = EmbeddingStudent.load(tmp_path)
    assert loaded.classes_.dtype == labels.dtype
    assert (loaded.predict(TEXTS) == student.predict(TEXTS)).all()


def test_probabilities(student):
    probabilities = student.fit(TEXTS, LABELS).predict_proba(TEXTS)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert student.predict_proba([]).shape == (0, 3)
    assert student.predict([]).shape == (0,)


def test_any_script(student):
    texts = ["карта", "курс", "カード", "率", "بطاقة", "🙂", "", " ", "\x00", "e\u0301", "é"]
    student.fit(texts, [0, 1] * 5 + [0])
    probabilities = student.predict_proba(texts)
    assert np.isfinite(probabilities).all()
    assert abs(probabilities[0] - probabilities[1]).max() > 0.1
    np.testing.assert_allclose(probabilities[-1], probabilities[-2], atol=1e-6)


def test_weight_zero_is_absence(student):
    weights = np.ones(len(TEXTS))
    weights[::4] = 0
    kept = np.flatnonzero(weights)
    weighted = student.fit(TEXTS, LABELS, weights).predict_proba(TEXTS)
    fewer = student.fit([TEXTS[i] for i in kept], [LABELS[i] for i in kept]).predict_proba(TEXTS)
    full = student.fit(TEXTS, LABELS).predict_proba(TEXTS)
    np.testing.assert_allclose(weighted, fewer, atol=0.01)
    assert abs(weighted - full).max() > 0.1


def test_head_without_weights(student):
    student.set_params(head=KNeighborsClassifier(3))
    assert student.fit(TEXTS, LABELS).score(TEXTS, LABELS) > 0.6
    with pytest.raises(InvalidInputError, match="takes no `sample_weight`"):
        student.fit(TEXTS, LABELS, np.ones(len(TEXTS)))


def test_head_is_cloned_and_tuned(student):
    head = SGDClassifier(loss="log_loss", random_state=0)
    student.set_params(head=head).fit(TEXTS, LABELS)
    assert not hasattr(head, "coef_")
    search = GridSearchCV(student, {"head__alpha": [1e-4, 10.0]}, cv=3).fit(TEXTS, LABELS)
    assert search.best_params_ == {"head__alpha": 1e-4}


def test_head_must_give_probabilities(student):
    with pytest.raises(ValueError, match=r"'head' parameter.*predict_proba.*Got LinearSVC"):
        student.set_params(head=LinearSVC()).fit(TEXTS, LABELS)


def test_each_text_is_embedded_once(student, embedded):
    cross_val_predict(student, TEXTS, LABELS, cv=3)
    cross_val_predict(clone(student), [*TEXTS, "a new text"], [*LABELS, "pin"], cv=3)
    student.fit(TEXTS, LABELS).predict([*TEXTS, *TEXTS])
    assert sorted(embedded) == sorted({*TEXTS, "a new text"})


def test_a_distillation_only_pays_for_new_texts(student, embedded):
    """Over all cycles, folds and weights: each text is embedded once, the labelled ones first."""
    pool = [f"{filler} {word}" for word in ("card", "rate", "pin") for filler in ("my", "the", "a")]
    teacher = PoolTeacher(pool, np.repeat(["card", "rate", "pin"], 3))
    clf = make_classifier(
        teacher, student, max_cycles=3, samples_per_cycle=3, patience=3, random_state=0
    )
    clf.fit(TEXTS, LABELS)
    assert clf.n_cycles_ == 3
    accepted = {text.text for text in clf.synthetic_ if text.verdict == "accepted"}
    assert len(embedded) == len(set(embedded))
    assert set(TEXTS) | accepted <= set(embedded) <= set(TEXTS) | set(pool)
    clf.predict(TEXTS)
    assert len(embedded) == len(set(embedded))


def test_threads_share_the_encoder(tiny_bert, embedded):
    students = [EmbeddingStudent(tiny_bert) for _ in range(4)]
    threads = [threading.Thread(target=s.fit, args=(TEXTS, LABELS)) for s in students]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(s.encoder_) for s in students}) == 1
    assert sorted(embedded) == sorted(set(TEXTS))


def test_cache_is_bounded_and_drops_the_oldest(student, embedded, monkeypatch):
    monkeypatch.setattr(_cache, "CACHE_SIZE", 3)
    encoder = get_encoder(student.model, 128)
    all_at_once = encoder.encode(["a", "b", "c", "d", "e"], 2)
    assert len(encoder._cache) == 3
    assert len(np.unique(all_at_once, axis=0)) == 5
    encoder.encode(["c"], 2)  # now "d" is the oldest
    encoder.encode(["f"], 2)
    embedded.clear()
    np.testing.assert_allclose(encoder.encode(["c", "d"], 2), all_at_once[2:4], atol=1e-6)
    assert embedded == ["d"]


def test_a_directory_written_anew_is_another_model(tmp_path):
    texts = ["card", "pin"]
    write_tiny_bert(tmp_path, seed=0)
    before = get_encoder(tmp_path, 128).encode(texts, 2)
    assert get_encoder(tmp_path, 128) is get_encoder(tmp_path, 128)
    write_tiny_bert(tmp_path, seed=1)
    assert abs(get_encoder(tmp_path, 128).encode(texts, 2) - before).max() > 0.01


def test_inputs_stay_as_they_are(student):
    texts, labels, weights = list(TEXTS), np.array(LABELS), np.full(len(TEXTS), 0.5)
    student.fit(texts, labels, weights).predict_proba(texts)
    assert texts == TEXTS
    assert labels.tolist() == LABELS
    assert (weights == 0.5).all()


def test_pickles_carry_the_weights(tmp_path):
    model = write_tiny_bert(tmp_path / "model")
    student = EmbeddingStudent(model).fit(TEXTS, LABELS)
    expected = student.predict_proba(TEXTS)
    joblib.dump(student, tmp_path / "student.joblib")
    pickled = pickle.dumps(student)
    shutil.rmtree(model)
    for restored in (pickle.loads(pickled), joblib.load(tmp_path / "student.joblib")):
        np.testing.assert_allclose(restored.predict_proba(TEXTS), expected, atol=1e-6)
    unfitted = pickle.loads(pickle.dumps(clone(student)))
    assert unfitted.model == model
    assert not hasattr(unfitted, "head_")


LOAD = """
import sys, numpy as np
from pgkd.students import EmbeddingStudent, TransformerStudent
student = globals()[sys.argv[1]].load(sys.argv[2])
np.save(sys.argv[3], student.predict_proba(["my card", "карта", "the pin code"]))
"""


def test_load_in_another_process(tmp_path):
    """With the original model gone, and no hub."""
    model = write_tiny_bert(tmp_path / "model")
    student = EmbeddingStudent(model, max_length=7).fit(TEXTS, LABELS)
    expected = student.predict_proba(["my card", "карта", "the pin code"])
    student.save(tmp_path / "saved")
    shutil.rmtree(model)
    found = tmp_path / "found.npy"
    arguments = ["EmbeddingStudent", tmp_path / "saved", found]
    subprocess.run([sys.executable, "-c", LOAD, *map(str, arguments)], check=True)
    np.testing.assert_allclose(np.load(found), expected, atol=1e-6)
    loaded = EmbeddingStudent.load(tmp_path / "saved")
    assert loaded.get_params() == {**student.get_params(), "model": str(model)}
    suffixes = {p.suffix for p in (tmp_path / "saved").rglob("*") if p.is_file()}
    assert suffixes == {".json", ".safetensors", ".skops"}


def test_save_a_head(student, tmp_path):
    student.set_params(head=LogisticRegression(C=7)).fit(TEXTS, LABELS)
    student.save(tmp_path)
    assert EmbeddingStudent.load(tmp_path).head.C == 7
    student.set_params(head=UntrustedHead()).fit(TEXTS, LABELS)
    with pytest.raises(PersistenceError, match=r"UntrustedHead.*Use a head of scikit-learn's own"):
        student.save(tmp_path / "other")
    assert not (tmp_path / "other" / "head.skops").exists()


class UntrustedHead(GaussianNB):
    """Skops knows scikit-learn's classes only."""


def test_load_refuses_what_is_no_student(student, tmp_path):
    with pytest.raises(PersistenceError, match=r"has no student\.json"):
        EmbeddingStudent.load(tmp_path)
    student.fit(TEXTS, LABELS).save(tmp_path)
    file = tmp_path / "student.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**document, "class": "TransformerStudent"}), encoding="utf-8")
    with pytest.raises(PersistenceError, match=r"use TransformerStudent\.load"):
        EmbeddingStudent.load(tmp_path)
    file.write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "encoder" / "model.safetensors").unlink()
    with pytest.raises(PersistenceError, match="damaged"):
        EmbeddingStudent.load(tmp_path)


def test_unfitted(student):
    with pytest.raises(NotFittedError):
        student.predict_proba(TEXTS)
    with pytest.raises(NotFittedError):
        student.save("nowhere")
    with pytest.raises(InvalidInputError, match="at least two classes"):
        student.fit(TEXTS, ["card"] * len(TEXTS))
    with pytest.raises(NotFittedError):
        student.predict(TEXTS)


def test_no_such_model():
    with pytest.raises(ModelNotFoundError, match=r"'no/such-model'.*Pass a local directory"):
        EmbeddingStudent("no/such-model").fit(TEXTS, LABELS)


def test_directory_without_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no complete model.*save_pretrained"):
        EmbeddingStudent(tmp_path).fit(TEXTS, LABELS)
    with pytest.raises(OSError, match="no complete model"):
        EmbeddingStudent(tmp_path).fit(TEXTS, LABELS)


def test_no_padding_token(tmp_path):
    """As GPT-2: the end token pads. With neither, batches cannot be made."""
    model = write_tiny_bert(tmp_path / "end", eos_token="[SEP]")
    expected = EmbeddingStudent(write_tiny_bert(tmp_path / "pad")).fit(TEXTS, LABELS)
    found = EmbeddingStudent(model).fit(TEXTS, LABELS)
    np.testing.assert_allclose(found.predict_proba(TEXTS), expected.predict_proba(TEXTS), atol=1e-4)
    model = write_tiny_bert(tmp_path / "neither", cls_token="[CLS]")
    with pytest.raises(StudentError, match="neither a padding nor an end token"):
        EmbeddingStudent(model).fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("name", "value"), [("max_length", 0), ("batch_size", 1.5), ("model", None), ("head", 3)]
)
def test_parameters_are_checked(student, name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of EmbeddingStudent must be .* Got"):
        student.set_params(**{name: value}).fit(TEXTS, LABELS)


def test_import_is_lazy():
    code = (
        "import sys, pgkd.students as s\n"
        "assert dir(s) == [*sorted(s._LAZY)]\n"
        "print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])\n"
        "s.EmbeddingStudent\n"
        "print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == ["[]", "['torch', 'transformers', 'sklearn']"]


def test_a_text_without_tokens(tmp_path):
    """GPT-2's tokenizer marks neither beginning nor end, so that an empty text has none."""
    student = EmbeddingStudent(write_tiny_bert(tmp_path, marks_ends=False))
    alone = student.fit(TEXTS, LABELS).predict_proba([""])
    student.save(tmp_path / "saved")
    student = EmbeddingStudent.load(tmp_path / "saved")  # which has no cache yet
    np.testing.assert_allclose(student.predict_proba(["my card", ""])[1:], alone, atol=1e-6)


def test_embeddings_of_texts(student):
    near = student.embed(["my card", "my card", "the exchange rate"])
    np.testing.assert_allclose(np.linalg.norm(near, axis=1), 1, rtol=1e-5)
    assert near[0] @ near[1] > near[0] @ near[2]
    np.testing.assert_array_equal(
        near, student.fit(TEXTS, LABELS).embed(["my card"] * 2 + ["the exchange rate"])
    )
