"""The public checks pass on what is right, and find what is broken."""

import json
import threading
from dataclasses import replace

import json_repair
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd.exceptions import (
    TeacherAuthenticationError,
    TeacherError,
    TeacherRequestError,
    TeacherUnavailableError,
)
from pgkd.records import AnnotationRequest, Example, Generation, GenerationRequest, Usage
from pgkd.samplers import UnguidedSampler
from pgkd.system.secret import Secret
from pgkd.teachers import OpenAITeacher
from pgkd.testing import (
    Fault,
    FaultServer,
    PoolTeacher,
    ScriptedTeacher,
    check_sampler,
    check_student,
    check_teacher,
    teacher_checks,
)


class Good(BaseEstimator):
    def generate(self, requests):
        for request in requests:
            label = next(iter(request.counts))
            yield Generation(request, (Example("a text", label),))


class Twice(Good):
    def generate(self, requests):
        for generation in super().generate(requests):
            yield generation
            yield generation


class InventsLabels(Good):
    def generate(self, requests):
        for request in requests:
            yield Generation(request, (Example("a text", "other"),))


class InventsRequests(Good):
    def generate(self, requests):
        yield from super().generate(requests)
        if requests:
            yield from super().generate([GenerationRequest("x", {"card": 1})])


class NotText(Good):
    def generate(self, requests):
        for request in requests:
            yield Generation(request, (Example(3, "card"),))


class Silent(Good):
    def generate(self, requests):
        yield from (Generation(request) for request in requests)


class WrongType(Good):
    def generate(self, requests):
        yield from ({"text": "x"} for request in requests)


class NegativeCost(Good):
    def generate(self, requests):
        for generation in super().generate(requests):
            yield Generation(generation.request, generation.examples, usage=Usage(cost=-1))


class KeepsALock(Good):
    def generate(self, requests):
        self.lock = threading.Lock()
        return super().generate(requests)


class ChangesRequests(Good):
    def generate(self, requests):
        for generation in super().generate(requests):
            generation.request.counts["card"] = 9
            yield generation


def test_good_teachers():
    check_teacher(Good())
    check_teacher(PoolTeacher(["a", "b"], ["card", "pin"]))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Twice(), "answered twice"),
        (InventsLabels(), "none of the request's"),
        (InventsRequests(), "request not made"),
        (NotText(), "must be a str"),
        (Silent(), "no request gave a text"),
        (WrongType(), "must yield Generation"),
        (NegativeCost(), "below zero"),
        (KeepsALock(), "cannot be pickled"),
        (ChangesRequests(), "must not change"),
        (ScriptedTeacher(["no json"], repeat=True), "unreadable answer"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_broken_teachers(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_teacher(broken)


class OverHTTP(OpenAITeacher):
    """Right, but for what a test breaks."""

    def __init__(self, base_url, max_retries=5):
        super().__init__("m", base_url=base_url, max_retries=max_retries)


class GivesUp(OverHTTP):
    def __init__(self, base_url):
        super().__init__(base_url, max_retries=0)


class NeverGivesUp(OverHTTP):
    def _error(self, response):
        error = super()._error(response)
        later = TeacherUnavailableError("later", retry_after=0)
        return later if response.status_code == 401 else error


class ReturnsTheRefusedKey(OverHTTP):
    def _error(self, response):
        error = super()._error(response)
        lasts = type(error) in (TeacherError, TeacherAuthenticationError)
        return TeacherRequestError(str(error)) if lasts else error


class ShowsTheKey(OverHTTP):
    def __init__(self, base_url):
        super().__init__(base_url)
        self.api_key = Secret("sk-canary")

    def _error(self, response):
        error = super()._error(response)
        return TeacherError(response.text) if response.status_code == 401 else error


class Impatient(OverHTTP):
    def _error(self, response):
        error = super()._error(response)
        error.retry_after = 0
        return error


class OneEndsAll(OverHTTP):
    def _error(self, response):
        return TeacherError("no") if response.status_code == 400 else super()._error(response)


class StumblesOnGarbage(OverHTTP):
    async def _complete(self, *args):
        try:
            return await super()._complete(*args)
        except TeacherUnavailableError as error:
            raise TeacherError("no JSON") if "is no chat" in str(error) else error from None


class ForgetsFailedTries(OverHTTP):
    def generate(self, requests):
        for generation in super().generate(requests):
            usage = replace(generation.usage, n_requests=1)
            yield replace(generation, usage=usage)


class Completes(OverHTTP):
    """Changes the answers."""

    async def _complete(self, client, refused, messages, schema):
        completion = await super()._complete(client, refused, messages, schema)
        return replace(completion, text=self.change(completion.text, schema))


class LosesWholeTexts(Completes):
    def change(self, text, schema):
        try:
            json.loads(text)
        except ValueError:
            return ""
        return text


class KeepsCutTexts(Completes):
    def change(self, text, schema):
        return json.dumps(json_repair.loads(text))


class GuessesLabels(Completes):
    def change(self, text, schema):
        return text.replace("other than ", "")


class AnswersFromMemory(Completes):
    def change(self, text, schema):
        self.__dict__.setdefault("memory_", {})
        return self.memory_.setdefault(json.dumps(schema), text)


class Sulks(OverHTTP):
    def generate(self, requests):
        for generation in super().generate(requests):
            yield replace(generation, error=None, rejected={})


class CountsBelowZero(OverHTTP):
    def _settle(self, usage, text, expected):  # which makes the best of what a server tells
        return replace(usage, input_tokens=usage.input_tokens or -1)


class MislabelsThePool(OverHTTP):
    def annotate(self, requests):
        for generation in super().annotate(requests):
            examples = tuple(replace(e, label="other") for e in generation.examples)
            yield replace(generation, examples=examples)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (GivesUp, "Fault.rate_limit.*lost its texts of .'card', 'rate'"),
        (NeverGivesUp, r"Fault.error\(401\) is final.*asked 6 times"),
        (ReturnsTheRefusedKey, r"Fault.error\(401\) is final: generate must raise"),
        (ShowsTheKey, "shows the API key"),
        (Impatient, "Fault.rate_limit.'ms', delay=0.2.: asked again after"),
        (OneEndsAll, r"Fault.error\(400\) ended generate"),
        (StumblesOnGarbage, r"Fault.empty_choices\(\) ended generate"),
        (ForgetsFailedTries, "usage has 1 requests, the server got 2"),
        (LosesWholeTexts, "cut off are lost"),
        (KeepsCutTexts, r"Fault.truncated\(\): the text .* not whole"),
        (GuessesLabels, r"Fault.wrong_labels\(\): the text"),
        (AnswersFromMemory, "a text came twice"),
        (Sulks, "says why"),
        (CountsBelowZero, r"Fault.wrong_usage\(-1\): a usage below zero"),
        (MislabelsThePool, "the label 'other' is none of the request's"),
    ],
)
def test_teachers_that_only_faults_show_to_be_broken(broken, message, monkeypatch):
    with FaultServer() as server:
        check_teacher(broken(server.base_url))  # nothing is wrong while all goes well
    quick = (Fault.rate_limit("ms", delay=0.2), Fault.error(500), Fault.wrong_usage())
    monkeypatch.setattr(teacher_checks, "PASSING", quick)
    with pytest.raises(AssertionError, match=message) as caught:
        check_teacher(broken)
    assert "sk-canary" not in str(caught.value)


class Constant(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


class Unnormalised(Constant):
    def predict_proba(self, X):
        return super().predict_proba(X) * 2


class Disordered(Constant):
    def predict_proba(self, X):
        return np.linspace([1.0, 0, 0], [0, 0, 1.0], len(X))


class Unseeded(Constant):
    def fit(self, X, y):
        self.p = np.random.default_rng().dirichlet(np.ones(3))
        return super().fit(X, y)

    def predict_proba(self, X):
        return np.tile(self.p, (len(X), 1))


class IgnoresWeights(Constant):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y)


class Mutates(Constant):
    def fit(self, X, y):
        X.sort()
        return super().fit(X, y)


def test_good_students():
    check_student(Constant())
    check_student(make_pipeline(TfidfVectorizer(), LogisticRegression()))
    check_student(DummyClassifier())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Unnormalised(), "sum to 1"),
        (Disordered(), "keep the order"),
        (Unseeded(), "same seed"),
        (IgnoresWeights(), "no effect"),
        (Mutates(), "must not change its texts"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_broken_students(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_student(broken)


class TooFew(UnguidedSampler):
    def propose(self, state, n_samples, rng):
        return super().propose(state, n_samples + 1, rng)


class Unseeded2(UnguidedSampler):
    def propose(self, state, n_samples, rng):
        return super().propose(state, n_samples, np.random.default_rng())


class SameIds(UnguidedSampler):
    def propose(self, state, n_samples, rng):
        requests = super().propose(state, n_samples, rng)
        return [GenerationRequest("1", request.counts) for request in requests]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (TooFew(), "texts wanted, but"),
        (Unseeded2(), "same requests"),
        (SameIds(), "ids must be unique"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_broken_samplers(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_sampler(broken)


def test_pool_teacher_serves_each_text_once():
    texts = [f"t{i}" for i in range(20)]
    teacher = PoolTeacher(texts, ["a", "b"] * 10)
    requests = [GenerationRequest(f"1-{i}", {"a": 3, "b": 1}) for i in range(5)]
    served = [e for g in teacher.generate(requests) for e in g.examples]
    assert len({e.text for e in served}) == len(served) == 15
    assert all(e.label == "ab"[int(e.text[1:]) % 2] for e in served)


def ask_both_ways(teacher, texts, n_classes=4):
    """What the teacher takes each text of a pool for, when it serves and when it labels them."""
    classes = tuple(range(n_classes))
    [generation] = teacher.generate([GenerationRequest("1-1", dict.fromkeys(classes, len(texts)))])
    request = AnnotationRequest("1-a1", tuple(texts), (classes,) * len(texts))
    [annotation] = teacher.annotate([request])
    return ({e.text: e.label for e in g.examples} for g in (generation, annotation))


@pytest.mark.parametrize("error_rate", [0.0, 0.3, 1.0])
def test_pool_teacher_that_is_wrong(error_rate):
    texts = [f"t{i}" for i in range(400)]
    truth = {text: i % 4 for i, text in enumerate(texts)}
    teacher = PoolTeacher(texts, list(truth.values()), error_rate=error_rate, random_state=1)
    served, labelled = ask_both_ways(teacher, texts)
    assert served == labelled  # it is wrong about the same texts
    assert served.keys() == truth.keys()
    errors = [text for text in texts if served[text] != truth[text]]
    assert len(errors) == pytest.approx(400 * error_rate, abs=30)
    if errors:
        assert {(served[t] - truth[t]) % 4 for t in errors} == {1, 2, 3}  # any other class
    again = ask_both_ways(clone(teacher), texts[::-1])
    assert list(again) == [served, labelled]
    other = clone(teacher).set_params(random_state=2)
    assert (next(ask_both_ways(other, texts)) == served) == (error_rate == 0)


def test_pool_teacher_takes_sets_as_lists():
    request = AnnotationRequest("1", ("x", "k"), (("a", "b"),) * 2, multilabel=True)
    answers = []
    for kind in (tuple, list):
        teacher = PoolTeacher(["x"], [kind(["a"])], known=(["k"], [kind(["a", "b"])]))
        answers += [list(teacher.annotate([request]))]
    assert answers[0] == answers[1]
    assert [own.label for own in answers[0][0].examples] == [("a",), ("a", "b")]


def test_pool_teacher_errs_within_the_shortlist():
    teacher = PoolTeacher(["x", "y"], ["a", "b"], error_rate=1.0)
    request = AnnotationRequest("1", tuple("xxyz"), tuple(map(tuple, ("ac", "a", "cd", "a"))))
    [generation] = teacher.annotate([request])
    first, second = generation.examples
    assert first == Example("x", "c")  # nothing is left to take the second text for
    assert second.text == "y"


@pytest.mark.parametrize("error_rate", [-0.1, 1.1])
def test_pool_teacher_error_rate_is_a_share(error_rate):
    teacher = PoolTeacher(["x"], ["a"], error_rate=error_rate)
    with pytest.raises(ValueError, match=f"must be in .0, 1.. Got {error_rate} instead"):
        list(teacher.generate([]))


def test_pool_teacher_nearest():
    from pgkd.records import Prediction

    texts = ["blue sky", "red car", "green tree", "blue car"]
    teacher = PoolTeacher(texts, ["a"] * 4, strategy="nearest")
    hard = (Prediction("a green tree house", "a", "b", 0.9),)
    [generation] = teacher.generate([GenerationRequest("1", {"a": 1}, hard_negatives=hard)])
    assert generation.examples[0].text == "green tree"
    with pytest.raises(ValueError, match="'random' or 'nearest'. Got 'far'"):
        list(PoolTeacher(texts, ["a"] * 4, strategy="far").generate([]))
