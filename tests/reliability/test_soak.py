"""A long run on a server that fails now and then: nothing piles up but what was bought."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import numpy as np
import psutil
import pytest
from conftest import make_classifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd.samplers import PerformanceGuidedSampler
from pgkd.teachers import OpenAITeacher

N_CYCLES = 100
N_CONCURRENT = 64
FAULT_RATE = 0.05
#: All that the server can play, each as frequent as the others.
FAULTS = (
    *("429", "500", "503", "529", "hang_up", "reset_mid_body", "slow_body:0.5", "stall:0.5"),
    *("huge_body", "broken_document", "empty_choices", "wrong_usage", "truncated"),
    *("wrong_labels", "duplicates", "refusal"),
)
#: Cycles after which all is warm: caches are full, libraries have their threads.
N_WARM = 20
#: What a cycle may leave behind for good.
MAX_HANDLES, MAX_BYTES = 0.2, 200_000
#: And a new text, which several students have learnt.
MAX_BYTES_PER_TEXT = 20_000


@contextmanager
def serve_with_faults(is_repeating, told):
    """Yield the address of a server in a process of its own; `told` has then what it counted."""
    rates = dict.fromkeys(FAULTS, FAULT_RATE / len(FAULTS))
    if is_repeating:
        rates["duplicates"] += 1 - FAULT_RATE
    command = [sys.executable, "-m", "pgkd.testing.fault_server", "--latency", "0.2,0.5"]
    command += [f"--rate={fault}={rate}" for fault, rate in rates.items()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            told.update(json.loads(process.communicate(timeout=30)[0]))


class Gauge:
    """A callback that looks at the process and its store after each cycle."""

    def __init__(self, store):
        self.store = store
        self.samples = []
        self.n_connections = 0  # at once, at most
        self._process = psutil.Process()

    def on_event(self, event):
        n_connections = len(self._process.net_connections())
        self.n_connections = max(self.n_connections, n_connections)
        if event.kind != "step" or event.value.route != "write":
            return
        with closing(sqlite3.connect(self.store)) as connection:
            n_answers = connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
        self.samples.append(
            {
                "memory": self._process.memory_info().rss,
                "threads": self._process.num_threads(),
                "files": self._process.num_fds(),
                "connections": n_connections,
                "answers": n_answers,
                "store": self.store.stat().st_size,
            }
        )

    def __getitem__(self, name):
        return np.array([sample[name] for sample in self.samples], dtype=float)


def soak(folder, data, n_cycles, n_concurrent, *, is_repeating=False):
    """Run so many cycles, each of twice as many requests as may be under way."""
    gauge, told = Gauge(folder / "run.sqlite"), {}
    classifier = make_classifier(
        None,
        make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)),
        PerformanceGuidedSampler(texts_per_request=1, classes_per_request=1),
        max_cycles=n_cycles,
        samples_per_cycle=2 * n_concurrent,
        run_dir=folder,
        callbacks=[gauge],
        random_state=0,
        validation_fraction=0.3,
        synthetic_weight=1.0,
        keep_all=True,
        patience=n_cycles + 1,
    )
    with serve_with_faults(is_repeating, told) as url:
        teacher = OpenAITeacher("any", base_url=url, max_concurrency=n_concurrent)
        start = time.perf_counter()
        classifier.set_params(teacher=teacher).fit(*data)
        told["seconds"] = time.perf_counter() - start
    return classifier, gauge, told


def slope(values, by=None):
    return np.polyfit(np.arange(len(values)) if by is None else by, values, 1)[0]


def check(classifier, gauge, told, n_cycles, n_concurrent, n_warm):
    assert classifier.stop_reason_ == "max_cycles"
    assert classifier.n_cycles_ == n_cycles
    assert gauge.n_connections == n_concurrent
    # Each request is on the bill, whatever became of it.
    assert classifier.usage_.n_requests == told["n_requests"] > 1.5 * n_concurrent * n_cycles
    assert told["n_faults"] > 0.02 * told["n_requests"]
    for name in ("threads", "files", "connections"):
        assert abs(slope(gauge[name][n_warm:])) < MAX_HANDLES, (name, gauge[name])
    answers, store = gauge["answers"], gauge["store"]
    line = np.poly1d(np.polyfit(answers, store, 1))
    assert abs(store - line(answers)).max() < 0.02 * store[-1] + 16_384  # some pages
    assert 100 < line.coef[0] < 2_000


# Requests that fail for good, by refusals, are told after each cycle; they are a part of this.
ignore_failures = pytest.mark.filterwarnings("ignore:.* requests failed, the first one because")


@ignore_failures
def test_some_cycles(tmp_path, data):
    check(*soak(tmp_path, data, 8, 16), 8, 16, n_warm=2)


@pytest.mark.slow
@ignore_failures
def test_memory_does_not_grow_with_cycles(tmp_path, data):
    """The same text again and again: there is nothing to learn, and nothing to keep of it."""
    found = soak(tmp_path, data, N_CYCLES, N_CONCURRENT, is_repeating=True)
    check(*found, N_CYCLES, N_CONCURRENT, N_WARM)
    assert slope(found[1]["memory"][N_WARM:]) < MAX_BYTES


@pytest.mark.slow
@ignore_failures
def test_memory_grows_with_the_texts_that_are_learnt(tmp_path, data):
    found = soak(tmp_path, data, N_CYCLES, N_CONCURRENT)
    check(*found, N_CYCLES, N_CONCURRENT, N_WARM)
    gauge = found[1]
    assert slope(gauge["memory"][N_WARM:], gauge["answers"][N_WARM:]) < MAX_BYTES_PER_TEXT
