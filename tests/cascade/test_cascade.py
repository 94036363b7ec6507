import json
import pickle
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from annotators import Labelling, read_label
from conftest import WORDS
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks as checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from pgkd import CascadeClassifier
from pgkd.exceptions import AnnotatorError, InvalidInputError, TeacherError
from pgkd.records import Completion, Generation, Usage
from pgkd.testing import PoolTeacher

LABELS = list(WORDS)


class Told(ClassifierMixin, BaseEstimator):
    """Says of the text "pin 0.7 ..." that it is of "pin" with 0.7."""

    def __init__(self, classes=("card", "pin", "rate")):
        self.classes = classes

    @property
    def classes_(self):
        return np.array(self.classes)

    def fit(self, X, y):
        raise AssertionError("a fitted student is not trained")

    def predict_proba(self, X):
        probabilities = []
        for text in X:
            said, confidence = text.split()[:2]
            rest = (1 - float(confidence)) / (len(self.classes) - 1)
            probabilities.append([float(confidence) if c == said else rest for c in self.classes])
        return np.array(probabilities)


def write(said, truth, confidence, i):
    return f"{said} {confidence:.3f} {truth}{i}"


def make_texts(n=60, is_wrong=lambda i: i % 2):
    """Texts said to be of each class, `n` in all; the student is wrong about the unsure ones."""
    rng = np.random.default_rng(0)
    texts = []
    for i in range(n):
        said = LABELS[i % 3]
        sure = i >= n // 2
        truth = said if sure or not is_wrong(i) else LABELS[(i + 1) % 3]
        texts.append(write(said, truth, rng.uniform(0.9, 1) if sure else rng.uniform(0.4, 0.8), i))
    return texts, [read_label(text) for text in texts]


def fit(teacher, data=None, **params):
    defaults = {"max_escalated": 0.5, "random_state": 0}
    return CascadeClassifier(Told(), teacher, **{**defaults, **params}).fit(
        *(data or make_texts(120))
    )


def say_the_same(text, shortlist):
    return text.split()[0]


def test_a_teacher_that_knows():
    teacher = Labelling()
    X, y = make_texts(120)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cascade = fit(teacher, (X, y))
    assert sorted(teacher.asked()) == sorted(X[:60])  # the less confident half, once each
    assert cascade.score(X, y) > 0.95
    escalated = cascade.escalates(X)
    assert not escalated[60:].any()
    assert escalated.mean() > 0.4
    assert ((cascade.thresholds_ > 0.7) & (cascade.thresholds_ <= 0.8)).all()
    report = cascade.report()
    assert report.n_asked == report.n_answered == 60
    assert report.student_accuracy.value == 0.75
    assert report.student_accuracy.low < 0.75 < report.student_accuracy.high
    assert report.accuracy.value == pytest.approx(0.75 + report.gain.value)
    assert 0.15 < report.gain.low < report.gain.value <= 0.25
    assert report.share_escalated.value == escalated.mean()
    # 0.001 US dollars a request of five texts.
    assert report.cost_per_1000.value == pytest.approx(1000 * escalated.mean() * 0.001 / 5)
    assert report.cost_per_1000.low < report.cost_per_1000.value < report.cost_per_1000.high
    assert f"| share escalated | {report.share_escalated} |" in str(report)
    assert report._repr_markdown_() == str(report)
    assert cascade.usage_.n_requests == 12 + np.ceil(escalated.sum() / 5)  # with `score`
    assert report.usage.n_requests == 12


def test_a_teacher_better_on_one_class_only_is_used_only_there():
    def label(text, shortlist):
        said = text.split()[0]
        return read_label(text) if said == "pin" else next(c for c in shortlist if c != said)

    teacher = Labelling(label)
    # What the student calls card or rate is right, and the teacher wrong about it.
    X, y = make_texts(120, is_wrong=lambda i: LABELS[i % 3] == "pin")
    cascade = fit(teacher, (X, y))
    assert cascade.classes_.tolist() == ["card", "pin", "rate"]
    assert (cascade.thresholds_ > 0).tolist() == [False, True, False]
    assert [rule.classes for rule in cascade.report().rules] == [("pin",), ("card", "rate")]
    teacher.annotations.clear()
    assert (cascade.predict(X) == y).all()
    assert {text.split()[0] for text in teacher.asked()} == {"pin"}


@pytest.mark.parametrize("label", [say_the_same, lambda t, s: "card", lambda t, s: "none"])
def test_a_teacher_no_better_is_never_asked_again(label):
    teacher = Labelling(label)
    X, y = make_texts(120, is_wrong=lambda i: i % 5 == 0)
    with pytest.warns(UserWarning, match="nowhere measurably better .* nothing will be escalated"):
        cascade = fit(teacher, (X, y))
    teacher.annotations.clear()
    np.testing.assert_array_equal(cascade.predict_proba(X), Told().predict_proba(X))
    assert teacher.annotations == []
    assert not cascade.thresholds_.any()
    assert not cascade.escalates(X).any()
    report = cascade.report()
    assert report.accuracy == report.student_accuracy
    assert report.gain == report.share_escalated[:1] * 3 == (0, 0, 0)
    assert report.cost_per_1000.value == 0
    assert str(report).startswith("Nothing is escalated")


def test_random_labels_are_rarely_escalated_to():
    """Two classes, a student that guesses as well as the teacher: the tests' hardest case."""
    rng = np.random.default_rng(0)
    n_sets, n_escalating = 25, 0
    for _ in range(n_sets):
        truth = rng.choice(["a", "b"], 40)
        said = rng.choice(["a", "b"], 40)
        texts = [write(*pair, rng.uniform(0.5, 0.9), i) for i, pair in enumerate(zip(said, truth))]
        teacher = Labelling(lambda text, shortlist: str(rng.choice(shortlist)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cascade = CascadeClassifier(
                Told(("a", "b")), teacher, confidence=0.8, max_escalated=1.0, random_state=0
            ).fit(texts, truth)
        n_escalating += cascade.thresholds_.any()
    assert n_escalating <= 0.2 * n_sets


def test_probabilities():
    X, y = make_texts(120)
    cascade = fit(Labelling(), (X, y))
    probabilities = cascade.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    escalated = cascade.escalates(X)
    np.testing.assert_array_equal(probabilities[~escalated], Told().predict_proba(X)[~escalated])
    # Laplace's rule: all of them were right.
    n = escalated.sum()
    assert cascade.teacher_accuracy_ == (n + 1) / (n + 2)
    assert probabilities[escalated].max(axis=1) == pytest.approx(cascade.teacher_accuracy_)
    # The two other classes share the rest as the student has it.
    i = np.flatnonzero(escalated & (np.array(y) != [text.split()[0] for text in X]))[0]
    told = Told().predict_proba([X[i]])[0]
    given = np.flatnonzero(cascade.classes_ == y[i])[0]
    others = [c for c in range(3) if c != given]
    left = 1 - cascade.teacher_accuracy_
    assert probabilities[i, others] == pytest.approx(left * told[others] / told[others].sum())


def test_a_teacher_that_is_often_wrong_still_has_its_label():
    # The student is wrong about all of them, the teacher right about some.
    X, y = make_texts(120, is_wrong=lambda i: True)
    teacher = Labelling(lambda t, s: read_label(t) if int(t[-1]) < 4 else t.split()[0])
    cascade = fit(teacher, (X, y))
    assert 0.3 < cascade.teacher_accuracy_ < 0.5
    probabilities = cascade.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    rows = [i for i in np.flatnonzero(cascade.escalates(X)) if int(X[i][-1]) < 4]
    assert rows
    assert cascade.predict([X[i] for i in rows]).tolist() == [y[i] for i in rows]


class Down(Labelling):
    """Serves requests until it is down."""

    error = None

    def annotate(self, requests):
        if self.error is not None:
            raise self.error
        yield from super().annotate(requests)


@pytest.mark.parametrize("error", [TeacherError("no connection"), OSError("no connection")])
def test_teacher_down(error):
    X, y = make_texts(120)
    teacher = Down()
    cascade = fit(teacher, (X, y))
    teacher.error = error
    n = cascade.escalates(X).sum()
    with pytest.warns(UserWarning, match=f"not answer about {n} of {n} .*: .*no connection"):
        predicted = cascade.predict(X)
    assert predicted.tolist() == [text.split()[0] for text in X]
    teacher.error = None
    assert cascade.score(X, y) > 0.95
    teacher.error = error
    with pytest.raises(TeacherError, match="no connection"):
        fit(teacher, (X, y))


@pytest.mark.filterwarnings("ignore:.* requests failed")  # and what that means
def test_requests_that_fail_one_by_one():
    """A teacher that serves none of the first requests is not asked about the others."""

    class Failing(Labelling):
        n_failed = None

        def annotate(self, requests):
            for request, generation in zip(requests, super().annotate(requests)):
                if self.n_failed is None or self.n_failed >= self.limit:
                    yield generation
                else:
                    self.n_failed += 1
                    yield Generation(request, usage=Usage(1), error="HTTP 503")

    X, y = make_texts(120)
    teacher = Failing()
    cascade = fit(teacher, (X, y), texts_per_request=1)
    n = cascade.escalates(X).sum()
    teacher.n_failed, teacher.limit = 0, 10
    with pytest.warns(UserWarning, match=f"did not answer about 10 of {n} escalated"):
        assert (cascade.predict(X) == y).sum() > 100
    teacher.n_failed, teacher.limit = 0, 1000
    with pytest.warns(UserWarning, match=f"did not answer about {n} of {n} .* HTTP 503"):
        cascade.predict(X)
    assert teacher.n_failed == 16


@pytest.mark.filterwarnings("ignore:.* requests failed")  # and what that means
def test_a_teacher_that_goes_down_part_way_is_left_alone(monkeypatch):
    class GoesDown(Labelling):
        n_asked, limit = 0, None

        def annotate(self, requests):
            for request, generation in zip(requests, super().annotate(requests)):
                self.n_asked += 1
                if self.limit is None or self.n_asked <= self.limit:
                    yield generation
                else:
                    yield Generation(request, usage=Usage(1), error="HTTP 503")

    X, y = make_texts(120)
    teacher = GoesDown()
    cascade = fit(teacher, (X, y), texts_per_request=1)
    teacher.n_asked, teacher.limit = 0, 3
    with pytest.warns(UserWarning, match="did not answer"):
        cascade.predict(X)
    assert teacher.n_asked == 3 + 16
    with pytest.warns(UserWarning, match="left alone for another"):
        cascade.predict(X)
    assert teacher.n_asked == 3 + 16
    assert cascade._escalator.__getstate__()["_down_until"] == 0.0  # another process's clock
    teacher.limit = None
    monkeypatch.setattr("pgkd.cascade.escalation.time.monotonic", lambda: 1e12)
    assert cascade.score(X, y) > 0.95


def test_the_student_answers_where_a_disk_is_full(monkeypatch):
    X, y = make_texts(120)
    cascade = fit(Labelling(), (X, y))

    def fail(**_):
        raise OSError("no space left")

    monkeypatch.setattr("pgkd.cascade.escalation.TemporaryDirectory", fail)
    with pytest.warns(UserWarning, match="no space left"):
        assert cascade.predict(X).tolist() == [text.split()[0] for text in X]


def test_a_label_is_never_invented():
    X, y = make_texts(120)
    teacher = Labelling()
    cascade = fit(teacher, (X, y))
    teacher.label = lambda text, shortlist: "none of these"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that is an answer
        assert cascade.predict(X).tolist() == [text.split()[0] for text in X]


@pytest.mark.filterwarnings("ignore:.* requests failed")  # and what that means
def test_texts_of_requests_that_fail_in_fit():
    class Picky(Labelling):
        def annotate(self, requests):
            for generation in super().annotate(requests):
                if any("card" in text for text in generation.request.texts):
                    generation = Generation(generation.request, error="refused", usage=Usage(1))
                yield generation

    with pytest.warns(UserWarning, match="answered about 2. of the 60 texts that it was asked"):
        cascade = fit(Picky())
    report = cascade.report()
    assert report.n_answered < report.n_asked == 60
    assert sum(rule.n_won for rule in report.rules) <= report.n_answered


def test_each_text_is_asked_about_once():
    teacher = Labelling()
    X, y = make_texts(120)
    cascade = fit(teacher, (X + X[:10], y + y[:10]))
    assert len(set(teacher.asked())) == len(teacher.asked())
    teacher.annotations.clear()
    assert cascade.predict([X[1]] * 7).tolist() == [y[1]] * 7
    assert teacher.asked() == [X[1]]


def test_requests():
    teacher = Labelling()
    X, y = make_texts(120)
    descriptions = {label: f"about a {label}" for label in WORDS}
    cascade = fit(
        teacher,
        (X, y),
        n_candidates=2,
        texts_per_request=3,
        task_description="Banking.",
        class_descriptions=descriptions,
    )
    cascade.predict(X)
    for request in teacher.annotations:
        assert len(request.texts) <= 3
        assert {len(shortlist) for shortlist in request.shortlists} == {2}
        assert request.task_description == "Banking."
        assert request.class_descriptions == descriptions
        shown = {example.text for example in request.examples}
        assert shown
        assert shown <= set(X) - set(request.texts)


# Money


class Priced:
    """The answers of an LLM that knows, and counts its calls."""

    n_calls = 0

    def __call__(self, messages):
        type(self).n_calls += 1
        lines = [line for line in messages[-1]["content"].split("\n") if line.startswith("Text ")]
        answer = {line.split(":")[0][5:]: read_label(line.rstrip('"')) for line in lines}
        return Completion(json.dumps(answer), Usage(1, 100, 0, cost=None))


@pytest.fixture
def priced():
    """A teacher that takes 0.0001 US dollars a request, for which more is reserved."""
    from pgkd.teachers import FunctionTeacher

    Priced.n_calls = 0
    return FunctionTeacher(Priced(), price=(1.0, 0.0))


def test_cost_of_an_llm(priced):
    X, y = make_texts(120)
    cascade = fit(priced, (X, y))
    assert Priced.n_calls == cascade.usage_.n_requests == 12
    assert cascade.usage_.cost == pytest.approx(0.0012)
    share = cascade.report().share_escalated.value
    assert cascade.report().cost_per_1000.value == pytest.approx(share * 0.02)
    assert cascade.score(X, y) > 0.95


def test_cost_of_requests_that_are_split():
    """What an annotator took before it failed at several texts at once is a part of the cost."""

    class Single(Labelling):
        def annotate(self, requests):
            for request in requests:
                if request.n_texts > 1:
                    error = AnnotatorError("one at a time")
                    error.usage = Usage(1, 50, 0, cost=0.01)
                    raise error
                yield from super().annotate([request])

    cascade = fit(Single(), make_texts(120))
    assert cascade.usage_.cost == pytest.approx(60 * 0.001 + 13 * 0.01)
    report = cascade.report()
    expected = 1000 * cascade.usage_.cost / report.n_asked * report.share_escalated.value
    assert report.cost_per_1000.value == pytest.approx(expected)


def test_an_unknown_price():
    report = fit(Labelling(), max_escalated=0.5).report()
    assert report.cost_per_1000 is not None

    class Free(Labelling):
        def annotate(self, requests):
            for generation in super().annotate(requests):
                yield Generation(generation.request, generation.examples, usage=Usage(1, cost=None))

    report = fit(Free()).report()
    assert report.cost_per_1000 is None
    assert "| US dollars for 1,000 texts | unknown |" in str(report)


@pytest.mark.parametrize("has_run_dir", [False, True])
def test_the_budget_is_held_by_fit_and_predict_together(priced, has_run_dir, tmp_path):
    X, y = make_texts(120)
    run_dir = tmp_path if has_run_dir else None
    cascade = fit(priced, (X, y), max_cost=0.002, run_dir=run_dir)
    assert cascade.usage_.cost == pytest.approx(0.0012)
    with pytest.warns(UserWarning, match="did not answer about") as caught:
        predicted = cascade.predict(X[10:60])
    assert len(caught) == 1
    assert 0.0012 < cascade.usage_.cost < 0.002
    told = [text.split()[0] for text in X[10:60]]
    assert all(p in pair for p, *pair in zip(predicted, y[10:60], told))
    assert (predicted != told).any()
    n_calls = Priced.n_calls
    with pytest.warns(UserWarning, match=r"not answer about 5 of 5 .* budget \(max_cost=0.00"):
        assert cascade.predict(X[:5]).tolist() == [text.split()[0] for text in X[:5]]
    assert Priced.n_calls == n_calls


def test_threads_share_the_budget():
    from pgkd.teachers import FunctionTeacher

    class Slow(Priced):
        def __call__(self, messages):
            time.sleep(0.005)  # so that others begin before this one is paid for
            return super().__call__(messages)

    X, y = make_texts(120)
    Priced.n_calls = 0
    cascade = fit(FunctionTeacher(Slow(), price=(1.0, 0.0)), (X, y), max_cost=0.003)
    texts = [[text] for text, is_asked in zip(X, cascade.escalates(X)) if is_asked]
    assert len(texts) > 30  # for which the budget is too small
    with ThreadPoolExecutor(8) as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the budget, which is spent
        list(threads.map(cascade.predict, texts))
    assert 0.0025 < cascade.usage_.cost <= 0.003


@pytest.mark.parametrize("has_run_dir", [False, True])
def test_a_budget_holds_where_the_cost_is_not_known(has_run_dir, tmp_path):
    """Of a function that returns a str: what is reserved for an answer stays spent."""
    from pgkd.teachers import FunctionTeacher

    X, y = make_texts(120)
    calls, answer = [], Priced()

    def tell(messages):
        calls.append(1)
        return answer(messages).text

    params = {"max_cost": 0.2, "run_dir": tmp_path if has_run_dir else None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cascade = fit(FunctionTeacher(tell, price=(1.0, 2.0)), (X, y), **params)
        cascade.predict(X[10:60])
    assert sum("how many tokens" in str(w.message) for w in caught) == 1
    assert cascade.report().cost_per_1000 is None
    assert cascade.usage_.cost is None
    assert "| US dollars for 1,000 texts | unknown |" in str(cascade.report())
    assert len(calls) > 12  # predictions are bought as well
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(9):
            cascade.predict([f"{text} again {len(calls)}" for text in X])
    assert len(calls) <= 0.2 / (4096 * 2e-6)


def test_a_budget_too_small_for_fit(priced):
    with pytest.warns(UserWarning, match="answered about [12]. of the 60 texts"):
        fit(priced, max_cost=0.0006)
    assert Priced.n_calls < 6
    teacher = Labelling()
    with pytest.warns(UserWarning, match="answered about 10 of the 60 texts"):
        cascade = fit(teacher, max_cost=0.0015)  # known after the answer
    assert cascade.usage_.n_requests == 2


def test_no_answer_is_paid_for_twice(priced, tmp_path):
    X, y = make_texts(120)
    first = fit(priced, (X, y), run_dir=tmp_path).predict_proba(X)
    n_calls = Priced.n_calls
    again = fit(priced, (X, y), run_dir=tmp_path)
    np.testing.assert_array_equal(again.predict_proba(X), first)
    assert Priced.n_calls == n_calls
    assert again.usage_.cost == 0
    assert again.report().cost_per_1000 is None  # what a cache has says nothing about the price


# What cannot work


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"student": None}, "`student` parameter of CascadeClassifier must be given"),
        ({"teacher": None}, "`teacher` parameter of CascadeClassifier must be given"),
        ({"teacher": PoolTeacher}, "`teacher` parameter of CascadeClassifier must be an instance"),
        (
            {"teacher": BaseEstimator()},
            "`teacher` .* CascadeClassifier must be an object with a method `annot",
        ),
        (
            {"student": BaseEstimator()},
            "`student` .* CascadeClassifier must be an object with a method `fit`",
        ),
        ({"confidence": 1.0}, "'confidence' parameter of CascadeClassifier"),
        ({"max_escalated": 0.0}, "'max_escalated' parameter of CascadeClassifier"),
        ({"n_candidates": 1}, "'n_candidates' parameter of CascadeClassifier"),
        ({"texts_per_request": 0}, "'texts_per_request' parameter of CascadeClassifier"),
        ({"class_descriptions": {"pin": "a pin"}}, "CascadeClassifier must describe every class"),
        ({"class_descriptions": dict.fromkeys("abc", "")}, "must describe every class"),
        (
            {"class_descriptions": {**dict.fromkeys(WORDS, "x"), "fee": "a fee"}},
            "must describe classes of the student. Got 'fee'",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_spent(params, match):
    teacher = Labelling()
    cascade = CascadeClassifier(Told(), teacher).set_params(**params)
    with pytest.raises(ValueError, match=match):
        cascade.fit(*make_texts())
    assert teacher.annotations == []
    with pytest.raises(NotFittedError):
        cascade.predict(["card 0.5"])


def test_labels_that_the_student_does_not_know():
    teacher = Labelling()
    X, y = make_texts()
    with pytest.raises(InvalidInputError, match="y has 1 label.* does not know, e.g. 'fee'"):
        fit(teacher, (X, ["fee", *y[1:]]))
    with pytest.raises(InvalidInputError, match="does not know, e.g. 1; it knows .'card'"):
        fit(teacher, (X, [1] * len(X)))
    with pytest.raises(InvalidInputError, match="60 texts and 3 labels"):
        fit(teacher, (X, y[:3]))
    assert teacher.annotations == []


def test_texts_of_equal_confidence_and_a_single_text():
    teacher = Labelling()
    X = [f"card 0.900 pin{i}" for i in range(20)]
    for texts in (X, X[:1]):
        with pytest.warns(UserWarning, match="nowhere measurably better .* of 0 texts"):
            cascade = fit(teacher, (texts, ["pin"] * len(texts)))
        assert cascade.predict(texts).tolist() == ["card"] * len(texts)
    assert teacher.annotations == []
    assert (fit(teacher, (X, ["pin"] * 20), max_escalated=1).predict(X) == "pin").all()


def test_no_text():
    cascade = fit(Labelling())
    assert cascade.predict([]).tolist() == []
    assert cascade.escalates([]).tolist() == []
    assert cascade.predict_proba([]).shape == (0, 3)


# As a part of scikit-learn


def test_an_unfitted_student_is_trained(student):
    X = [f"w{i} v{i} {label}{i}" for i in range(20) for label in WORDS]  # they tell it nothing
    y = LABELS * 20
    cascade = CascadeClassifier(student, PoolTeacher(X, y), max_escalated=1, random_state=0)
    cascade.fit(X, y)
    assert not hasattr(student, "classes_")
    assert cascade.student_.predict(X).tolist() == y
    assert cascade.report().student_accuracy.high < 0.6  # out of fold
    assert cascade.report().gain.low > 0.5


@pytest.mark.parametrize(
    "encode",
    [
        lambda y: np.array(y, dtype=object),
        lambda y: pd.Series(y),
        lambda y: [LABELS.index(label) for label in y],
        lambda y: [label == "pin" for label in y],
    ],
    ids=["object", "Series", "int", "bool"],
)
def test_types_of_labels(data, encode):
    X, y = data[0], encode(data[1])
    cascade = CascadeClassifier(DummyClassifier(), PoolTeacher(X, y), max_escalated=1)
    predicted = cascade.fit(pd.Series(X), y).predict(np.array(X))
    assert predicted.tolist() == list(y)
    [rule] = cascade.report().rules[:1]
    assert type(rule.classes[0]) is type(next(iter(y)))


def test_clone_and_frozen_students(data, student):
    cascade = CascadeClassifier(student.fit(*data), PoolTeacher(*data), max_escalated=0.2)
    assert not hasattr(clone(cascade).student, "classes_")
    frozen = clone(cascade.set_params(student=FrozenEstimator(student)))
    assert frozen.student.estimator is student
    with pytest.warns(UserWarning, match="nowhere"):
        assert frozen.fit(*data).student_ is frozen.student


def test_same_seed_same_requests():
    first, second = Labelling(), Labelling()
    for teacher in (first, second):
        fit(teacher).predict(make_texts(120)[0])
    assert first.annotations == second.annotations


def test_pickle():
    X, y = make_texts(120)
    cascade = fit(PoolTeacher(X, y), (X, y))
    assert cascade.escalates(X).any()
    restored = pickle.loads(pickle.dumps(cascade))
    np.testing.assert_array_equal(restored.predict_proba(X), cascade.predict_proba(X))
    assert restored.report() == cascade.report()
    assert restored.usage_ == cascade.usage_


def test_grid_search(data):
    X, y = data
    search = GridSearchCV(
        CascadeClassifier(DummyClassifier(), PoolTeacher(X, y), random_state=0),
        {"max_escalated": [0.1, 1.0], "student__strategy": ["prior"]},
        cv=2,
        error_score="raise",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equally sure of all texts, it asks about all or none
        assert search.fit(X, y).best_params_["max_escalated"] == 1.0
        assert cross_val_score(search.best_estimator_, X, y, cv=2).min() > 0.9


@pytest.mark.parametrize(
    "check",
    [
        checks.check_estimator_cloneable,
        checks.check_no_attributes_set_in_init,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_estimator_repr,
        checks.check_parameters_default_constructible,
        checks.check_do_not_raise_errors_in_init_or_set_params,
        checks.check_valid_tag_types,
        checks.check_mixin_order,
        checks.check_estimator_tags_renamed,
    ],
    ids=lambda check: check.__name__,
)
def test_data_free(check):
    check("CascadeClassifier", CascadeClassifier())


def test_tags():
    tags = CascadeClassifier().__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array


def write_rows(X):
    return [json.dumps(row) for row in np.asarray(X, dtype=float).tolist()]


def read_rows(texts):
    return np.array([json.loads(text) for text in texts])


class Silent(BaseEstimator):
    """Gives no text a label."""

    def annotate(self, requests):
        return [Generation(request) for request in requests]


class NumericCascade(CascadeClassifier):
    """Takes rows of numbers, as check_estimator gives them, and hands them on as texts."""

    def __init__(self, random_state=0):
        student = make_pipeline(FunctionTransformer(read_rows), LogisticRegression())
        super().__init__(student, Silent(), random_state=random_state)

    def fit(self, X, y):
        X, y = validate_data(self, X, y)
        return super().fit(write_rows(X), y)

    def predict_proba(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return super().predict_proba(write_rows(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.input_tags.two_d_array = True
        return tags


@pytest.mark.filterwarnings("ignore:The teacher is nowhere")
@parametrize_with_checks([NumericCascade()])
def test_check_estimator(estimator, check):
    check(estimator)
