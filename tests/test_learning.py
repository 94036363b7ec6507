"""What is learnt, and from which weights: scouts, warm starts, weights, classes without texts."""

import numpy as np
import pytest
from conftest import WORDS, WordTeacher, write_text
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from test_distillation import HalfWrong, KeepsRequests, fit

from pgkd.exceptions import InvalidInputError
from pgkd.learning import LabelledTexts, Learner
from pgkd.records import Example


class CountsFits(ClassifierMixin, BaseEstimator):
    """A student that is dear to train, and can go on from its weights."""

    fits, partial_fits = [], []

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        self.fits.append(len(X))
        self.model_ = SGDClassifier(loss="log_loss", random_state=0)
        self.classes_ = np.unique(y)
        return self._learn(X, y, sample_weight)

    def partial_fit(self, X, y, sample_weight=None):
        self.partial_fits.append(len(X))
        return self._learn(X, y, sample_weight)

    def _learn(self, X, y, sample_weight):
        X = HashingVectorizer(n_features=2**12).transform(X)
        for _ in range(20):
            self.model_.partial_fit(X, y, classes=self.classes_, sample_weight=sample_weight)
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(HashingVectorizer(n_features=2**12).transform(X))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.fixture
def dear():
    CountsFits.fits, CountsFits.partial_fits = [], []
    return CountsFits()


def test_a_scout_goes_before_the_student(dear, student, data):
    clf = fit(WordTeacher(), dear, data, scout=student, refit_on_all=False)
    assert clf.best_cycle_ > 0
    assert isinstance(clf.student_, CountsFits)
    # Once as the baseline, once on what the scout has learnt.
    assert len(dear.fits) == 2
    assert dear.fits[1] == dear.fits[0] + sum(t.verdict == "accepted" for t in clf.synthetic_)


def test_without_a_gain_the_scout_s_student_is_trained_once(dear, student, data):
    clf = fit(
        WordTeacher(wrong=True), dear, data, scout=student, refit_on_all=False, scoring="accuracy"
    )
    assert clf.best_cycle_ == 0
    assert len(dear.fits) == 1


def test_a_scout_s_weights_are_not_forced_on_a_student_that_takes_none(student, data):
    class Unweighted(CountsFits):
        def fit(self, X, y):
            return super().fit(X, y)

    assert Unweighted.fits is CountsFits.fits
    clf = fit(HalfWrong(), Unweighted(), data, scout=student, refit_on_all=False)
    assert {cycle.synthetic_weight for cycle in clf.history_} == {1.0}
    assert isinstance(clf.student_, Unweighted)


def test_without_rollback_a_scout_s_last_student_is_trained(dear, student, data):
    params = {"refit_on_all": False, "rollback": False, "synthetic_weight": 1.0}
    clf = fit(WordTeacher(wrong=True), dear, data, scout=student, **params)
    assert clf.best_cycle_ == clf.n_cycles_
    assert len(dear.fits) == 2


class Failing(CountsFits):
    """Cannot be trained on more texts than it can hold."""

    def __init__(self, capacity=0):
        self.capacity = capacity

    def fit(self, X, y):
        if len(X) > self.capacity:
            raise MemoryError(f"{len(X)} texts")
        return super().fit(X, y)


def test_a_student_that_cannot_be_trained_costs_nothing_where_it_has_a_scout(dear, student, data):
    teacher = WordTeacher()
    with pytest.raises(MemoryError):
        fit(teacher, Failing(), data, scout=student)
    assert not teacher.requests


def test_a_student_that_fails_after_its_scout_loses_nothing(dear, student, data):
    with pytest.warns(UserWarning, match=r"MemoryError.*`refit` trains it again"):
        clf = fit(WordTeacher(), Failing(len(data[0])), data, scout=student, refit_on_all=False)
    assert clf.best_cycle_ == 0
    assert isinstance(clf.student_, Failing)
    assert clf.usage_.n_requests > 0
    bought = [text for text in clf.synthetic_ if text.verdict == "rolled back"]
    assert bought
    clf.student_.capacity = 10_000
    clf.refit(lambda text: text.reason == "the baseline was returned")  # as the warning says
    assert clf.refit_mask_.sum() == len(bought)


def test_warm_start_goes_on_from_the_weights(dear, data):
    clf = fit(WordTeacher(), dear, data, warm_start=True, feedback="holdout")
    assert len(dear.fits) == 1
    assert len(dear.partial_fits) >= clf.n_cycles_
    assert clf.score(*data) > 0.9


def test_warm_start_learns_a_new_class_from_scratch(dear):
    """Weights for two classes cannot go on with a third."""
    labelled = LabelledTexts(["a card", "a pin"], np.array(["card", "pin"]))
    learner = Learner(dear, np.array(["card", "pin", "rate"]), labelled, warm_start=True, seed=0)
    start = learner.fit(labelled, [])
    assert learner.fit(labelled, [], start=start).classes_.tolist() == ["card", "pin"]
    assert (len(dear.fits), len(dear.partial_fits)) == (1, 1)
    new = learner.fit(labelled, [Example("a rate", "rate")], start=start)
    assert new.classes_.tolist() == ["card", "pin", "rate"]


@pytest.mark.parametrize("refit_on_all", [False, True])
def test_warm_start_begins_with_a_fitted_student(dear, data, refit_on_all):
    held_out = [(write_text(label, i), label) for i in range(200, 300) for label in WORDS]
    dear.fit(*map(list, zip(*held_out)))
    before = dear.predict_proba(data[0])
    params = {"warm_start": True, "scoring": "accuracy"}
    clf = fit(WordTeacher(wrong=True), dear, data, refit_on_all=refit_on_all, **params)
    assert clf.best_cycle_ == 0
    np.testing.assert_array_equal(clf.predict_proba(data[0]), before)
    np.testing.assert_array_equal(dear.predict_proba(data[0]), before)


def test_warm_start_wants_what_it_needs(dear, student, data):
    with pytest.raises(InvalidInputError, match="needs a student with `partial_fit`"):
        fit(WordTeacher(), student, data, warm_start=True)
    dear.fit(["a", "b"], ["x", "y"])
    with pytest.raises(InvalidInputError, match="fitted on the classes"):
        fit(WordTeacher(), dear, data, warm_start=True)


def test_wrong_texts_get_a_low_weight_or_none(data):
    student = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    params = {"max_cycles": 1, "samples_per_cycle": 12}
    [_, cycle] = fit(WordTeacher(wrong=True), student, data, **params).history_
    assert (cycle.synthetic_weight, cycle.n_accepted) == (0.1, 1)
    params["samples_per_cycle"] = 90
    [_, cycle] = fit(WordTeacher(wrong=True), student, data, **params).history_
    assert cycle.rejected["harmful batch"] > 50
    assert cycle.n_accepted == 0
    [_, cycle] = fit(HalfWrong(), student, data, synthetic_weight=1.0, **params).history_
    assert cycle.synthetic_weight == 1
    [_, cycle] = fit(WordTeacher(), student, data, **params).history_
    assert cycle.synthetic_weight == 1


def test_the_rows_of_synthetic_have_the_weights_of_the_student(data):
    student = make_pipeline(TfidfVectorizer(), LogisticRegression(C=100))
    clf = fit(WordTeacher(), student, data, synthetic_weight=0.3)
    assert clf.best_cycle_ > 0
    for text in clf.synthetic_:
        assert text.weight == (0.3 if text.verdict == "accepted" else 0)


class TakesNoWeights(MultinomialNB):
    def fit(self, X, y):
        return super().fit(X, y)


def test_a_student_without_weights_learns_at_weight_1(data):
    student = make_pipeline(TfidfVectorizer(), TakesNoWeights())
    clf = fit(WordTeacher(), student, data)
    assert {cycle.synthetic_weight for cycle in clf.history_} == {1.0}


def test_classes_without_a_text_are_learnt(student, data):
    X, y = zip(*((text, label) for text, label in zip(*data) if label != "pin"))
    descriptions = {label: f"about {label}" for label in WORDS}
    teacher = WordTeacher()
    clf = fit(KeepsRequests(teacher), student, (list(X), list(y)), class_descriptions=descriptions)
    assert clf.classes_.tolist() == ["card", "pin", "rate"]
    first = teacher.requests[0]
    assert set(first.counts) == {"pin"}
    assert first.class_descriptions == {"pin": "about pin"}
    texts, labels = zip(
        *((write_text(label, i), label) for i in range(200, 220) for label in WORDS)
    )
    recall = np.mean(clf.predict(texts)[np.array(labels) == "pin"] == "pin")
    assert recall > 0.5
    assert clf.history_[0].n_accepted > 0
    assert clf.history_[0].usage.n_requests >= 1
    assert {t.label for t in clf.synthetic_ if t.cycle == 0} == {"pin"}


def test_without_rollback_every_cycle_stays(student, data):
    params = {"synthetic_weight": 1.0, "samples_per_cycle": 40}
    clf = fit(WordTeacher(wrong=True), student, data, rollback=False, **params)
    assert all(cycle.kept for cycle in clf.history_)
    assert clf.best_cycle_ == clf.n_cycles_


def test_stops_when_the_gain_is_not_worth_its_price(student, data):
    params = {"max_cycles": 9, "patience": 2}
    dear = fit(WordTeacher(), student, data, min_gain_per_dollar=1e6, **params)
    assert (dear.stop_reason_, dear.n_cycles_) == ("gain", 2)
    cheap = fit(WordTeacher(), student, data, min_gain_per_dollar=0, **params)
    assert cheap.n_cycles_ > 2
