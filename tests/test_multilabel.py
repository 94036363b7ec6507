"""Several labels a text, from `fit` to `predict`."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import make_classifier
from label_set_data import CLASSES, STUDENT, write_texts
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MultiLabelBinarizer

from pgkd import CascadeClassifier, PGKDClassifier, UnlabeledTexts
from pgkd.exceptions import InvalidInputError, StudentError
from pgkd.records import Example, Generation, Usage
from pgkd.samplers import EvoKDSampler, LLM2LLMSampler, UncertaintySampler, UnguidedSampler
from pgkd.testing import PoolTeacher, ScriptedTeacher

TEXTS, SETS = write_texts(60, 0)
TEST = write_texts(300, 1)
POOL = write_texts(400, 2)
Y = pd.DataFrame(MultiLabelBinarizer(classes=CLASSES).fit_transform(SETS), columns=CLASSES)
Y_TEST = MultiLabelBinarizer(classes=CLASSES).fit_transform(TEST[1])


def make(teacher=None, **params):
    defaults = {
        "max_cycles": 1,
        "samples_per_cycle": 20,
        "synthetic_weight": 1.0,  # quicker
        "keep_all": True,
        "random_state": 0,
    }
    teacher = PoolTeacher(*POOL) if teacher is None else teacher
    return make_classifier(teacher, params.pop("student", STUDENT), **{**defaults, **params})


@pytest.fixture(scope="module")
def fitted():
    return make(scoring="f1_macro", max_cycles=2, samples_per_cycle=40).fit(TEXTS, Y)


def test_the_loop_gains(fitted):
    baseline = clone(STUDENT).fit(TEXTS, Y.to_numpy())
    before, after = (
        f1_score(Y_TEST, model.predict(TEST[0]), average="macro") for model in (baseline, fitted)
    )
    assert fitted.n_cycles_ == 2
    assert after > before + 0.1
    assert fitted.comparison_.after > fitted.comparison_.before
    accepted = [text for text in fitted.synthetic_ if text.verdict == "accepted"]
    assert len(accepted) == 80
    assert all(isinstance(text.label, tuple) for text in accepted)
    assert any(len(text.label) > 1 for text in accepted)


def test_what_predict_returns_is_of_the_kind_that_fit_got(fitted):
    assert fitted.classes_.tolist() == CLASSES
    assert fitted.multilabel_
    probabilities = fitted.predict_proba(TEXTS)
    assert probabilities.shape == (60, 4)
    given = fitted.predict(TEXTS)
    np.testing.assert_array_equal(given, probabilities > fitted.label_thresholds_)
    assert fitted.predict([]).shape == (0, 4)
    expected = [tuple(np.array(CLASSES)[row == 1].tolist()) for row in given]
    assert list(fitted.predict_iter(iter(TEXTS), window_size=7)) == expected
    with pytest.raises(InvalidInputError, match="no threshold to abstain by"):
        next(fitted.predict_iter(TEXTS, abstain_label="unsure"))  # as `predict` does
    assert (fitted.calibration_, fitted.temperature_) == (None, 1.0)
    with pytest.raises(InvalidInputError, match="one label a text.*`label_threshold`"):
        fitted.fit_threshold()
    with pytest.raises(InvalidInputError, match="no threshold to abstain by"):
        fitted.predict(TEXTS, abstain_label="unsure")
    sets = make(max_cycles=0).fit(TEXTS, [list(label) for label in SETS])
    assert set(map(type, sets.predict(TEXTS))) == {tuple}
    assert sets.score(TEXTS, SETS) == sets.score(TEXTS, Y) > 0.9
    assert sets.predict([]) == []


@pytest.mark.parametrize("y", [Y.to_numpy(), csr_matrix(Y.to_numpy()), Y.to_numpy().tolist()])
def test_a_bare_matrix_needs_names(y):
    with pytest.raises(InvalidInputError, match="4 columns have no names.*`class_names=\\[...\\]`"):
        make().fit(TEXTS, y)
    nameless = make_classifier(None, STUDENT).fit(TEXTS, y)  # nobody must know them
    assert nameless.classes_.tolist() == [0, 1, 2, 3]
    names = ["two", "one", "four", "three"]
    clf = make(PoolTeacher(["a"], [("one",)]), max_cycles=0, class_names=names).fit(TEXTS, y)
    assert clf.classes_.tolist() == names
    described = make(max_cycles=0, class_descriptions=dict.fromkeys(range(4), "?")).fit(TEXTS, y)
    assert described.classes_.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(described.predict(TEXTS), clf.predict(TEXTS))


def test_one_label_a_text_is_as_before():
    clf = make(PoolTeacher(["a"], ["card"]), max_cycles=0, student=LogReg())
    labels = [label[0] for label in SETS]
    clf.fit(TEXTS, labels)
    assert not clf.multilabel_
    assert clf.label_thresholds_ is None
    assert clf.predict(TEXTS[:2]).shape == (2,)


def LogReg():
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


@pytest.mark.parametrize(
    "head",
    [
        MLPClassifier((8,), max_iter=30, random_state=0),
        RandomForestClassifier(10, random_state=0),
        MultiOutputClassifier(LogisticRegression()),
        ClassifierChain(LogisticRegression(), random_state=0),
    ],
    ids=lambda head: type(head).__name__,
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_students_of_scikit_learn(head):
    clf = make(student=make_pipeline(TfidfVectorizer(), head)).fit(TEXTS, Y)
    probabilities = clf.predict_proba(TEXTS)
    assert probabilities.shape == (60, 4)
    assert clf.predict(TEXTS).shape == (60, 4)
    assert clf.n_cycles_ == 1


@pytest.mark.parametrize(
    "sampler", [EvoKDSampler(), LLM2LLMSampler(), UnguidedSampler(quota="prior")], ids=repr
)
def test_samplers(sampler):
    clf = make(sampler=sampler).fit(TEXTS, SETS)
    assert len(clf.synthetic_) == 20


@pytest.mark.parametrize("strategy", ["margin", "entropy", "least_confident", "random", "diverse"])
def test_texts_of_a_pool(strategy):
    sampler = UncertaintySampler(strategy=strategy, n_candidates=4)
    clf = make(sampler=sampler, routes=("label",))
    clf.fit(TEXTS, SETS, X_unlabeled=UnlabeledTexts(POOL[0]))
    truth = dict(zip(*POOL))
    assert {text.source for text in clf.synthetic_} == {"pool"}
    assert all(text.label == truth[text.text] for text in clf.synthetic_)
    assert len(clf.synthetic_) == 20


def test_a_probe():
    teacher = PoolTeacher([*POOL[0], *TEXTS], [*POOL[1], *SETS])
    clf = make(teacher, probe_size=20).fit(TEXTS, Y)
    assert clf.probe_.n_texts == 20
    assert clf.probe_.teacher_accuracy == 1
    assert "It is worth asking" in clf.probe_.verdict


def test_names_are_texts_of_their_label():
    clf = make_classifier(None, STUDENT, routes=("names",), keep_all=True).fit(TEXTS, SETS)
    names = {text.text: text.label for text in clf.synthetic_}
    assert names == {label: (label,) for label in CLASSES}
    assert clf.predict(["card"]) == [("card",)]


class Careless:
    """Answers with whatever a stranger's teacher might."""

    def generate(self, requests):
        for i, request in enumerate(requests):
            labels = [frozenset({"pin", "card"}), "rate", ("rate", "pin", "pin"), ("pin", "other")]
            examples = tuple(
                Example(f"text {i} {j} {label}", label) for j, label in enumerate(labels)
            )
            yield Generation(request, examples, usage=Usage(1))


def test_a_label_is_never_invented():
    clf = make(Careless(), samples_per_cycle=10).fit(TEXTS, SETS)
    first = clf.synthetic_[:4]
    assert [text.label for text in first[:3]] == [("card", "pin"), ("rate",), ("pin", "rate")]
    assert (first[3].verdict, first[3].reason) == ("rejected", "unknown label")


def test_an_llm_is_asked_for_label_sets():
    answer = (
        '{"texts": [{"text": "pin and card one", "labels": ["pin", "card"]}, '
        '{"text": "a bird", "labels": ["bird"]}]}'
    )
    teacher = ScriptedTeacher([answer], repeat=True)
    clf = make(teacher, samples_per_cycle=4).fit(TEXTS, SETS)
    learnt = [text.label for text in clf.synthetic_ if text.text == "pin and card one"]
    assert learnt[0] == ("card", "pin")
    assert clf.history_[1].rejected["unknown label"] >= 1
    assert make(teacher).plan(TEXTS, SETS).n_requests[0] > 0


def test_a_class_without_a_text_is_learnt():
    descriptions = {label: label for label in [*CLASSES, "loan"]}
    loans = [f"a loan or credit number {i}" for i in range(8)]
    teacher = PoolTeacher([*POOL[0], *loans], [*POOL[1], *[("loan",)] * 8])
    clf = make(teacher, class_descriptions=descriptions, max_cycles=3).fit(TEXTS, SETS)
    assert "loan" in clf.classes_
    assert ("loan",) in clf.predict(["credit or loan number"])
    with pytest.raises(InvalidInputError, match="'loan', which is none of them"):
        make(teacher, class_descriptions=descriptions).fit(TEXTS, Y)
    column = Y.assign(loan=0)
    clf = make(teacher, max_cycles=3).fit(TEXTS, column)
    assert clf.predict(["credit or loan number"])[0, -1] == 1


def test_texts_without_a_label():
    sets = [() if i % 6 == 0 else label for i, label in enumerate(SETS)]
    clf = make(max_cycles=2).fit(TEXTS, sets)
    assert clf.n_cycles_ == 2
    report = clf.history_[0].report
    assert sum(score.support for score in report.classes.values()) > 0


def test_weights_and_validation_texts():
    weights = np.linspace(0.1, 1, 60)
    clf = make(synthetic_weight="auto").fit(
        TEXTS, Y, weights, X_val=TEST[0][:40], y_val=TEST[1][:40]
    )
    assert clf.history_[0].report.n_texts == 40
    assert {step.factor for step in clf.history_} <= {1.0, 0.3, 0.1}
    other = make().fit(TEXTS, Y, X_val=TEST[0][:40], y_val=Y_TEST[:40])
    assert (other.predict_proba(TEXTS) != clf.predict_proba(TEXTS)).any()


def test_save_and_load(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(TEST[0]), fitted.predict(TEST[0]))
    assert loaded.synthetic_ == fitted.synthetic_
    assert loaded.history_ == fitted.history_
    np.testing.assert_array_equal(loaded.label_thresholds_, fitted.label_thresholds_)
    assert str(loaded.report()) == str(fitted.report())
    assert loaded.class_names == CLASSES  # for another fit, on a bare matrix


def test_a_student_that_learnt_weights_is_saved(tmp_path):
    clf = make(max_cycles=0).fit(TEXTS, Y, np.linspace(0.1, 1, 60))
    clf.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), clf.predict_proba(TEXTS))


def test_columns_keep_their_order_when_saved(tmp_path):
    clf = make(max_cycles=0).fit(TEXTS, Y[["rate", "card", "pin", "fee"]])
    clf.save(tmp_path / "model")
    assert PGKDClassifier.load(tmp_path / "model").classes_.tolist() == clf.classes_.tolist()
    assert clf.classes_.tolist() == ["rate", "card", "pin", "fee"]


def test_report_and_refit(fitted):
    text = str(fitted.report())
    assert "macro F1" in text
    assert "On 60 labelled texts" in text
    clf = pickle.loads(pickle.dumps(fitted))
    before = clf.predict_proba(TEST[0])
    clf.refit(lambda text: False)
    assert (clf.predict_proba(TEST[0]) != before).any()
    np.testing.assert_allclose(clf.refit().predict_proba(TEST[0]), before)


def test_thresholds_of_the_user():
    clf = make(label_threshold=0.2, max_cycles=0).fit(TEXTS, Y)
    assert (clf.label_thresholds_ == 0.2).all()
    np.testing.assert_array_equal(clf.predict(TEXTS), clf.predict_proba(TEXTS) > 0.2)
    with pytest.raises(ValueError, match="label_threshold"):
        make(label_threshold=1.5).fit(TEXTS, Y)


def test_thresholds_are_chosen_for_a_timid_student():
    timid = clone(STUDENT).set_params(onevsrestclassifier__estimator__C=0.1)
    texts, sets = write_texts(200, 3)
    clf = make(student=timid, max_cycles=0, scoring="f1_macro").fit(texts, sets)
    assert (clf.label_thresholds_ < 0.5).any()
    half = pickle.loads(pickle.dumps(clf))
    half.label_thresholds_ = np.full(4, 0.5)
    before, after = (
        f1_score(Y_TEST, (c.predict_proba(TEST[0]) > c.label_thresholds_), average="macro")
        for c in (half, clf)
    )
    assert after > before


def test_as_a_part_of_scikit_learn():
    clf = clone(make())
    assert clf.__sklearn_tags__().classifier_tags.multi_label
    columns = pd.DataFrame(Y_TEST, columns=CLASSES)
    scores = cross_val_score(clf, TEST[0], columns, cv=2, scoring="f1_macro")
    assert (scores > 0.6).all()
    grid = GridSearchCV(clf, {"sampler__n_examples": [1], "max_cycles": [0, 1]}, cv=2)
    grid.estimator.set_params(sampler=UnguidedSampler())
    assert grid.fit(TEXTS, Y).best_score_ > 0
    pipeline = make_pipeline(FunctionTransformer(list), make()).fit(TEXTS, Y)
    assert pipeline.predict(TEXTS).shape == (60, 4)


def test_feedback_of_its_own_and_a_scout():
    for params in (
        {"validation_fraction": 0.3},
        {"validation_fraction": 0.3, "feedback": "validation"},
        {"scout": STUDENT, "scoring": "f1_macro"},
    ):
        clf = make(**params).fit(TEXTS, Y)
        assert clf.n_cycles_ == 1, params


def test_a_student_that_cannot_bear_a_label_without_texts():
    sets = [(*label, "loan") if i == 0 else label for i, label in enumerate(SETS)]
    chain = make_pipeline(TfidfVectorizer(), ClassifierChain(LogisticRegression()))
    with pytest.raises(StudentError, match="label 'loan', as happens in a fold.*OneVsRest"):
        make(student=chain).fit(TEXTS, sets)


def test_the_teacher_s_seeds_are_texts_with_like_labels():
    clf = make().fit(TEXTS, SETS)
    truth = dict(zip(TEXTS, SETS))
    pairs = [(t.label, truth[seed]) for t in clf.synthetic_ for seed in t.seed_texts]
    assert pairs
    assert all(2 * len({*a} & {*b}) >= len({*a} | {*b}) for a, b in pairs)


def test_a_cascade_refuses():
    with pytest.raises(InvalidInputError, match="CascadeClassifier takes one label a text"):
        CascadeClassifier(STUDENT, PoolTeacher(*POOL)).fit(TEXTS, SETS)
