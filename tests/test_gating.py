"""What the gate decides, at its edges."""

import numpy as np
import pytest

from pgkd.gating import Judge
from pgkd.learning import LabelledTexts
from pgkd.selection import Version

CLASSES = np.array(["a", "b"])


def make_judge(n, **params):
    gate = LabelledTexts([f"t{i}" for i in range(n)], np.array(["a"] * n))
    params = {"scoring": "accuracy", "rollback": True, "seed": 0} | params
    return Judge(gate, CLASSES, **params)


def make_candidate(judge, n_right, cycle=1):
    p = np.full(len(judge.gate), 0.4)
    p[:n_right] = 0.6
    return judge.assess(cycle, Version((), ()), np.column_stack([p, 1 - p]))


@pytest.mark.parametrize("n", [7, 10, 49, 160])
def test_one_text_more_is_no_gain_however_it_is_rounded(n):
    judge = make_judge(n)
    taken = {
        judge.choose(make_candidate(judge, k + 1), make_candidate(judge, k, 0)).taken
        for k in range(n)
    }
    assert taken == {False}


def test_a_gain_beyond_chance_is_taken():
    judge = make_judge(50)
    choice = judge.choose(make_candidate(judge, 40), make_candidate(judge, 30, 0))
    assert (choice.taken, choice.rule, choice.last_cycle) == (True, "one standard error", 1)


def test_a_fall_beyond_chance_is_rolled_back():
    judge = make_judge(50)
    best, worse = make_candidate(judge, 40), make_candidate(judge, 30)
    assert "fell by 0.2" in judge.reason_to_roll_back(worse, best)
    assert judge.reason_to_roll_back(make_candidate(judge, 39), best) is None
    open_gate = make_judge(50, rollback=False)
    assert open_gate.reason_to_roll_back(worse, best) is None
    assert open_gate.choose(worse, best).rule == "last student"
