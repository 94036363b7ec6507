import json

import pytest
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from pgkd import Evidence, PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.records import Completion, Usage
from pgkd.samplers import UncertaintySampler
from pgkd.teachers import BedrockTeacher, LLMTeacher, OpenAITeacher

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
        Labeller(),
        STUDENT,
        max_cycles=4,
        samples_per_cycle=30,
        evidence=Evidence(probe_size=12),
        random_state=0,
    )


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


def assert_within(plan, usage):
    for planned, taken in (
        (plan.n_requests, usage.n_requests),
        (plan.input_tokens, usage.input_tokens),
        (plan.output_tokens, usage.output_tokens),
        (plan.cost, usage.cost),
    ):
        assert planned[0] <= taken <= planned[1]


def test_the_bill_is_within_the_plan(classifier, data):
    plan = classifier.plan(*data)
    assert Writer.n_asked == 0
    clf = classifier.fit(*data)
    usage = clf.usage_
    assert usage.n_requests >= 12  # the probe, and more if it says that the teacher can help
    assert_within(plan, usage)
    assert f"requests: {usage.n_requests}, planned" in plan.compare(usage)


class Encoding(Pipeline):
    """A student with embeddings, for which a model would be fetched."""

    n_calls = 0

    def embed(self, X):
        Encoding.n_calls += 1
        return HashingVectorizer(n_features=64).transform(X)


def test_a_plan_fetches_no_encoder(classifier, data):
    classifier.set_params(student=Encoding(STUDENT.steps))
    plan = classifier.plan(*data)
    assert not Encoding.n_calls
    usage = classifier.fit(*data).usage_
    assert Encoding.n_calls  # near texts are shown, and the plan is right all the same
    assert_within(plan, usage)


def test_the_probe_is_the_least(classifier, data):
    plan = classifier.plan(*data)
    assert plan.n_requests[0] == 12
    more = classifier.set_params(evidence=Evidence(probe_size=20)).plan(*data)
    assert more.n_requests[0] == 20
    assert more.n_requests[1] - plan.n_requests[1] == 8
    assert "The least is the probe alone" in str(plan)
    assert "Tokens of reasoning come on top" in str(plan)


def test_without_a_probe_a_batch_is_the_least(classifier, data):
    classifier.set_params(evidence=Evidence(probe_size=0), routes=("write",))
    plan = classifier.plan(*data)
    assert plan.n_requests[1] == 4 * plan.n_requests[0] > 0
    assert "The least is one batch" in str(plan)
    assert_within(plan, classifier.fit(*data).usage_)


def test_without_a_teacher_nothing_is_bought(data):
    plan = PGKDClassifier(student=STUDENT).plan(*data)
    assert plan.n_requests == (0, 0)
    assert plan.cost == (0, 0)
    assert str(plan) == "0 requests, 0 input tokens, 0 output tokens, $0.00"


def test_without_labelled_texts(classifier):
    classifier.set_params(class_names=["card", "pin", "rate"])
    plan = classifier.plan(X_unlabeled=[f"some text {i}" for i in range(100, 200)])
    usage = classifier.fit(X_unlabeled=[f"some text {i}" for i in range(100, 200)]).usage_
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
    sampler = UncertaintySampler(texts_per_request=5)
    classifier.set_params(sampler=sampler, routes=("label",), evidence=Evidence(probe_size=0))
    plan = classifier.plan(*data, X_unlabeled=[f"some text {i}" for i in range(100, 200)])
    assert plan.n_requests == (6, 4 * 6)


def test_teachers_without_prompts(teacher, data):
    plan = PGKDClassifier(teacher, STUDENT, max_cycles=1, random_state=0).plan(*data)
    assert plan.n_requests[1] > 0
    assert plan.input_tokens == (0, 0)
    assert plan.figures.endswith("requests, tokens and price unknown")


def test_a_key_that_is_not_set_is_told(data):
    def plan(teacher):
        return str(PGKDClassifier(teacher, STUDENT, random_state=0).plan(*data))

    lacking = "No key yet: `fit` needs OPENAI_API_KEY or `api_key`."
    assert lacking in plan(OpenAITeacher("gpt-5-mini"))
    assert lacking not in plan(OpenAITeacher("gpt-5-mini", api_key="sk-none"))
    assert lacking not in plan(OpenAITeacher("m", base_url="http://127.0.0.1:9/v1"))
    # Credentials of AWS may come from a program: nothing is said of them.
    assert "No key" not in plan(BedrockTeacher("m", region="us-east-1"))
