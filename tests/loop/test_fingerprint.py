"""What a run depends on is described alike in all processes, and differs where that differs."""

import json
import os
import subprocess
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from pgkd.loop.fingerprint import describe


class Part:
    def __init__(self, **parts):
        self.__dict__ |= parts

    def method(self):
        pass


class Broken:
    def __repr__(self):
        raise RuntimeError


def make(number):
    """Return a function that has kept a number."""
    return lambda text: (text, number)


def fitted(c):
    return LogisticRegression(C=c).fit([[0.0], [1.0]], [0, 1])


#: Each a value and one that differs from it a little.
PAIRS = {
    "float": (1.0, 1.5),
    "numpy": (np.float32(0.5), np.float32(0.25)),
    "path": (Path("a") / "b", Path("a") / "c"),
    "dict": ({"a": 1, 2: "b"}, {"a": 1, 2: "c"}),
    "ordered": (OrderedDict(a=[1, (2,)]), OrderedDict(a=[1, (3,)])),
    "set": ({"a", "b", "c"}, {"a", "b", "d"}),
    "frozen": (frozenset(["x", "yy", "zzz"]), frozenset(["x", "yy"])),
    "type": (LogisticRegression, Part),
    "function": (lambda text: text + "a", lambda text: text + "b"),
    "closure": (make(1), make(2)),
    "default": (lambda text, n=1: text, lambda text, n=2: text),
    "method": (Part(a=1).method, Part(a=2).method),
    "partial": (partial(make, 1), partial(make, 2)),
    "keyword": (partial(make, number=1), partial(make, number=2)),
    "estimator": (LogisticRegression(C=1), LogisticRegression(C=2)),
    "random state": (np.random.RandomState(0), np.random.RandomState(1)),
    "array": (np.arange(100_000), np.arange(100_000) + 1),
    "shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "objects": (np.array(["a", None], dtype=object), np.array(["a", "b"], dtype=object)),
    "series": (pd.Series([1, 2]), pd.Series([1, 3])),
    "object": (Part(a=[1], b={"c"}), Part(a=[1], b={"d"})),
    "slice": (slice(1, 2), slice(1, 3)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_is_told_apart(name):
    first, second = map(describe, PAIRS[name])
    assert json.dumps(first) == json.dumps(describe(PAIRS[name][0]))
    assert json.dumps(first) != json.dumps(second)


def describe_all():
    return json.dumps({name: list(map(describe, pair)) for name, pair in PAIRS.items()})


def test_alike_in_all_processes():
    """Where sets have other orders, and objects other addresses."""
    here = describe_all()
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", "from test_fingerprint import *; print(describe_all())"],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        )
        assert run.stdout.strip() == here


def test_the_state_of_an_estimator_counts_where_it_is_used_as_it_is():
    new, old = LogisticRegression(C=2.0), fitted(2.0)
    assert describe(new) == describe(old)
    assert describe(new, with_state=True) != describe(old, with_state=True)


def test_what_cannot_be_described_does_no_harm():
    assert describe([Broken(), 1]) == ["Broken", 1]
    circle = []
    circle.append(circle)
    assert json.dumps(describe(circle)).endswith(
        '"list"' + "]" * json.dumps(describe(circle)).count("[")
    )
    many = describe([[n] * 100 for n in range(10**4)])
    assert len(json.dumps(many)) < 10**6
