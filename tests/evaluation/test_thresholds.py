import numpy as np
import pytest

from pgkd.evaluation.thresholds import (
    Trial,
    choose_rules,
    cross_fit,
    divide_level,
    find_least_sure,
    to_array,
)


def make_trial(*leads):
    """A class for each argument: the lead on its texts, the least confident first."""
    predicted = np.repeat(range(len(leads)), [len(lead) for lead in leads])
    confidence = np.concatenate([np.arange(len(lead)) / 100 + 0.3 for lead in leads])
    return Trial(predicted, confidence, np.concatenate(leads).astype(int))


@pytest.mark.parametrize(
    ("lead", "n_escalated", "n_won", "n_lost", "p_value"),
    [
        # 4, 8, 12 or 16 texts; the last three could pass, so 0.025 / 3 is the level.
        ([1] * 16, 16, 16, 0, 1 / 2**16),
        # 12 of 16 would have p = 2517 / 65536 = 0.038.
        ([1] * 12 + [-1] * 4, 12, 12, 0, 1 / 2**12),
        # 9 won and 1 lost of 12 texts is no more on balance than 8 won of 9 texts.
        ([1] * 8 + [0, 0, 1, -1], 9, 8, 0, 1 / 2**8),
        # Five texts cannot pass as a class, and do at the level of all classes, 0.05.
        ([1] * 5, 5, 5, 0, 1 / 32),
        ([1] * 4, 0, 4, 0, 1 / 16),
        ([1] * 6 + [-1], 0, 6, 1, 8 / 128),
        ([-1] * 20, 0, 0, 20, 1.0),
        ([0] * 20, 0, 0, 0, 1.0),
    ],
)
def test_thresholds_by_hand(lead, n_escalated, n_won, n_lost, p_value):
    trial = make_trial(lead)
    [rule] = choose_rules(trial, 1, 0.05)
    assert (trial.confidence <= rule.threshold).sum() == n_escalated
    assert (rule.n_won, rule.n_lost) == (n_won, n_lost)
    assert rule.p_value == pytest.approx(p_value)


def test_a_class_by_itself_and_the_rest_together():
    # Class 0 wins by itself; 1 and 2 only together; 3 has no text.
    few = [1] * 5
    trial = make_trial([1] * 16, few, few)
    rules = choose_rules(trial, 4, 0.05)
    assert [rule.classes for rule in rules] == [(0,), (1, 2, 3)]
    assert [(rule.n_won, rule.n_lost) for rule in rules] == [(16, 0), (10, 0)]
    thresholds = to_array(rules, 4)
    assert thresholds[0] > thresholds[1] == thresholds[2] == thresholds[3] > 0


def test_a_class_that_wins_does_not_carry_the_others():
    rules = choose_rules(make_trial([1] * 40, [-1] * 5, [-1] * 5), 3, 0.05)
    assert to_array(rules, 3).tolist() == [pytest.approx(0.69), 0, 0]


def test_every_class_wins_by_itself():
    rules = choose_rules(make_trial([1] * 16, [1] * 16), 2, 0.05)
    assert [rule.classes for rule in rules] == [(0,), (1,)]


def test_no_text():
    [rule] = choose_rules(make_trial([]), 1, 0.05)
    assert (rule.threshold, rule.p_value) == (0, 1)


@pytest.mark.parametrize(
    ("n_discordant", "divisor"), [([], 1), ([4], 1), ([5], 1), ([6] * 3, 3), ([6, 6, 5, 5, 1], 2)]
)
def test_tests_that_cannot_pass_take_no_share(n_discordant, divisor):
    assert divide_level(n_discordant, 0.05) == 0.05 / divisor


@pytest.mark.parametrize("n_classes", [1, 4])
def test_a_teacher_that_is_as_good_is_rarely_escalated_to(n_classes):
    """At the edge of what the tests must refuse: who is right is the toss of a coin."""
    rng = np.random.default_rng(0)
    n_sets, n_texts = 300, 80
    n_wrong = 0
    for _ in range(n_sets):
        trial = Trial(
            rng.integers(n_classes, size=n_texts), rng.random(n_texts), rng.choice([-1, 1], n_texts)
        )
        n_wrong += bool(to_array(choose_rules(trial, n_classes, 0.2), n_classes).any())
    assert 0.02 * n_sets < n_wrong < 0.2 * n_sets


def test_cross_fit_does_not_look_at_the_own_fold():
    trial = make_trial([1] * 30)
    assert cross_fit(trial, np.arange(30) % 5, 1, 0.05).sum() >= 28  # but for the highest
    # All wins are in fold 0, so it is the only one that has no reason for a threshold.
    mixed = make_trial([1, 0] * 15)
    escalated = cross_fit(mixed, np.arange(30) % 2, 1, 0.05)
    assert not escalated[::2].any()
    assert escalated[1::2].any()


def test_the_least_sure():
    confidence = np.array([0.9, 0.5, 0.6, 0.6, 0.4])
    assert find_least_sure(confidence, 0.4).tolist() == [1, 4]
    assert find_least_sure(confidence, 0.6).tolist() == [1, 4]  # ties stay together
    assert find_least_sure(confidence, 0.8).tolist() == [1, 2, 3, 4]
    assert find_least_sure(confidence, 1.0).tolist() == [0, 1, 2, 3, 4]
    assert find_least_sure(np.full(5, 0.5), 0.9).tolist() == []
