"""Fits that tests cut off: small, of all routes, alike each time, and logged line by line."""

import contextlib
import json
import os
import re
import sqlite3
import sys
import time
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

from conftest import WORDS, write_hard
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import Evidence, PGKDClassifier
from pgkd.records import Completion, Usage
from pgkd.teachers import LLMTeacher

LABELLED = [(write_hard(label, i), label) for i in range(8) for label in WORDS]
POOL = [write_hard(label, i) for i in range(100, 130) for label in WORDS]
TEXTS = [write_hard(label, i) for i in range(500, 520) for label in WORDS]
#: What must be the same however often a fit was cut off.
OUTCOME = ("probabilities", "history", "synthetic", "stop_reason", "comparison", "tokens")


class Log:
    """Lines in a file; the process gets a signal when it has written a number of some kind."""

    path = os.devnull
    signal_at = ("", 0, 0)  # kind, number from 1, signal
    counts = {}  # noqa: RUF012

    @classmethod
    def begin(cls, path, signal_at=("", 0, 0)):
        cls.path, cls.signal_at, cls.counts = path, signal_at, {}

    @classmethod
    def write(cls, kind):
        with open(cls.path, "a") as file:
            file.write(kind + "\n")
        cls.counts[kind] = cls.counts.get(kind, 0) + 1
        if cls.signal_at[:2] == (kind, cls.counts[kind]):
            os.kill(os.getpid(), cls.signal_at[2])


class Counted(LogisticRegression):
    """A student that logs its trainings, and that it is saved."""

    def fit(self, X, y, sample_weight=None):
        Log.write("training")
        time.sleep(float(os.environ.get("TRAINING_SECONDS", 0)))
        return super().fit(X, y, sample_weight)

    def __getstate__(self):
        Log.write("saving")
        return super().__getstate__()


def count_right(model, X, y):
    """Score, as "accuracy" does, and log that."""
    Log.write("scoring")
    return float((model.predict(X) == y).mean())


def answer(prompt, schema):
    """Write, describe or label, by the request alone, and not always rightly."""
    seed = zlib.crc32(prompt.encode())
    names = schema["properties"]
    if not next(iter(names)).isdigit():
        return json.dumps({name: [write_hard(name, seed + i) for i in range(2)] for name in names})
    options = dict(re.findall(r'^([A-Z])\. "(\w+)"', prompt, re.MULTILINE))
    letters = {label: letter for letter, label in options.items()}
    texts = dict(re.findall(r'^Text (\d+): "(.*)"', prompt, re.MULTILINE))
    return json.dumps({n: letters[re.search(r"(\w+?)\d+$", t)[1]] for n, t in texts.items()})


class Speaker(LLMTeacher):
    """Answers by `answer`, and logs what it was asked."""

    price = (1.0, 1.0)
    _without_effect = LLMTeacher._without_effect | {"seconds"}

    def __init__(self, seconds=0.0, max_concurrency=1):
        self.seconds = seconds
        self.max_concurrency = max_concurrency

    @property
    def n_workers(self):
        """With one after the other, a budget ends it at one place."""
        return self.max_concurrency

    def complete(self, messages, *, schema):
        Log.write("asked")
        time.sleep(self.seconds)
        text = answer(messages[1]["content"], schema)
        Log.write("answered")
        return Completion(text, Usage(1, 500, 100, cost=None))


class Other(Speaker):
    """Another one."""


class Steps:
    """Logs the steps, and the answers when they are used."""

    def on_event(self, event):
        if event.kind in ("step", "generation"):
            Log.write(event.kind)


def make_classifier(run_dir, teacher=None, **params):
    params = {
        "max_cycles": 4,
        "samples_per_cycle": 12,
        "evidence": Evidence(probe_size=10),
        "random_state": 0,
        "callbacks": [Steps()],
        **params,
    }
    student = make_pipeline(TfidfVectorizer(), Counted())
    return PGKDClassifier(teacher or Speaker(), student, run_dir=run_dir, **params)


def fit(run_dir, signal_at=("", 0, 0), *, save_to=None, **params):
    """Fit in this process, and describe what came out."""
    log = Path(f"{run_dir}.{os.environ.get('RANK', 0)}.log")
    log.unlink(missing_ok=True)
    Log.begin(log, signal_at)
    X, y = zip(*LABELLED)
    clf = make_classifier(run_dir, **params)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf.fit(list(X), list(y), X_unlabeled=POOL)
    if save_to is not None:
        clf.save(save_to)
    return {
        "probabilities": clf.predict_proba(TEXTS).tolist(),
        "history": [
            repr(replace(s, usage=Usage(), saved=Usage(), seconds=0, seconds_left=None))
            for s in clf.history_
        ],
        "tokens": [(s.usage + s.saved).input_tokens for s in clf.history_],
        "routes": [s.route for s in clf.history_],
        "synthetic": [repr(t) for t in clf.synthetic_],
        "stop_reason": clf.stop_reason_,
        "comparison": repr(clf.comparison_),
        "n_requests": clf.usage_.n_requests,
        "log": log.read_text().split(),
        "warnings": [str(w.message) for w in caught],
    }


def read_log(run_dir, rank=0):
    """What a fit has logged, that was cut off perhaps."""
    path = Path(f"{run_dir}.{rank}.log")
    return path.read_text().split() if path.exists() else []


def count_answers(run_dir):
    """How many are in the store of a fit, that was cut off perhaps."""
    path = run_dir / "run.sqlite"
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0]


def check_outcome(found, expected):
    """Assert that a fit that was cut off has ended as one that was not."""
    assert {name: found[name] for name in OUTCOME} == {name: expected[name] for name in OUTCOME}


if __name__ == "__main__":  # under torchrun
    folder = Path(sys.argv[1])
    found = fit(folder / "run", teacher=Speaker(0.02, 4), max_cycles=2)
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
