"""A spent budget, and a run that goes on: what was paid for is kept, and paid for once.

Kills, Ctrl-C and damage are in `tests/reliability`.
"""

import json
import re
import time

import pytest
from conftest import WORDS, write_text
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from pgkd import Evidence, PGKDClassifier
from pgkd.records import Completion, Usage
from pgkd.samplers import UnguidedSampler
from pgkd.teachers import LLMTeacher


class Writer(LLMTeacher):
    """Takes its time, and logs the beginning and the end of each answer."""

    max_concurrency = 4
    price = (1.0, 1.0)

    def __init__(self, log, seconds=0.0):
        self.log = log
        self.seconds = seconds

    def complete(self, messages, *, schema):
        with open(self.log, "a") as file:
            file.write("asked\n")
        time.sleep(self.seconds)
        number = re.search(r"Request (\d+)-(\d+)", messages[1]["content"])
        i = 100 * int(number[1]) + int(number[2])
        answer = {name: [write_text(name, i)] for name in schema["properties"]}
        with open(self.log, "a") as file:
            file.write("answered\n")
        return Completion(json.dumps(answer), Usage(1, 500, 100, cost=None))


def make_classifier(teacher, run_dir, **params):
    params = {"max_cycles": 2, "samples_per_cycle": 24, "random_state": 0} | params
    params = {"routes": ("write",), "evidence": Evidence(probe_size=0)} | params
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    sampler = UnguidedSampler(texts_per_request=2, classes_per_request=1)
    return PGKDClassifier(teacher, student, sampler, run_dir=run_dir, **params)


def count(tmp_path, what):
    path = tmp_path / "log"
    return path.read_text().split().count(what) if path.exists() else 0


def test_the_budget_ends_fit_well(tmp_path, data):
    # A request may take 4,096 tokens of output, and takes 600 in all.
    clf = make_classifier(Writer(tmp_path / "log"), None, max_tokens=8_000, max_cycles=9)
    clf.fit(*data)
    assert clf.stop_reason_ == "budget"
    assert 3_000 < clf.usage_.input_tokens + clf.usage_.output_tokens <= 8_000
    assert clf.score(*data) > 0.5


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.filterwarnings("ignore:The budget|`run_dir` .* holds a run with other")
def test_a_search_shares_the_budget_of_its_run_dir(tmp_path, data, n_jobs):
    clf = make_classifier(Writer(tmp_path / "log"), tmp_path / "run", max_tokens=12_000)
    grid = {"random_state": [0, 1, 2, 3]}
    search = GridSearchCV(clf, grid, cv=2, n_jobs=n_jobs, refit=False, error_score="raise")
    search.fit(*data)
    # Without the ledger, 8 fits would take up to 12,000 tokens each.
    assert 7_000 < count(tmp_path, "asked") * 600 <= 12_000


@pytest.mark.filterwarnings("ignore:`run_dir` .* holds a run with other")  # each fit's own folds
def test_a_search_buys_no_answer_twice(tmp_path, data):
    clf = make_classifier(Writer(tmp_path / "log"), tmp_path / "run", max_cycles=1)
    asked = []
    for values in ([1], [1, 10], [1, 10]):
        grid = {"student__logisticregression__C": values}
        GridSearchCV(clf, grid, cv=2, error_score="raise").fit(*data)
        asked.append(count(tmp_path, "asked"))
    assert 0 < asked[1] < 2 * asked[0]
    assert asked[2] == asked[1]


def test_a_run_that_goes_on_decides_as_one_that_was_never_stopped(tmp_path):
    X, y = zip(*[(write_text(label, i), label) for i in range(20) for label in WORDS])
    clfs = [
        make_classifier(Writer(str(tmp_path / "log")), tmp_path, max_cycles=3).fit(X, y)
        for _ in range(2)
    ]
    assert clfs[0].stop_reason_ == clfs[1].stop_reason_
    assert clfs[1].usage_ == Usage()
    assert [s.saved for s in clfs[1].history_] == [s.usage for s in clfs[0].history_]
    assert clfs[1].synthetic_ == clfs[0].synthetic_
    assert all(text.cost > 0 for text in clfs[1].synthetic_)
    assert clfs[1].saved_usage_ == clfs[0].usage_
    assert "of the answers had been kept in `run_dir`" in str(clfs[1].report())
    assert "answers had been kept" not in str(clfs[0].report())
