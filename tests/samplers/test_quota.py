from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from test_samplers import CLASSES, make_state

from pgkd.records import Batch, ClassScore, Example
from pgkd.samplers import PerformanceGuidedSampler
from pgkd.samplers.quota import QUOTAS, weigh

NAMES = CLASSES.tolist()


@pytest.fixture
def even():
    """All classes are got wrong alike."""
    return make_state(skill=np.full(len(CLASSES), 0.5), n=2000)


def weights_of(quota, state):
    return dict(zip(NAMES, weigh(quota, state, state.feedback)))


@pytest.mark.parametrize("quota", ["auto", "weakness", "errors", "confusion", "past_gain"])
def test_weak_classes_get_more(quota):
    state = make_state()  # class 0 is always got wrong, class 19 never
    weights = weights_of(quota, state)
    assert weights["c00"] > 2 * weights["c19"] > 0


@pytest.mark.parametrize("quota", QUOTAS)
def test_every_quota_is_positive_and_finite(quota):
    weights = np.array(list(weights_of(quota, make_state()).values()))
    assert np.isfinite(weights).all()
    assert (weights > 0).all()


def add_texts(state, label, n):
    more = tuple(Example(f"more {i}", label) for i in range(n))
    return replace(state, examples=state.examples + more)


def test_frequent_classes_count_more_in_accuracy_than_in_macro_f1(even):
    state = add_texts(even, "c05", 900)  # the class has 1,000 texts, the others 100
    for scoring, ratio in [("accuracy", (1.2, 3)), ("neg_log_loss", (1.2, 3)), (None, (1.2, 3))]:
        weights = weights_of("auto", replace(state, scoring=scoring))
        low, high = ratio
        assert low < weights["c05"] / weights["c06"] < high
    for scoring in ("f1_macro", "balanced_accuracy", "recall_macro"):
        weights = weights_of("auto", replace(state, scoring=scoring))
        assert weights["c05"] / weights["c06"] == pytest.approx(1, rel=0.2)


def test_shares_that_chance_explains_do_not_count(even):
    rng = np.random.default_rng(0)
    draw = rng.choice(len(even.examples), 200)
    state = replace(even, examples=tuple(even.examples[i] for i in draw), scoring="accuracy")
    counts = Counter(e.label for e in state.examples)
    most, least = max(NAMES, key=counts.get), min(NAMES, key=counts.get)
    assert counts[most] > 2 * counts[least]
    weights = weights_of("auto", state)
    assert weights[most] < weights[least]  # the one with more texts needs them less


def test_a_class_that_has_run_out_is_hardly_asked_for(even):
    batch = Batch({"c03": 4, "c04": 4}, {"c04": 4})
    weights = weights_of("auto", replace(even, batches=(batch,)))
    assert weights["c03"] < 0.05 * weights["c04"]
    later = Batch({"c03": 1}, {"c03": 1})
    weights = weights_of("auto", replace(even, batches=(batch, later)))
    assert weights["c03"] > 0.1 * weights["c04"]


def test_past_gain_prefers_classes_whose_texts_helped(even):
    now = even.feedback.report
    before = replace(
        now, classes={**now.classes, "c07": replace(now.classes["c07"], f1=0.1)}
    )  # its F1 has risen since; c08's has not
    batch = Batch({"c07": 5, "c08": 5}, {"c07": 5, "c08": 5}, before)
    weights = weights_of("past_gain", replace(even, batches=(batch,)))
    assert weights["c07"] > 3 * weights["c08"]


def test_no_class_is_left_out(even):
    weights = weights_of("auto", even)
    assert min(weights.values()) >= 0.25 / len(weights) - 1e-9


def test_contrasts_name_what_a_class_is_mistaken_for():
    state = make_state()
    requests = PerformanceGuidedSampler().propose(state, 40, np.random.default_rng(0))
    contrasts = {k: v for r in requests for k, v in r.contrasts.items()}
    assert contrasts["c00"] == ("c01",)
    assert all(set(r.contrasts) <= set(r.counts) for r in requests)
    sampler = PerformanceGuidedSampler(contrast=False)
    assert not any(r.contrasts for r in sampler.propose(state, 40, np.random.default_rng(0)))


def test_one_text_that_was_refused_does_not_dry_a_class_out(even):
    asked = Batch(requested={"c05": 1, "c06": 3, "c07": 3}, counts={"c07": 1})
    weights = weights_of("auto", replace(even, batches=(asked,)))
    assert weights["c05"] > 0.2 * weights["c00"]
    assert weights["c06"] < 0.1 * weights["c00"]
    again = Batch(requested={"c06": 1, "c07": 2}, counts={"c06": 1})
    weights = weights_of("auto", replace(even, batches=(asked, again)))
    assert min(weights["c06"], weights["c07"]) > 0.1 * weights["c00"]


def test_of_a_class_without_a_text_no_weakness_is_known():
    state = make_state(skill=np.full(len(CLASSES), 0.8))
    report = state.feedback.report
    scores = {**report.classes, "c03": ClassScore(0.0, 0.0, 0.0, 0)}
    feedback = replace(state.feedback, report=replace(report, classes=scores))
    weights = dict(zip(NAMES, weigh("weakness", state, feedback)))
    known = [weight for name, weight in weights.items() if name != "c03"]
    assert weights["c03"] == pytest.approx(np.mean(known))
