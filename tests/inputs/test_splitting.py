import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.labels import to_array, to_sets
from pgkd.inputs.splitting import hold_out, make_folds


def different(y):
    return [f"text {i}" for i in range(len(y))]


labels = st.lists(st.integers(0, 8), min_size=4, max_size=80).map(np.array)


@given(labels, st.floats(0.1, 0.6), st.integers(0, 5))
def test_every_class_keeps_a_text(y, fraction, seed):
    largest = np.bincount(y).max()
    if largest == 1 or round(fraction * len(y)) == 0:
        return
    kept, held_out = hold_out(different(y), y, fraction, np.random.RandomState(seed))
    assert sorted([*kept, *held_out]) == list(range(len(y)))
    assert set(y[kept]) == set(y)
    possible = (np.bincount(y) - 1).clip(0).sum()
    assert len(held_out) <= max(round(fraction * len(y)), 1) <= len(y)
    assert len(held_out) >= min(round(fraction * len(y)), possible) - len(set(y))


def test_shares_are_proportional():
    y = np.repeat([0, 1, 2], [100, 40, 10])
    _, held_out = hold_out(different(y), y, 0.2, np.random.RandomState(0))
    assert np.bincount(y[held_out]).tolist() == [20, 8, 2]


def test_four_texts_a_class_give_one_each():
    y = np.repeat(np.arange(77), 4)
    _, held_out = hold_out(different(y), y, 0.25, np.random.RandomState(0))
    assert np.bincount(y[held_out]).tolist() == [1] * 77


def test_small_classes_share_the_gate_at_random():
    y = np.repeat(np.arange(50), 2)
    gates = [set(y[hold_out(different(y), y, 0.2, np.random.RandomState(s))[1]]) for s in (0, 1)]
    assert [len(gate) for gate in gates] == [20, 20]
    assert gates[0] != gates[1]


def test_singletons_cannot_spare_a_text():
    with pytest.raises(
        InvalidInputError, match=r"leave none to hold out: validation_fraction=0\.2"
    ):
        hold_out(different(range(10)), np.arange(10), 0.2, np.random.RandomState(0))


@given(labels, st.integers(0, 5))
def test_folds_cover_every_text_once(y, seed):
    if len(set(y)) < 2:
        return
    folds = make_folds(different(y), y, 5, seed)
    assert sorted(np.concatenate([fold for _, fold in folds])) == list(range(len(y)))
    for rest, fold in folds:
        assert not set(rest) & set(fold)
        assert len(rest) > 0


def test_copies_stay_together():
    texts = [f"text {i // 3}" + ["", "!", "  "][i % 3] for i in range(90)]
    y = np.arange(90) // 3 % 2
    for kept, held_out in [
        hold_out(texts, y, 0.2, np.random.RandomState(0)),
        *make_folds(texts, y, 5, 0),
    ]:
        assert len(held_out) == 18
        assert not {i // 3 for i in kept} & {i // 3 for i in held_out}


sets = st.lists(
    st.frozensets(st.sampled_from("abcde"), max_size=3).map(lambda s: tuple(sorted(s))),
    min_size=10,
    max_size=60,
).filter(any)


@given(sets, st.integers(0, 5))
def test_label_sets_are_dealt_out_whole(y, seed):
    y = to_array(y, np.array([]))
    kept, held_out = hold_out(different(y), y, 0.3, np.random.RandomState(seed))
    assert sorted([*kept, *held_out]) == list(range(len(y)))
    folds = make_folds(different(y), y, 5, seed)
    assert sorted(np.concatenate([fold for _, fold in folds])) == list(range(len(y)))
    assert all(sorted([*rest, *fold]) == list(range(len(y))) for rest, fold in folds)


def test_each_label_has_its_share():
    rng = np.random.RandomState(0)
    indicator = rng.rand(400, 6) < [0.5, 0.4, 0.2, 0.1, 0.05, 0.02]
    classes = np.array(list("abcdef"))
    y = to_array(to_sets(indicator, classes), classes)
    _, held_out = hold_out(different(y), y, 0.25, np.random.RandomState(0))
    counts = indicator.sum(axis=0)
    assert (abs(indicator[held_out].sum(axis=0) - counts / 4) <= 3).all()
    assert abs(len(held_out) - 100) <= 5
    for _, fold in make_folds(different(y), y, 5, 0):
        assert (abs(indicator[fold].sum(axis=0) - counts / 5) <= 3).all()


def test_a_label_s_only_text_is_learnt():
    y = to_array([("a",)] * 10 + [("a", "b")], np.array(["a", "b"]))
    for seed in range(5):
        kept, _ = hold_out(different(y), y, 0.3, np.random.RandomState(seed))
        assert 10 in kept


def test_copies_with_several_labels_stay_together():
    y = to_array([("a",)] * 10 + [("b",)] * 10, np.array(["a", "b"]))
    texts = [f"text {i // 2}" for i in range(20)]
    for rest, fold in make_folds(texts, y, 5, 0):
        assert not {texts[i] for i in rest} & {texts[i] for i in fold}


def test_too_few_label_sets_to_hold_out():
    y = to_array([("a",), ("b",)], np.array(["a", "b"]))
    with pytest.raises(InvalidInputError, match="leave none to hold out"):
        hold_out(["x", "y"], y, 0.1, np.random.RandomState(0))
