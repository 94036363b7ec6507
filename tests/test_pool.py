"""`X_unlabeled`: the teacher labels texts instead of writing them."""

import numpy as np
import pytest
from conftest import WORDS, WordTeacher, write_text
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier, UnlabeledTexts
from pgkd.exceptions import AnnotatorError, InvalidInputError
from pgkd.records import Generation, Usage
from pgkd.samplers import PerformanceGuidedSampler, UncertaintySampler
from pgkd.testing import PoolTeacher

STUDENT = make_pipeline(TfidfVectorizer(), LogisticRegression())
#: Unlike those of `data`: a copy of a labelled text is not asked about.
ROWS = [
    (f"{write_text(label, i)} {i * 7919:x} {i * 104729:x}", label)
    for i in range(100, 140)
    for label in WORDS
]
POOL, TRUTH = [text for text, _ in ROWS], [label for _, label in ROWS]


class Annotating(PoolTeacher):
    asked = ()

    def annotate(self, requests):
        Annotating.asked += tuple(requests)
        yield from super().annotate(requests)


@pytest.fixture
def teacher(monkeypatch):
    monkeypatch.setattr(Annotating, "asked", ())
    return Annotating(POOL, TRUTH)


def classifier(teacher, **params):
    params = {"max_cycles": 3, "samples_per_cycle": 20, "patience": 9, "random_state": 0} | params
    return PGKDClassifier(teacher, STUDENT, **params)


def asked_texts():
    return [text for request in Annotating.asked for text in request.texts]


def test_learns_from_the_pool(teacher, data):
    clf = classifier(teacher).fit(*data, X_unlabeled=POOL)
    texts = asked_texts()
    assert len(texts) == len(set(texts)) == 60
    assert set(texts) <= set(POOL)
    truth = dict(ROWS)
    assert {t.source for t in clf.synthetic_} == {"pool"}
    assert all(t.label == truth[t.text] for t in clf.synthetic_)
    assert clf.history_[-1].gate_score > clf.history_[0].gate_score


def test_then_it_generates(teacher, data):
    clf = classifier(teacher).fit(*data, X_unlabeled=POOL[:30])
    sources = [[t.source for t in clf.synthetic_ if t.cycle == n] for n in (1, 2, 3)]
    assert set(sources[0]) == {"pool"}
    assert set(sources[2]) == {"generated"}


def test_texts_of_the_gate_are_not_asked_about(teacher, data):
    X, y = data
    gate = [text.upper() + "!" for text in X[:12]]
    clf = classifier(teacher, max_cycles=9)
    clf.fit(X[12:], y[12:], X_val=X[:12], y_val=y[:12], X_unlabeled=gate + X[20:30] + POOL[:30] * 2)
    texts = asked_texts()
    assert len(texts) == len(set(texts)) > 15  # near copies of gate texts are left out as well
    assert set(texts) <= set(POOL[:30])


def test_cross_validation_leaves_the_pool_alone(teacher, data):
    X, y = data
    pool = POOL[: len(X)]  # as many as X has, which scikit-learn would cut to the fold
    params = {"X_unlabeled": UnlabeledTexts(pool)}
    clf = classifier(teacher, max_cycles=1, samples_per_cycle=len(X))
    cross_val_score(clf, X, y, cv=2, params=params, error_score="raise")
    # Cut to the fold, each text would be asked about once at most.
    assert len(asked_texts()) > 1.7 * len(X)


def test_a_sampler_that_does_not_use_it(teacher, data):
    with pytest.raises(InvalidInputError, match="does not use it: leave `sampler` out"):
        classifier(teacher, sampler=PerformanceGuidedSampler()).fit(*data, X_unlabeled=POOL)


def test_a_teacher_that_cannot_annotate(data):
    with pytest.raises(InvalidInputError, match="must have a method `annotate`"):
        classifier(WordTeacher()).fit(*data, X_unlabeled=POOL)


def test_bad_pool(teacher, data):
    with pytest.raises(InvalidInputError, match="X_unlabeled must be a list"):
        classifier(teacher).fit(*data, X_unlabeled="a text")
    with pytest.raises(InvalidInputError, match="None at position 1"):
        classifier(teacher).fit(*data, X_unlabeled=UnlabeledTexts(["a", None]))


def test_a_request_that_fails_loses_its_texts_only(data):
    class Failing(Annotating):
        def annotate(self, requests):
            first, *rest = requests
            yield Generation(first, usage=Usage(1), error="refused")
            yield from super().annotate(rest)

    teacher = Failing(POOL, TRUTH)
    clf = classifier(teacher, max_cycles=1).fit(*data, X_unlabeled=np.array(POOL))
    assert len(clf.synthetic_) == 15


def test_texts_that_cannot_be_labelled_are_lost_once_and_alone(data):
    class Picky(Annotating):
        def annotate(self, requests):
            for generation in super().annotate(requests):
                for text in generation.request.texts:
                    if text.startswith("odd"):
                        raise AnnotatorError(f"cannot read {text}")
                yield generation

    odd = [f"odd xx{i}" for i in range(6)]  # of which the student is the least sure
    picky = Picky(odd + POOL, ["card"] * 6 + TRUTH)
    Annotating.asked = ()
    with pytest.warns(UserWarning, match="cannot read odd"):
        clf = classifier(picky, samples_per_cycle=6).fit(*data, X_unlabeled=odd + POOL)
    assert clf.n_cycles_ == 3
    assert any(text.verdict == "accepted" for text in clf.synthetic_)
    alone = [r.texts[0] for r in Annotating.asked if r.n_texts == 1]
    assert 1 <= alone.count("odd xx0") <= 2  # in one cycle only


def test_copies_of_known_texts_are_not_paid_for(teacher, data):
    near = [text + "!" for text in data[0][:5]]
    classifier(teacher, max_cycles=1).fit(*data, X_unlabeled=near + POOL[:30])
    assert set(asked_texts()).isdisjoint(near)


def test_grid_search_over_the_sampler(teacher, data):
    clf = classifier(teacher, sampler=UncertaintySampler(strategy="random"))
    clf.set_params(sampler__strategy="entropy", sampler__generator=PerformanceGuidedSampler())
    assert clf.fit(*data, X_unlabeled=POOL).sampler.strategy == "entropy"


def test_the_student_is_evaluated_only_for_what_is_generated(teacher, data):
    clf = classifier(teacher).fit(*data, X_unlabeled=POOL[:30])
    shown = [cycle.feedback_report is not None for cycle in clf.history_]
    assert shown == [False, False, True, True]  # the pool has texts for one cycle and a half
