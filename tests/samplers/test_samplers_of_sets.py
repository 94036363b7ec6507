"""What samplers ask for, and show, where texts have several labels."""

from dataclasses import replace

import numpy as np
import pytest

from pgkd.records import Example, Feedback, Prediction, State
from pgkd.samplers import (
    EvoKDSampler,
    LLM2LLMSampler,
    PerformanceGuidedSampler,
    UncertaintySampler,
    UnguidedSampler,
)
from pgkd.samplers.base import MAX_CHOICES, draft, find_choices
from pgkd.samplers.quota import QUOTAS, weigh
from pgkd.testing import check_sampler
from pgkd.testing.checks import _make_state

EXAMPLES = (
    *(Example(f"a and b {i}", ("a", "b")) for i in range(3)),
    *(Example(f"a {i}", ("a",)) for i in range(3)),
    *(Example(f"c {i}", ("c",)) for i in range(3)),
)
STATE = State(1, ("a", "b", "c"), EXAMPLES, multilabel=True)


@pytest.mark.parametrize(
    "sampler",
    [
        *(PerformanceGuidedSampler(quota=quota) for quota in QUOTAS),
        UnguidedSampler(),
        UnguidedSampler(quota="prior"),
        EvoKDSampler(),
        LLM2LLMSampler(),
        UncertaintySampler(texts_per_request=3),
        UncertaintySampler(strategy="diverse"),
        UncertaintySampler(strategy="entropy"),
    ],
    ids=repr,
)
def test_conforms(sampler):
    check_sampler(sampler, multilabel=True)


def test_labels_are_asked_for_together_as_often_as_they_come():
    request = draft(STATE, 1, {"a": 1000, "c": 5}, 0, np.random.default_rng(0))
    assert set(request.counts) == {("a",), ("a", "b"), ("c",)}
    assert request.n_texts == 1005
    assert 430 < request.counts["a", "b"] < 570  # half of the texts that have a
    assert request.classes == ("a", "b", "c") or set(request.classes) == {"a", "b", "c"}
    assert request.choices == ("a", "b", "c")


def test_a_class_without_a_text_is_asked_for_alone():
    state = replace(STATE, classes=("a", "b", "c", "d"))
    assert draft(state, 1, {"d": 2}, 3, np.random.default_rng(0)).counts == {("d",): 2}


def test_choices_of_many_classes_are_those_that_come_together():
    classes = tuple(f"{i:03}" for i in range(2 * MAX_CHOICES))
    examples = (Example("x", ("000", "099")), Example("y", ("001", "050")))
    state = State(1, classes, examples, multilabel=True)
    assert find_choices(state, ("000",)) == ("000", "099")
    assert find_choices(replace(state, classes=classes[:3]), ("000",)) == classes[:3]


def test_hard_negatives_of_a_class_are_missed_or_given_wrongly():
    base = _make_state(multilabel=True)
    predictions = (
        Prediction("missed", ("card", "rate"), ("rate",), 0.9),
        Prediction("given", ("rate",), ("card", "rate"), 0.8),
        Prediction("right", ("card",), ("card",), 0.8),
        Prediction("another's mistake", ("pin",), (), 0.99),
    )
    feedback = Feedback(predictions, base.feedback.report)
    sampler = PerformanceGuidedSampler(classes_per_request=1, n_hard_negatives=2, n_examples=0)
    requests = sampler.propose(replace(base, feedback=feedback), 100, np.random.default_rng(0))
    about = [r for r in requests if any("card" in label for label in r.counts)]
    shown = {p.text for r in about for p in r.hard_negatives if r.counts.keys() <= {("card",)}}
    of_card = [r for r in requests if r.correct]
    assert {p.text for p in of_card[0].hard_negatives} == {"missed", "given"}
    assert {p.text for p in of_card[0].correct} == {"right"}
    assert "another's mistake" not in shown


def test_quotas_count_labels():
    state = replace(
        STATE,
        feedback=Feedback(
            (
                Prediction("1", ("a", "b"), ("a",), 0.9),
                Prediction("2", ("a", "b"), ("a",), 0.9),
                Prediction("3", ("c",), ("c",), 0.9),
            ),
            _make_state(multilabel=True).feedback.report,
        ),
    )
    a, b, c = weigh("errors", state, state.feedback)
    assert b > 2 > max(a, c)
    assert weigh("prior", state, state.feedback).tolist() == [6, 3, 3]
    a, b, c = weigh("auto", state, state.feedback)
    assert b > c


def test_the_pool_is_ranked_by_the_least_sure_label():
    pool = ("sure", "one label unsure", "all a little unsure")
    p = np.array([[0.99, 0.01, 0.02], [0.99, 0.01, 0.52], [0.7, 0.3, 0.25]])
    state = replace(STATE, pool=pool, pool_probabilities=p)

    def first(strategy):
        sampler = UncertaintySampler(strategy=strategy)
        [request] = sampler.propose(state, 1, np.random.default_rng(0))
        assert request.multilabel
        return request.texts[0]

    assert first("margin") == first("least_confident") == "one label unsure"
    assert first("entropy") == "all a little unsure"
