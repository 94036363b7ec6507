from dataclasses import replace

import numpy as np
import pytest
from conftest import WORDS, WordTeacher, write_text

from pgkd import PGKDClassifier
from pgkd.records import (
    AnnotationRequest,
    Batch,
    Example,
    Feedback,
    Generation,
    GenerationRequest,
    State,
    StudentReport,
    Usage,
)
from pgkd.samplers import UncertaintySampler, UnguidedSampler
from pgkd.samplers.uncertainty import MIN_SHARE, share_by_gain, spread
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


@pytest.mark.parametrize("params", [{}, {"strategy": "diverse"}, {"pool_share": "auto"}])
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


def report(log_loss):
    return StudentReport(0.5, 0.5, log_loss, {}, {})


def share(*batches, after):
    """Share after batches of (tokens for the pool, tokens for generation, log loss before)."""
    return share_by_gain(
        replace(
            STATE,
            cycle=3,
            feedback=Feedback((), report(after)),
            batches=tuple(
                Batch({}, {}, {"pool": pool, "generated": generated}, report(before))
                for pool, generated, before in batches
            ),
        )
    )


@pytest.mark.parametrize(
    ("batches", "after", "expected"),
    [
        (((100, 0, 2.0), (0, 100, 1.5)), 1.0, 0.5),
        (((100, 0, 2.0), (0, 300, 1.5)), 1.0, 0.75),  # it is the gain a token that counts
        (((100, 0, 2.0), (0, 100, 1.5)), 1.6, 1 - MIN_SHARE),  # harm is no gain
        (((100, 0, 2.0), (0, 100, 2.1)), 1.0, MIN_SHARE),
        (((100, 0, 2.0),), 1.0, 1 - MIN_SHARE),  # the generated batch was rolled back
        (((100, 0, 2.0), (0, 100, 2.1)), 2.2, 0.5),  # nothing was gained
        (((0, 0, 2.0), (0, 0, 1.5)), 1.4, 0.5),  # tokens are not counted
        ((), 1.4, 0.5),
        # A mixed batch is shared out by its tokens: 0.6 + 0.2 of the pool, 0.2 + 0.2 generated.
        (((100, 0, 2.0), (0, 100, 1.4), (100, 100, 1.2)), 0.8, 2 / 3),
    ],
)
def test_share_by_gain(batches, after, expected):
    assert share(*batches, after=after) == pytest.approx(expected)


@pytest.mark.parametrize(("cycle", "n_pool"), [(1, 4), (2, 0), (3, 2)])
def test_auto_begins_with_one_of_each(cycle, n_pool):
    sampler = UncertaintySampler(pool_share="auto", generator=UnguidedSampler())
    state = replace(STATE, cycle=cycle)
    assert len(asked(sampler.propose(state, 4, np.random.default_rng(0)))) == n_pool


def test_auto_needs_feedback_as_long_as_there_is_a_pool():
    sampler = UncertaintySampler(pool_share="auto", generator=UnguidedSampler())
    assert sampler.needs_feedback(STATE, 2)
    assert not sampler.needs_feedback(replace(STATE, pool=()), 2)
    assert not UncertaintySampler().needs_feedback(STATE, 2)


class Annotating(WordTeacher):
    """Labels cost a hundredth of what writing costs."""

    def annotate(self, requests):
        for request in requests:
            examples = [
                Example(text, label)
                for text in request.texts
                for label in WORDS
                if text.split()[-1].startswith(label)
            ]
            yield Generation(request, tuple(examples), usage=Usage(1, 1, 0, cost=0.0))


def test_auto_in_a_run(data, student):
    pool = [write_text(label, i) for i in range(100, 140) for label in WORDS]
    clf = PGKDClassifier(
        Annotating(),
        student,
        sampler=UncertaintySampler(pool_share="auto"),
        max_cycles=3,
        samples_per_cycle=20,
        synthetic_weight=1.0,
        random_state=0,
    ).fit(*data, X_unlabeled=pool)
    sources = [{t.source for t in clf.synthetic_ if t.cycle == n} for n in (1, 2)]
    assert sources == [{"pool"}, {"generated"}]
    third = [t.source for t in clf.synthetic_ if t.cycle == 3]
    assert third.count("pool") > third.count("generated") > 0
