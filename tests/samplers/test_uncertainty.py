from dataclasses import replace

import numpy as np
import pytest

from pgkd.records import Example, State
from pgkd.samplers import UncertaintySampler
from pgkd.samplers.uncertainty import spread
from pgkd.testing import check_sampler

CLASSES = ("a", "b", "c")
#: From sure to unsure.
PROBABILITIES = np.array([[0.9, 0.1, 0.0], [0.6, 0.1, 0.3], [0.5, 0.3, 0.2], [0.1, 0.45, 0.45]])
STATE = State(
    1,
    CLASSES,
    tuple(Example(f"{label}{i}", label) for label in CLASSES for i in range(3)),
    pool=("sure", "quite", "hardly", "torn"),
    pool_probabilities=PROBABILITIES,
)


def propose(n, seed=0, **params):
    sampler = UncertaintySampler(**params)
    return sampler.propose(STATE, n, np.random.default_rng(seed))


def asked(requests):
    return {text for request in requests for text in request.texts}


@pytest.mark.parametrize("strategy", ["margin", "entropy", "least_confident"])
def test_the_least_certain_come_first(strategy):
    assert asked(propose(2, strategy=strategy)) == {"torn", "hardly"}


def test_random_is_random():
    assert len({frozenset(asked(propose(2, seed, strategy="random"))) for seed in range(20)}) > 2


def test_shortlist_is_what_the_student_finds_likeliest():
    [request] = propose(1, n_candidates=2, strategy="margin")
    assert request.texts == ("torn",)
    assert set(request.shortlists[0]) == {"b", "c"}
    assert {e.label for e in request.examples} == {"b", "c"}
    assert len(request.examples) == 4


def test_no_more_than_the_pool_has():
    assert asked(propose(10)) == set(STATE.pool)
    assert sum(r.n_texts for r in propose(10)) == 4
    assert UncertaintySampler().propose(replace(STATE, pool=()), 10, np.random.default_rng(0)) == []


def test_unknown_strategy():
    with pytest.raises(ValueError, match="'strategy' parameter of UncertaintySampler"):
        propose(1, strategy="best")


@pytest.mark.parametrize("params", [{}, {"strategy": "margin"}, {"texts_per_request": 3}])
def test_conforms(params):
    check_sampler(UncertaintySampler(**params))


def make_pool(probabilities):
    """Four kinds of texts, ten nearly alike of each."""
    kinds = ("the card in the post", "exchange of euros", "my pin is blocked", "open an account")
    pool = tuple(f"{kind} {i}" for kind in kinds for i in range(10))
    return replace(STATE, pool=pool, pool_probabilities=np.array(probabilities))


def ask(state, n, seed=0, **params):
    return asked(UncertaintySampler(**params).propose(state, n, np.random.default_rng(seed)))


def test_diverse_texts_differ():
    unsure = np.linspace(0.34, 0.4, 40)[:, None]  # the first kind most of all
    state = make_pool(np.hstack([unsure, np.repeat((1 - unsure) / 2, 2, axis=1)]))
    for seed in range(10):
        kinds = {text[:5] for text in ask(state, 4, seed, strategy="diverse")}
        assert len(kinds) == 4
    assert len({text[:5] for text in ask(state, 4, strategy="least_confident")}) == 1


def test_diverse_texts_are_uncertain_ones():
    sure, torn = [0.98, 0.01, 0.01], [0.4, 0.3, 0.3]
    state = make_pool([sure] * 20 + [torn] * 20)
    for seed in range(9):
        assert ask(state, 6, seed, strategy="diverse") <= set(state.pool[20:])


def test_diverse_asks_about_as_many_as_wanted_where_all_are_alike():
    state = replace(make_pool([[1.0, 0, 0]] * 40), pool=("same",) * 39 + ("other",))
    [*requests] = UncertaintySampler(strategy="diverse").propose(
        state, 10, np.random.default_rng(0)
    )
    assert sum(r.n_texts for r in requests) == 10
    assert len(spread(state, 10, np.random.default_rng(0))) == 10
