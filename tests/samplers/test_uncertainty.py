import numpy as np
import pytest

from pgkd.records import AnnotationRequest, Example, GenerationRequest, State
from pgkd.samplers import UncertaintySampler, UnguidedSampler
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
    sampler = UncertaintySampler(generator=UnguidedSampler(), **params)
    return sampler.propose(STATE, n, np.random.default_rng(seed))


def asked(requests):
    return {t for r in requests if isinstance(r, AnnotationRequest) for t in r.texts}


@pytest.mark.parametrize("strategy", ["margin", "entropy", "least_confident"])
def test_the_least_certain_come_first(strategy):
    assert asked(propose(2, strategy=strategy)) == {"torn", "hardly"}


def test_random_is_random():
    assert len({frozenset(asked(propose(2, seed, strategy="random"))) for seed in range(20)}) > 2


def test_shortlist_is_what_the_student_finds_likeliest():
    [request] = propose(1, n_candidates=2)
    assert request.texts == ("torn",)
    assert set(request.shortlists[0]) == {"b", "c"}
    assert {e.label for e in request.examples} == {"b", "c"}
    assert len(request.examples) == 4


def test_generates_when_the_pool_is_used_up():
    requests = propose(10)
    assert asked(requests) == set(STATE.pool)
    assert sum(r.n_texts for r in requests if isinstance(r, GenerationRequest)) == 6


def test_pool_share():
    requests = propose(4, pool_share=0.5)
    assert asked(requests) == {"torn", "hardly"}
    assert sum(r.n_texts for r in requests if isinstance(r, GenerationRequest)) == 2


def test_unknown_strategy():
    with pytest.raises(ValueError, match="'strategy' parameter of UncertaintySampler"):
        propose(1, strategy="best")


def test_conforms():
    check_sampler(UncertaintySampler())
