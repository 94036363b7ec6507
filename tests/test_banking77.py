"""The promise on real data: an ideal teacher helps, one that is always wrong does no harm."""

import csv

import numpy as np
import pytest
from local_models import fetch_minilm
from sklearn.base import BaseEstimator, clone

from pgkd import PGKDClassifier
from pgkd.records import Example, Generation
from pgkd.samplers import UnguidedSampler
from pgkd.students import EmbeddingStudent
from pgkd.testing import PoolTeacher

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def banking77(shared_data):
    """300 labelled texts, a hidden pool, and texts to judge by; never the test file."""
    with open(shared_data / "banking77" / "train.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts, y = [row["text"] for row in rows], np.array([row["label"] for row in rows])
    chosen = np.isin(y, np.unique(y)[:25])  # a third of the classes, for speed
    rows = np.random.default_rng(0).permutation(np.flatnonzero(chosen))
    return [([texts[i] for i in part], y[part]) for part in np.split(rows, [200, 1200])][:3]


class WrongTeacher(BaseEstimator):
    def __init__(self, pool):
        self.pool = pool

    def generate(self, requests):
        labels = sorted(set(self.pool.labels.tolist()))
        for generation in self.pool.generate(requests):
            examples = tuple(
                Example(e.text, labels[labels.index(e.label) - 1]) for e in generation.examples
            )
            yield Generation(generation.request, examples)


def test_ideal_and_wrong_teacher(banking77):
    labelled, pool, judge = banking77
    student = EmbeddingStudent(fetch_minilm())
    baseline = clone(student).fit(*labelled).score(*judge)
    accuracy = {}
    for teacher in (PoolTeacher(*pool, known=labelled), WrongTeacher(PoolTeacher(*pool))):
        clf = PGKDClassifier(
            teacher,
            student,
            UnguidedSampler(),
            max_cycles=3,
            samples_per_cycle=75,
            random_state=0,
        ).fit(*labelled)
        accuracy[type(teacher).__name__] = clf.score(*judge)
    assert accuracy["PoolTeacher"] > baseline + 0.02
    assert accuracy["WrongTeacher"] > baseline - 0.02
