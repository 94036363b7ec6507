"""A long run on a server that fails now and then: nothing piles up but what was bought."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from conftest import make_classifier
from pgkd.samplers import PerformanceGuidedSampler
from pgkd.teachers import OpenAITeacher

N_CYCLES = 100
N_CONCURRENT = 64
FAULT_RATE = 0.05
#: All that the server can play, in its own words; each is as frequent as the others.
FAULTS = (
    *("429", "500", "503", "529", "hang_up", "reset_mid_body", "slow_body:0.5", "stall:0.5"),
    *("huge_body", "broken_document", "empty_choices", "wrong_usage", "truncated"),
    *("wrong_labels", "duplicates", "refusal"),
)
N_WARM = 20
#: Growth in a cycle that is a leak.
MAX_HANDLES = 0.2
MAX_BYTES = 200_000


@contextmanager
def serve_with_faults():
    """Yield the address of a server in a process of its own, and what it tells in the end."""
    command = [sys.executable, "-m", "pgkd.testing.fault_server", "--latency", "0.2,0.5"]
    for fault in FAULTS:
        command += ["--rate", f"{fault}={FAULT_RATE / len(FAULTS)}"]
    told = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip(), told
        finally:
            process.send_signal(signal.SIGTERM)
            told |= json.loads(process.communicate(timeout=30)[0])


class Gauge:
    """A callback that looks at the process after each cycle."""

    def __init__(self, store):
        self.store = store
        self.samples = []
        self.n_connections = 0  # at once, at most
        self._process = psutil.Process()

    def on_event(self, event):
        if event.kind == "generation":
            n = len(self._process.net_connections())
            self.n_connections = max(self.n_connections, n)
        elif event.kind == "step" and event.value.route == "write":
            self.samples.append(
                {
                    "bytes": self._process.memory_info().rss,
                    "threads": self._process.num_threads(),
                    "files": self._process.num_fds(),
                    "connections": len(self._process.net_connections()),
                    "store": self.store.stat().st_size,
                    "seconds": event.value.seconds,
                }
            )

    def table(self):
        return {name: np.array([s[name] for s in self.samples], float) for name in self.samples[0]}


def soak(folder, data, n_cycles, n_concurrent):
    gauge = Gauge(folder / "run.sqlite")
    with serve_with_faults() as (url, told), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = make_classifier(
            OpenAITeacher("any", base_url=url, max_concurrency=n_concurrent),
            make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)),
            PerformanceGuidedSampler(texts_per_request=1, classes_per_request=1),
            max_cycles=n_cycles,
            samples_per_cycle=2 * n_concurrent,
            run_dir=folder,
            callbacks=[gauge],
            random_state=0,
            validation_fraction=0.3,
            keep_all=True,
            synthetic_weight=1.0,
            patience=n_cycles + 1,
        )
        start = time.perf_counter()
        classifier.fit(*data)
        told["wall"] = time.perf_counter() - start
    return classifier, gauge, told, caught


def slope(values):
    return np.polyfit(np.arange(len(values)), values, 1)[0]
