"""Answers that do not say what they cost, or that nobody can read."""

import json

import pytest
from conftest import WORDS, make_classifier, write_text

from pgkd import Evidence
from pgkd.records import Completion, Usage
from pgkd.teachers import AnthropicTeacher, FunctionTeacher, OpenAITeacher
from pgkd.testing import Fault, FaultServer


def write(messages):
    write.n_calls += 1
    return json.dumps({label: [write_text(label, 100 + write.n_calls)] for label in WORDS})


def count(caught, what):
    return sum(what in str(warning.message) for warning in caught)


@pytest.mark.parametrize("kind", ["str", "openai", "anthropic"])
@pytest.mark.parametrize("budget", [{"max_cost": 0.08}, {"max_tokens": 9_000}])
def test_a_budget_holds_and_is_used_where_the_cost_is_not_known(kind, budget, student, hard):
    write.n_calls = 0
    with FaultServer([Fault.wrong_usage(None)]) as server:
        options = {"price": (1.0, 2.0)}
        teacher = FunctionTeacher(write, **options)
        if kind != "str":
            make = OpenAITeacher if kind == "openai" else AnthropicTeacher
            teacher = make("m", base_url=server.base_url, max_tokens=4_096, **options)
        clf = make_classifier(
            teacher, student, max_cycles=30, samples_per_cycle=3, random_state=0, **budget
        )
        with pytest.warns(UserWarning, match="does not tell how many tokens") as caught:
            clf.fit(*hard)
    assert clf.stop_reason_ in ("budget", "patience")
    n_asked = write.n_calls or server.n_requests
    assert 3 < n_asked <= (9 if "max_cost" in budget else 60)
    assert count(caught, "how many tokens") == 1
    assert not count(caught, "cannot be held")
    assert clf.usage_.cost is None
    assert clf.usage_.input_tokens > 100 * n_asked  # estimated
    assert "US dollars: unknown" in str(clf.report())


@pytest.mark.parametrize(
    "answer",
    ["I am sorry.", "", "[]", '{"cards": ["a"]}', '<think>{"card": ["a"]}', '{"card": [7]}'],
)
def test_answers_that_cannot_be_used_are_told_once(answer, student, data):
    usage = Usage(1, 100, 10, cost=None)
    teacher = FunctionTeacher(lambda messages: Completion(answer, usage), price=(1.0, 1.0))
    params = {"max_cycles": 3, "samples_per_cycle": 6, "patience": 9}
    clf = make_classifier(teacher, student, random_state=0, **params)
    with pytest.warns(UserWarning, match=r"None of \d+ answers of the teacher could be") as caught:
        clf.fit(*data)
    assert count(caught, "could be used") == 1
    assert clf.n_cycles_ == 3
    assert clf.usage_.cost > 0


def test_an_annotator_whose_answers_cannot_be_used(student, data):
    teacher = FunctionTeacher(lambda messages: Completion("Sorry", Usage(1, 9, 9, cost=None)))
    clf = make_classifier(
        teacher, student, routes=("label",), evidence=Evidence(probe_size=0), max_cycles=2
    )
    with pytest.warns(UserWarning, match="unreadable answer") as caught:
        clf.fit(*data, X_unlabeled=[write_text(label, i) for i in range(70, 90) for label in WORDS])
    assert count(caught, "could be used") == 1


def test_good_answers_are_not_warned_of(student, data, recwarn):
    write.n_calls = 0
    teacher = FunctionTeacher(lambda m: Completion(write(m), Usage(1, 100, 10, cost=None)))
    make_classifier(teacher, student, max_cycles=1, samples_per_cycle=6).fit(*data)
    assert not count(recwarn, "answers")
