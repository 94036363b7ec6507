from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd.evaluation.report import make_predictions, make_report
from pgkd.records import Example, Feedback, State
from pgkd.samplers import (
    EvoKDSampler,
    LLM2LLMSampler,
    PerformanceGuidedSampler,
    UnguidedSampler,
)
from pgkd.samplers.base import apportion, group, look_at_folds
from pgkd.samplers.performance_guided import MAX_CONFUSIONS, cut
from pgkd.testing import check_sampler

CLASSES = np.array([f"c{i:02}" for i in range(20)])


def make_state(n=200, seed=0, skill=None):
    """A student that is right with probability `skill`, class by class."""
    rng = np.random.default_rng(seed)
    y = np.repeat(CLASSES, n // len(CLASSES))
    skill = np.linspace(0, 1, len(CLASSES)) if skill is None else skill
    codes = np.searchsorted(CLASSES, y)
    right = rng.random(n) < skill[codes]
    predicted = np.where(right, codes, (codes + 1) % len(CLASSES))
    confidence = rng.uniform(0.4, 0.9, n)
    P = np.full((n, len(CLASSES)), ((1 - confidence) / (len(CLASSES) - 1))[:, None])
    P[np.arange(n), predicted] = confidence
    texts = [f"text {i} of {label}" for i, label in enumerate(y)]
    report = make_report(y, P, CLASSES)
    return State(
        1,
        tuple(CLASSES.tolist()),
        tuple(map(Example, texts, y.tolist())),
        feedback=Feedback(make_predictions(texts, y, P, CLASSES), report, report),
        task_description="a task",
        class_descriptions={label: f"about {label}" for label in CLASSES.tolist()},
    )


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(1, 200), st.integers(0, 9))
def test_apportion_is_exact(weights, n, seed):
    if sum(weights) <= 1e-6:
        return
    counts = apportion(range(len(weights)), weights, n, np.random.default_rng(seed))
    assert sum(counts.values()) == n
    for label, count in counts.items():
        share = weights[label] / sum(weights) * n
        assert share - 1 - 1e-6 < count < share + 1 + 1e-6


def test_apportion_is_unbiased():
    rng = np.random.default_rng(0)
    totals = np.zeros(3)
    for _ in range(2000):
        for label, n in apportion([0, 1, 2], [5, 3, 2], 1, rng).items():
            totals[label] += n
    assert totals / 2000 == pytest.approx([0.5, 0.3, 0.2], abs=0.04)


@given(
    st.dictionaries(st.integers(0, 30), st.integers(1, 40), max_size=20),
    st.integers(1, 12),
    st.integers(1, 6),
)
def test_group_keeps_the_quota(quota, n_texts, n_classes):
    groups = list(group(quota, n_texts, n_classes, {}))
    total = {}
    for counts in groups:
        assert 0 < sum(counts.values()) <= n_texts
        assert len(counts) <= n_classes
        assert max(counts.values()) <= -(-n_texts // n_classes)
        for label, n in counts.items():
            total[label] = total.get(label, 0) + n
    assert total == quota


def test_confused_classes_share_a_request():
    quota = dict.fromkeys("abcdef", 2)
    groups = list(group(quota, 4, 2, {("a", "e"): 5, ("f", "b"): 3, ("d", "c"): 1}))
    assert {frozenset(counts) for counts in groups} == {
        frozenset("ae"),
        frozenset("bf"),
        frozenset("cd"),
    }


def test_a_class_with_many_texts_does_not_crowd_out_what_it_is_confused_with():
    groups = list(group({"a": 10, "b": 10, "c": 1}, 4, 2, {("a", "b"): 1}))
    assert groups[:5] == [{"a": 2, "b": 2}] * 5


def with_folds(state, n_folds=5):
    """Each class's texts go round the folds."""
    seen = Counter()
    folds = []
    for example in state.examples:
        folds.append(seen[example.label] % n_folds)
        seen[example.label] += 1
    return replace(state, folds=tuple(folds))


@pytest.mark.parametrize(
    ("sampler", "n_folds"),
    [
        (PerformanceGuidedSampler(n_samples=3), 1),
        (UnguidedSampler(), 2),
        (EvoKDSampler(), 1),
        (LLM2LLMSampler(), 3),
    ],
)
def test_a_request_shows_few_folds(sampler, n_folds):
    state = with_folds(make_state(skill=np.full(20, 0.5)))  # 10 texts a class: 2 a fold
    fold_of = {e.text: fold for e, fold in zip(state.examples, state.folds)}
    shown_of_class = {}
    for request in sampler.propose(state, 200, np.random.default_rng(0)):
        for label in request.counts:
            evidence = [*request.hard_negatives, *request.correct, *request.wrong]
            shown = [e for e in [*request.examples, *evidence] if e.label == label]
            folds = {fold_of[item.text] for item in shown}
            assert 1 <= len(folds) <= n_folds
            shown_of_class.setdefault(label, set()).update(folds)
    # The next request shows others.
    assert np.mean([len(folds) for folds in shown_of_class.values()]) > n_folds


def test_classes_of_a_request_share_a_fold():
    labels = ["a"] * 2 + ["b"] * 2 + ["c"]
    examples = tuple(Example(f"text {i}", label) for i, label in enumerate(labels))
    state = State(1, ("a", "b", "c"), examples, folds=(0, 1, 2, 1, 3))
    for seed in range(5):
        views = look_at_folds(state, ("a", "b", "c"), 1, np.random.default_rng(seed))
        assert [view.folds for view in views.values()] == [(1, 1), (1, 1), (3,)]


@pytest.mark.parametrize(("n_folds", "n_shown"), [(1, 1), (2, 1), (3, 2), (5, 3)])
def test_half_of_the_folds_do_not_see_what_is_written_for_a_class(n_folds, n_shown):
    examples = tuple(Example(f"text {i}", "a") for i in range(n_folds))
    state = State(1, ("a",), examples, folds=tuple(range(n_folds)))
    for n_texts, expected in ((1, 1), (9, n_shown)):
        view = look_at_folds(state, ("a",), n_texts, np.random.default_rng(0))["a"]
        assert len(view.examples) == len(set(view.folds)) == expected


def total_counts(requests):
    total = dict.fromkeys(CLASSES.tolist(), 0)
    for request in requests:
        for label, n in request.counts.items():
            total[label] += n
    return total


def test_weak_classes_get_more():
    state = make_state()
    requests = PerformanceGuidedSampler().propose(state, 400, np.random.default_rng(0))
    counts = list(total_counts(requests).values())
    assert sum(counts[:5]) > 2.5 * sum(counts[-5:])
    assert min(counts) >= 1
    uniform = UnguidedSampler().propose(state, 400, np.random.default_rng(0))
    assert set(total_counts(uniform).values()) == {20}


def test_evidence_is_about_the_requests_classes():
    state = make_state()
    sampler = PerformanceGuidedSampler(n_hard_negatives=2, n_samples=1, n_examples=3)
    for request in sampler.propose(state, 100, np.random.default_rng(0)):
        classes = set(request.counts)
        shown = [*request.examples, *request.hard_negatives, *request.correct, *request.wrong]
        assert {item.label for item in shown} <= classes
        assert list(request.report.classes) == [c for c in state.classes if c in classes]
        assert request.report.accuracy == state.feedback.report.accuracy
        assert set(request.class_descriptions) == classes
        assert all(p.correct for p in request.correct)
        assert not any(p.correct for p in (*request.hard_negatives, *request.wrong))
        for label in classes:
            mistakes = sorted(
                (p for p in state.feedback.predictions if p.label == label and not p.correct),
                key=lambda p: -p.confidence,
            )
            hard = [p for p in request.hard_negatives if p.label == label]
            assert hard == mistakes[:2]


def test_switches():
    sampler = PerformanceGuidedSampler(n_hard_negatives=0, n_samples=0, report=False, n_examples=0)
    for request in sampler.propose(make_state(), 50, np.random.default_rng(0)):
        assert request.hard_negatives == request.correct == request.wrong == request.examples == ()
        assert request.report is request.previous_report is None


def test_cut_report_is_short():
    report = make_state(skill=np.zeros(20)).feedback.report
    assert len(cut(report, set(CLASSES)).confusions) == MAX_CONFUSIONS
    small = cut(report, {"c03"})
    assert list(small.classes) == ["c03"]
    assert set(small.confusions) == {("c03", "c04"), ("c02", "c03")}


def test_unguided_shows_no_feedback():
    for request in UnguidedSampler().propose(make_state(), 50, np.random.default_rng(0)):
        assert request.report is None
        assert request.hard_negatives == request.correct == request.wrong == ()
        assert request.examples


@pytest.mark.parametrize(
    "sampler",
    [
        UnguidedSampler(),
        PerformanceGuidedSampler(),
        PerformanceGuidedSampler(classes_per_request=1),
    ],
)
def test_conforms(sampler):
    check_sampler(sampler)
