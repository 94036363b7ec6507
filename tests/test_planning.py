import json

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.records import Completion, Usage
from pgkd.samplers import UncertaintySampler
from pgkd.teachers import LLMTeacher

STUDENT = make_pipeline(TfidfVectorizer(), LogisticRegression())


class Writer(LLMTeacher):
    """Writes what the schema asks for, and counts tokens as a tokenizer would (4 characters)."""

    price = (1.0, 4.0)
    max_concurrency = 1  # so that the same answers come, and so the same run, each time
    n_asked = 0

    def complete(self, messages, *, schema):
        Writer.n_asked += 1
        n = Writer.n_asked
        answer = json.dumps(
            {
                name: [f"please {name} again {n} {i}" for i in range(p["minItems"])]
                for name, p in schema["properties"].items()
            }
        )
        n_read = len(json.dumps(list(messages))) + len(json.dumps(schema))
        return Completion(answer, Usage(1, n_read // 4, len(answer) // 4, cost=None))


@pytest.fixture
def classifier():
    Writer.n_asked = 0
    return PGKDClassifier(
        Writer(), STUDENT, max_cycles=4, patience=2, samples_per_cycle=30, random_state=0
    )


def test_the_bill_is_within_the_plan(classifier, data):
    plan = classifier.plan(*data)
    assert Writer.n_asked == 0
    usage = classifier.fit(*data).usage_
    for planned, taken in (
        (plan.n_requests, usage.n_requests),
        (plan.input_tokens, usage.input_tokens),
        (plan.output_tokens, usage.output_tokens),
        (plan.cost, usage.cost),
    ):
        assert planned[0] <= taken <= planned[1]
    assert plan.input_tokens[1] < 6 * plan.input_tokens[0]  # else any bill would be within
    assert f"requests: {usage.n_requests}, planned" in plan.compare(usage)


class Labeller(Writer):
    """Labels as well: it chooses the first label of a list."""

    def complete(self, messages, *, schema):
        properties = schema["properties"]
        if "enum" not in next(iter(properties.values())):
            return super().complete(messages, schema=schema)
        Writer.n_asked += 1
        answer = json.dumps({number: p["enum"][0] for number, p in properties.items()})
        n_read = len(json.dumps(list(messages))) + len(json.dumps(schema))
        return Completion(answer, Usage(1, n_read // 4, len(answer) // 4, cost=None))


def test_audit_and_verification_are_planned(classifier, data):
    simple = classifier.plan(*data)
    classifier.set_params(teacher=Labeller(), audit_size=20, verification="filter", n_candidates=2)
    plan = classifier.plan(*data)
    audit, verification = 3 * 4, 4 * 6  # five texts a request, three rounds, four cycles
    assert plan.n_requests[0] == simple.n_requests[0] + audit
    assert plan.n_requests[1] == simple.n_requests[1] + audit + verification
    usage = classifier.fit(*data).usage_
    for planned, taken in (
        (plan.n_requests, usage.n_requests),
        (plan.input_tokens, usage.input_tokens),
        (plan.output_tokens, usage.output_tokens),
        (plan.cost, usage.cost),
    ):
        assert planned[0] <= taken <= planned[1]


def test_texts_of_classes_without_one_are_planned(classifier, data):
    X, y = zip(*[(text, label) for text, label in zip(*data) if label != "pin"])
    simple = classifier.plan(X, y)
    classifier.set_params(class_descriptions=dict.fromkeys(data[1], "what customers ask"))
    plan = classifier.plan(X, y)
    usage = classifier.fit(X, y).usage_
    assert classifier.history_[0].n_requested > 0
    assert plan.n_requests[0] > simple.n_requests[0]
    assert plan.n_requests[0] <= usage.n_requests <= plan.n_requests[1]


def test_planning_changes_nothing(classifier, data):
    before = classifier.get_params()
    classifier.plan(*data)
    assert classifier.get_params() == before
    assert not hasattr(classifier, "classes_")


def test_unknown_price(classifier, data, monkeypatch):
    monkeypatch.setattr(Writer, "price", None)
    plan = classifier.plan(*data)
    assert plan.cost is None
    assert "price unknown" in str(plan)


def test_bad_input_is_found_by_the_plan(classifier, data):
    with pytest.raises(InvalidInputError, match="Got a single str"):
        classifier.plan("a text", data[1])


def test_plan_of_a_pool(classifier, data):
    classifier.set_params(sampler=UncertaintySampler(texts_per_request=5))
    plan = classifier.plan(*data, X_unlabeled=[f"some text {i}" for i in range(100, 200)])
    assert plan.n_requests == (2 * 6, 4 * 6)


def test_teachers_without_prompts(teacher, data):
    plan = PGKDClassifier(teacher, STUDENT, max_cycles=1, random_state=0).plan(*data)
    assert plan.n_requests[1] > 0
    assert plan.input_tokens == (0, 0)
