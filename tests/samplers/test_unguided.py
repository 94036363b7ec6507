from collections import Counter

import numpy as np
import pytest
from conftest import Recorder, WordTeacher, make_classifier

from pgkd.records import Example, State
from pgkd.samplers import UnguidedSampler
from pgkd.testing import check_sampler

STATE = State(
    1,
    ("many", "few", "none"),
    (*(Example(f"many {i}", "many") for i in range(14)), Example("few", "few")),
)


@pytest.mark.parametrize(
    ("quota", "counts"),
    [
        ("uniform", {"many": 16, "few": 16, "none": 16}),
        ("prior", {"many": 42, "few": 3, "none": 3}),
    ],
)
def test_quota(quota, counts):
    """A class without a text counts as if it had one."""
    requests = UnguidedSampler(quota=quota).propose(STATE, 48, np.random.default_rng(0))
    assert sum((Counter(r.counts) for r in requests), Counter()) == counts


def test_unknown_quota():
    with pytest.raises(ValueError, match="'quota' parameter of UnguidedSampler"):
        UnguidedSampler(quota="weakness").propose(STATE, 1, np.random.default_rng(0))


def test_conforms():
    check_sampler(UnguidedSampler(quota="prior"))


def test_all_at_once(data, student):
    """The one-shot control of ZeroGen needs no code of its own."""
    recorder = Recorder()
    clf = make_classifier(
        WordTeacher(),
        student,
        sampler=UnguidedSampler(),
        max_cycles=1,
        samples_per_cycle=60,
        synthetic_weight=1.0,
        callbacks=[recorder],
        random_state=0,
    ).fit(*data)
    assert sum(request.n_texts for request in recorder.requests) == 60
    assert {request.id.split("-")[0] for request in recorder.requests} == {"1"}
    assert all(request.report is None for request in recorder.requests)
    assert clf.n_cycles_ == 1
