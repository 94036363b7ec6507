from collections import Counter

import numpy as np
import pytest
from conftest import Recorder, WordTeacher, make_classifier
from sklearn.base import BaseEstimator
from test_samplers import CLASSES, make_state

from pgkd.samplers import EvoKDSampler, LLM2LLMSampler
from pgkd.teachers.prompts.writing import render
from pgkd.testing import check_sampler


def propose(sampler, n, state=None, seed=0):
    return sampler.propose(state or make_state(), n, np.random.default_rng(seed))


def total(requests):
    return sum((Counter(request.counts) for request in requests), Counter())


@pytest.mark.parametrize(
    "sampler", [EvoKDSampler(), LLM2LLMSampler(), LLM2LLMSampler(n_examples=2)]
)
def test_conforms(sampler):
    check_sampler(sampler)


def test_evokd_asks_evenly():
    assert total(propose(EvoKDSampler(), 100)) == dict.fromkeys(CLASSES.tolist(), 5)


def test_evokd_shows_right_and_wrong_and_no_measure():
    for request in propose(EvoKDSampler(n_samples=2, n_examples=1), 100):
        assert all(p.correct for p in request.correct)
        assert not any(p.correct for p in request.wrong)
        assert {p.label for p in (*request.correct, *request.wrong)} <= set(request.counts)
        for label in request.counts:
            own = [p.label for p in (*request.correct, *request.wrong)].count(label)
            assert 2 <= own <= 4  # a class has ten texts, so two of a kind at least
        prompt = render(request)[1]["content"]
        assert not any(word in prompt for word in ("confidence", "accuracy", "Precision"))
        assert prompt.count("(recognised)") == len(request.correct)
        assert prompt.count("(wrongly taken for") == len(request.wrong)


def test_evokd_does_not_rank_mistakes():
    """In many draws every mistake of a class is shown, not the most confident ones alone."""
    state = make_state()
    mistakes = {p.text for p in state.feedback.predictions if p.label == "c00" and not p.correct}
    shown = set()
    for seed in range(40):
        for request in propose(EvoKDSampler(), 40, state, seed):
            shown |= {p.text for p in request.wrong if p.label == "c00"}
    assert shown == mistakes
    assert len(mistakes) == 10


def test_llm2llm_shares_out_by_mistakes():
    state = make_state()
    mistakes = Counter(p.label for p in state.feedback.predictions if not p.correct)
    n = sum(mistakes.values())
    requests = propose(LLM2LLMSampler(), 2 * n, state)
    assert total(requests) == {label: 2 * count for label, count in mistakes.items()}
    assert all(request.kind == "rewrite" for request in requests)
    for request in requests:
        assert not any(p.correct for p in request.wrong)
        assert not request.correct
        assert not request.hard_negatives
        assert len(set(request.wrong)) == len(request.wrong)
        assert {p.label for p in request.wrong} == set(request.counts)


@pytest.mark.parametrize("seed", range(3))
def test_llm2llm_rewrites_none_twice_before_each_was_once(seed):
    state = make_state()
    mistakes = [p for p in state.feedback.predictions if not p.correct]
    few = [p for r in propose(LLM2LLMSampler(), len(mistakes) // 2, state, seed) for p in r.wrong]
    assert len(set(few)) == len(few) == len(mistakes) // 2
    every = [p for r in propose(LLM2LLMSampler(), len(mistakes), state, seed) for p in r.wrong]
    assert sorted(every, key=lambda p: p.text) == sorted(mistakes, key=lambda p: p.text)


def test_llm2llm_asks_nothing_where_nothing_is_wrong():
    assert propose(LLM2LLMSampler(), 10, make_state(skill=np.ones(20))) == []


def test_a_run_without_mistakes_ends(data, student):
    recorder = Recorder()
    clf = make_classifier(
        WordTeacher(),
        student,
        sampler=LLM2LLMSampler(),
        max_cycles=9,
        samples_per_cycle=6,
        callbacks=[recorder],
        random_state=0,
    )
    assert clf.fit(*data).stop_reason_ == "exhausted"
    assert recorder.requests == []
    assert clf.n_cycles_ == 0


@pytest.mark.parametrize("sampler", [EvoKDSampler(), LLM2LLMSampler()])
def test_a_run(sampler, data, student):
    X, y = data
    y = ["rate" if i % 7 == 0 else label for i, label in enumerate(y)]  # what nobody gets right
    recorder = Recorder()
    clf = make_classifier(
        WordTeacher(),
        student,
        sampler=sampler,
        max_cycles=2,
        samples_per_cycle=12,
        synthetic_weight=1.0,
        callbacks=[recorder],
        random_state=0,
    ).fit(X, y)
    shown = [p for request in recorder.requests for p in request.wrong]
    assert shown
    assert {p.text for p in shown} <= set(X)
    assert clf.history_[1].n_requested == 12


class Plain(BaseEstimator):
    """A sampler of a user's own, without scikit-learn's private parameter constraints."""

    def propose(self, state, n_samples, rng):
        return EvoKDSampler().propose(state, n_samples, rng)


def test_a_sampler_without_constraints_in_a_run(data, student):
    clf = make_classifier(
        WordTeacher(), student, sampler=Plain(), max_cycles=1, samples_per_cycle=6, random_state=0
    )
    assert clf.plan(*data).n_requests == (2, 2)
