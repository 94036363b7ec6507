import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd.exceptions import InvalidInputError
from pgkd.splitting import hold_out, make_folds


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
