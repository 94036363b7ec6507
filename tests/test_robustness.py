"""What a review found: leaks by copies, paid work lost, odd input. Each test failed once."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import WORDS, WordTeacher, write_hard
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import Evidence, PGKDClassifier
from pgkd.exceptions import InvalidInputError, TeacherError
from pgkd.inputs.text import fold_text
from pgkd.records import Example, Generation, Usage
from pgkd.samplers import PerformanceGuidedSampler, UncertaintySampler, UnguidedSampler
from pgkd.teachers import FunctionTeacher

STUDENT = make_pipeline(TfidfVectorizer(), LogisticRegression())
EVIDENCE = set(Evidence().get_params())


def classifier(teacher, student=STUDENT, **params):
    params = {"max_cycles": 2, "samples_per_cycle": 12, "random_state": 0} | params
    evidence = {"probe_size": 0} | {k: params.pop(k) for k in EVIDENCE & params.keys()}
    params = {"evidence": Evidence(**evidence), "routes": ("write",)} | params
    return PGKDClassifier(teacher, student, **params)


def shown(teacher):
    return {
        fold_text(item.text)
        for request in teacher.requests
        for item in (*request.examples, *request.hard_negatives, *request.correct, *request.wrong)
    }


class Copied(WordTeacher):
    """One that `clone` leaves to the test."""

    def __deepcopy__(self, memo):
        return self


# Leaks


def test_copies_of_gate_texts_are_not_shown(data):
    X, y = data
    teacher = Copied()
    gates = []

    class Keep:
        def __call__(self, estimator, texts, labels):
            gates.append(set(map(fold_text, texts)))
            return 0.0

    clf = classifier(teacher, scoring=Keep(), validation_fraction=0.2)
    clf.fit(X + [text.upper() + " !" for text in X], y + y)
    assert len(gates[0]) >= 9
    assert teacher.requests
    assert not gates[0] & shown(teacher)


def test_gate_texts_that_are_in_x_as_well_are_left_out(data):
    X, y = data
    teacher = Copied()
    with pytest.warns(UserWarning, match="12 texts of X are in X_val as well"):
        classifier(teacher).fit(X, y, X_val=X[:12], y_val=y[:12])
    assert not set(map(fold_text, X[:12])) & shown(teacher)
    with (
        pytest.warns(UserWarning, match="60 texts of X are in X_val as well"),
        pytest.raises(InvalidInputError, match="only that are in X_val as well"),
    ):
        classifier(teacher).fit(X, y, X_val=X, y_val=y)


def test_copies_of_what_was_shown_are_no_new_texts(data):
    class Parrot(Copied):
        def generate(self, requests):
            for request in requests:
                examples = tuple(Example(p.text, p.label) for p in request.correct + request.wrong)
                yield Generation(request, examples, usage=Usage(1, cost=0.0))

    sampler = PerformanceGuidedSampler(n_samples=5)
    clf = classifier(Parrot(), sampler=sampler).fit(*data)
    assert clf.synthetic_
    assert {t.reason for t in clf.synthetic_} == {"duplicate"}


@pytest.mark.parametrize(
    "copy_", ["我的卡在哪里。", "“我的卡在哪里”", "（我的卡在哪里）", "  我的卡在哪里？！"]
)
def test_folding_knows_the_punctuation_of_any_script(copy_):
    assert fold_text(copy_) == "我的卡在哪里"


def test_folding_knows_unicode_forms():
    assert fold_text("Où est ma ｃａｒｔｅ") == fold_text("Ou\u0300 est ma carte")


# Nothing that was paid for is lost


def test_a_broken_emoji_loses_its_text_only(data, tmp_path):
    X, y = data
    answer = '{"card": ["lost card \\ud83d"], "rate": ["what euro rate"], "pin": ["which pin"]}'
    clf = classifier(FunctionTeacher(lambda messages: answer), max_cycles=1, run_dir=tmp_path)
    clf.set_params(sampler=UnguidedSampler(classes_per_request=3)).fit(X, y)
    assert clf.history_[1].rejected["malformed"] > 0
    assert "what euro rate" in {t.text for t in clf.synthetic_}
    with pytest.raises(InvalidInputError, match="which no file can hold"):
        clf.fit(["a \ud83d", *X[1:]], y)


class FailsAt(ClassifierMixin, BaseEstimator):
    """A student whose training number `n` fails."""

    count = 0

    def __init__(self, n=10**9, error=MemoryError):
        self.n = n
        self.error = error

    def fit(self, X, y):
        FailsAt.count += 1
        if FailsAt.count == self.n:
            raise self.error("at last")
        self.model_ = STUDENT.fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_failing_student_keeps_what_helped(hard, error, monkeypatch):
    monkeypatch.setattr(FailsAt, "count", 0)
    teacher = WordTeacher(write=write_hard)
    whole = classifier(teacher, FailsAt(), keep_all=True).fit(*hard)
    total = FailsAt.count
    assert any(text.verdict == "accepted" for text in whole.synthetic_)
    FailsAt.count = 0
    with pytest.warns(UserWarning, match="has learnt the labelled texts alone"):
        clf = classifier(teacher, FailsAt(total, error), keep_all=True).fit(*hard)
    assert clf.score(*hard) > 0.8
    FailsAt.count = 0
    with pytest.warns(UserWarning, match="at last|Interrupted"):
        clf = classifier(teacher, FailsAt(total - 2, error), keep_all=True).fit(*hard)
    assert clf.stop_reason_ == ("error" if error is MemoryError else "interrupted")
    rows = [(t.cycle, t.text, t.label) for t in clf.synthetic_]
    assert len(rows) == len(set(rows)) > 0
    FailsAt.count = 0
    with pytest.raises(error):  # nothing was bought yet
        classifier(teacher, FailsAt(1, error)).fit(*hard)


def test_a_callback_that_raises_does_no_harm(data):
    class Broken:
        def on_event(self, event):
            if event.kind == "generation":
                raise ZeroDivisionError(event.kind)

    told = r"raised ZeroDivisionError\('generation'\): it is told no more"
    with pytest.warns(UserWarning, match=told) as caught:
        clf = classifier(WordTeacher(), callbacks=[Broken()]).fit(*data)
    assert sum("ZeroDivisionError" in str(w.message) for w in caught) == 1
    assert clf.n_cycles_ == 2
    assert clf.history_[1].n_generated == 12


@pytest.mark.parametrize(
    "generation",
    [
        None,
        {},
        "text",
        Generation(None),
        lambda request: Generation(request, (Example(None, "card"),)),
        lambda request: Generation(request, (("a text", "card"),)),
        lambda request: Generation(request, (Example("a text", ["card"]),)),
    ],
)
def test_what_a_teacher_must_not_yield(data, generation):
    class Odd:
        def generate(self, requests):
            yield generation(requests[0]) if callable(generation) else generation

    with pytest.raises(TeacherError, match="Odd yielded .* see pgkd.testing.check_teacher"):
        classifier(Odd()).fit(*data)


def test_failed_requests_are_counted(data):
    class Moody(WordTeacher):
        def generate(self, requests):
            for i, generation in enumerate(super().generate(requests)):
                failed = Generation(generation.request, usage=Usage(1), error="too long")
                yield failed if i % 2 else generation

    sampler = UnguidedSampler(texts_per_request=2)
    with pytest.warns(UserWarning, match="of 6 requests failed, the first one because: too long"):
        clf = classifier(Moody(), sampler=sampler, max_cycles=1).fit(*data)
    assert clf.history_[1].rejected["request failed"] == 3


# Only what can be told from luck is learnt


def test_a_teacher_that_guesses_does_no_harm(hard, hard_test):
    class Guesses(WordTeacher):
        """A third of the texts have the right label."""

        def __init__(self, seed):
            super().__init__(write=write_hard)
            self.seed = seed

        def generate(self, requests):
            rng = np.random.default_rng([self.seed, len(self.requests)])
            for g in super().generate(requests):
                labels = rng.choice(list(WORDS), size=len(g.examples))
                examples = tuple(Example(e.text, str(n)) for e, n in zip(g.examples, labels))
                yield Generation(g.request, examples, usage=g.usage)

    baseline = clone(STUDENT).fit(*hard).score(*hard_test)
    losses = []
    for seed in range(5):
        params = {"random_state": seed, "samples_per_cycle": 30, "max_cycles": 4}
        losses.append(baseline - classifier(Guesses(seed), **params).fit(*hard).score(*hard_test))
    assert np.mean(losses) < 0.02


# Odd input


def test_a_student_with_classes_in_its_own_order(data):
    class Backwards(FailsAt):
        def fit(self, X, y):
            super().fit(X, y)
            self.classes_ = self.model_.classes_[::-1]
            return self

        def predict_proba(self, X):
            return super().predict_proba(X)[:, ::-1]

    assert classifier(WordTeacher(), Backwards()).fit(*data).score(*data) > 0.9


@pytest.mark.parametrize(
    "sampler",
    [
        PerformanceGuidedSampler(texts_per_request=0),
        PerformanceGuidedSampler(classes_per_request=0),
        UnguidedSampler(texts_per_request=0),
        UnguidedSampler(n_examples=-1),
        UncertaintySampler(strategy="least"),
        UncertaintySampler(n_candidates=0),
    ],
)
def test_samplers_check_their_parameters(data, sampler):
    teacher = Copied()
    with pytest.raises(ValueError, match=f"parameter of {type(sampler).__name__} must be"):
        classifier(teacher, sampler=sampler).fit(*data)
    assert not teacher.requests


def test_sets_have_no_order(data):
    with pytest.raises(InvalidInputError, match="Got set instead"):
        classifier(WordTeacher()).fit(set(data[0]), data[1])


@pytest.mark.parametrize(("dtype", "kind"), [("boolean", bool), ("Int64", int)])
def test_labels_of_pandas_own_types(data, dtype, kind):
    y = pd.Series([label == "card" for label in data[1]], dtype="bool").astype(dtype)
    clf = PGKDClassifier(Copied(), STUDENT, max_cycles=0).fit(data[0], y)
    assert {type(label) for label in clf.predict(data[0]).tolist()} == {kind}


def test_same_seed_same_history(data):
    first, second = (classifier(WordTeacher()).fit(*data) for _ in range(2))
    assert first.history_ == second.history_
    assert first.synthetic_ == second.synthetic_


def test_a_plan_draws_no_random_number(data):
    rng = np.random.RandomState(0)
    clf = classifier(WordTeacher(), random_state=rng)
    before = copy.deepcopy(rng)
    clf.plan(*data)
    assert rng.randint(10**6) == before.randint(10**6)


def test_a_scorer_gets_texts(data):
    lengths = []

    def scorer(estimator, X, y):
        lengths.append([len(text) for text in X])
        return float(np.mean(estimator.predict(X) == y))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(WordTeacher(), scoring=scorer).fit(*data)
    assert min(map(min, lengths)) > 5


def test_run_dir_that_is_a_file(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="`run_dir` parameter .* must be a directory"):
        classifier(WordTeacher(), run_dir=tmp_path / "file").fit(*data)


def test_negative_weights(data):
    with pytest.raises(ValueError, match="[Nn]egative"):
        classifier(WordTeacher()).fit(*data, sample_weight=[-1.0] * len(data[0]))
