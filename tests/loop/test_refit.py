import pickle

import numpy as np
import pytest
from annotators import Labelling
from conftest import WORDS, WordTeacher, make_classifier, write_hard
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.records import Example, Generation


class Sloppy(WordTeacher):
    """Adds to each answer a copy of a labelled text and a text of a class that is none."""

    def __init__(self, wrong=False, copied="my card"):
        super().__init__(wrong)
        self.copied = copied

    def generate(self, requests):
        for g in super().generate(requests):
            extra = (Example(self.copied, "card"), Example("x y", "?"))
            yield Generation(g.request, g.examples + extra, usage=g.usage)


def fit(student, data, teacher=None, **params):
    # Whether it helps does not matter here.
    quick = {"max_cycles": 1, "keep_all": True, "synthetic_weight": 1.0}
    defaults = {**quick, "samples_per_cycle": 9, "random_state": 0}
    teacher = teacher or Sloppy(copied=data[0][0])
    return make_classifier(teacher, student, **{**defaults, **params}).fit(*data)


def vocabulary(clf):
    return set(clf.student_[0].vocabulary_)


@pytest.mark.parametrize("params", [{}, {"synthetic_weight": 0.3}, {"validation_fraction": 0.3}])
def test_without_a_mask_it_is_what_fit_made(student, data, params):
    clf = fit(student, data, **params)
    assert any(text.verdict == "accepted" for text in clf.synthetic_)
    before, trained = clf.predict_proba(data[0]), clf.student_
    assert clf.refit() is clf
    assert clf.student_ is not trained
    np.testing.assert_array_equal(clf.predict_proba(data[0]), before)
    assert clf.refit_mask_.tolist() == [t.verdict == "accepted" for t in clf.synthetic_]


def test_a_mask_chooses_what_is_learnt(student, data):
    clf = fit(student, data)
    chosen = next(i for i, t in enumerate(clf.synthetic_) if t.verdict == "accepted")
    mask = np.arange(len(clf.synthetic_)) == chosen
    by_array = vocabulary(clf.refit(mask))
    assert {t.text.split()[-1] for t in clf.synthetic_} & by_array == {
        clf.synthetic_[chosen].text.split()[-1],
        data[0][0].split()[-1],  # a copy of a labelled text
    }
    text = clf.synthetic_[chosen].text
    assert vocabulary(clf.refit(lambda t: t.text == text)) == by_array
    assert vocabulary(clf.refit(mask.tolist())) == by_array


def test_no_text_is_the_baseline_on_all_labelled_texts(student, data):
    clf = fit(student, data, calibrate=False).refit(lambda text: False)
    baseline = clone(student).fit(*data)
    np.testing.assert_allclose(clf.predict_proba(data[0]), baseline.predict_proba(data[0]))


def test_rejected_and_dropped_texts_can_be_brought_back(student, hard):
    teacher = WordTeacher(wrong=True, write=write_hard)
    clf = fit(student, hard, teacher=teacher, samples_per_cycle=40, keep_all=False)
    dropped = [t for t in clf.synthetic_ if t.verdict == "dropped"]
    assert dropped
    rows = list(clf.synthetic_)
    words = {t.text.split()[-1] for t in dropped}
    assert not words & vocabulary(clf)
    assert words <= vocabulary(clf.refit(lambda text: text.verdict == "dropped"))
    assert clf.synthetic_ == rows  # the verdicts are those of `fit`


class Weighed(LogisticRegression):
    """Remembers the weights."""

    def fit(self, X, y, sample_weight=None):
        self.weights_ = sample_weight
        return super().fit(X, y, sample_weight)


def test_texts_that_are_brought_back_weigh_what_their_step_did(data):
    student = make_pipeline(TfidfVectorizer(), Weighed())
    clf = fit(student, data, synthetic_weight=0.3)
    clf.refit(lambda text: text.reason == "duplicate")
    n = clf.refit_mask_.sum()
    assert clf.student_[-1].weights_.tolist() == [1] * 60 + [0.3] * n
    assert n > 0


def test_texts_of_a_step_that_was_not_taken_weigh_a_tenth(hard):
    student = make_pipeline(TfidfVectorizer(), Weighed())
    teacher = WordTeacher(wrong=True, write=write_hard)
    clf = fit(student, hard, teacher, keep_all=False, samples_per_cycle=40)
    assert not clf.history_[1].taken
    clf.refit(lambda text: text.verdict == "dropped")
    assert clf.student_[-1].weights_.tolist() == [1] * 24 + [0.1] * clf.refit_mask_.sum()


def test_texts_that_were_learnt_keep_their_own_weights(student, hard):
    """A text of the pool has a row for each label that it may have."""
    pool = [write_hard(label, i) for i in range(300, 310) for label in WORDS]
    clf = make_classifier(
        Labelling(), student, routes=("label",), max_cycles=1, keep_all=True, random_state=0
    ).fit(*hard, X_unlabeled=pool)
    weights = {text.weight for text in clf.synthetic_}
    assert len(weights) > 10
    before = clf.predict_proba(pool)
    np.testing.assert_array_equal(clf.refit().predict_proba(pool), before)


def test_weights_of_the_labelled_texts_are_kept(data):
    student = make_pipeline(TfidfVectorizer(), Weighed())
    weights = np.linspace(0.5, 1.5, 60)
    clf = make_classifier(Sloppy(), student, max_cycles=0, random_state=0)
    clf.fit(*data, sample_weight=weights).refit()
    np.testing.assert_array_equal(clf.student_[-1].weights_, weights)


def test_the_teacher_is_not_asked(student, data):
    clf = fit(student, data).set_params(teacher=None)
    usage = clf.usage_
    assert clf.refit(lambda text: text.label == "pin").usage_ == usage


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([True], r"must be \d+ values of bool.*shape \(1,\)"),
        (lambda n: np.ones(n), "type float64"),
        (lambda n: np.ones((n, 1), dtype=bool), r"shape \(\d+, 1\)"),
        (lambda n: np.arange(n), "type int64"),
        ("accepted", r"shape \(\)"),
        (lambda n: np.ones(n, dtype=bool), r"'x y' with the label '\?', which cannot be learnt"),
    ],
)
def test_masks_that_are_none(student, data, mask, message):
    clf = fit(student, data)
    trained = clf.student_
    with pytest.raises(InvalidInputError, match=message):
        clf.refit(mask(len(clf.synthetic_)) if callable(mask) else mask)
    assert clf.student_ is trained


def test_before_fit(student):
    with pytest.raises(NotFittedError):
        make_classifier(Sloppy(), student).refit()


def test_after_pickling_and_after_load(student, data, tmp_path):
    clf = fit(student, data, teacher=WordTeacher())
    copied = pickle.loads(pickle.dumps(clf))
    by_copy = copied.refit(lambda text: text.cycle == 1).predict_proba(data[0])
    np.testing.assert_array_equal(
        by_copy, clf.refit(lambda text: text.cycle == 1).predict_proba(data[0])
    )
    clf.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    assert loaded.refit_mask_.tolist() == clf.refit_mask_.tolist()
    with pytest.raises(
        InvalidInputError,
        match="labelled texts, which a saved classifier does not hold: call it before `save`",
    ):
        loaded.refit()


def test_fit_forgets_the_mask(student, data):
    clf = fit(student, data, max_cycles=0).refit()
    assert clf.refit_mask_ is not None
    assert clf.fit(*data).refit_mask_ is None


def test_max_cycles_0(student, data):
    clf = fit(student, data, max_cycles=0).refit([])
    assert clf.refit_mask_.shape == (0,)


def test_without_labelled_texts_something_must_be_left(student):
    clf = PGKDClassifier(student=student, class_names=["card", "pin", "rate"]).fit()
    trained = clf.student_
    with pytest.raises(InvalidInputError, match="`mask` must choose a text at least"):
        clf.refit(lambda text: False)
    assert clf.student_ is trained
    clf.refit(lambda text: text.label != "rate")
    assert clf.predict(["card", "pin"]).tolist() == ["card", "pin"]
    assert clf.predict_proba(["rate"])[0, 2] == 0
