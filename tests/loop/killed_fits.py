"""What `test_checkpoint.py` starts: fits that are killed and go on, each in a process of its own.

The processes are forks of this one, which has imported everything.
"""

import json
import os
import re
import signal
import sys
import traceback
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


class Log:
    """Lines in a file; the process is killed when it has written a number of some kind."""

    path = None
    kill_at = ("", 0)  # kind, number from 1
    counts = {}  # noqa: RUF012

    @classmethod
    def write(cls, kind):
        with open(cls.path, "a") as file:
            file.write(kind + "\n")
        cls.counts[kind] = cls.counts.get(kind, 0) + 1
        if cls.kill_at == (kind, cls.counts[kind]):
            os.kill(os.getpid(), signal.SIGKILL)


class Counted(LogisticRegression):
    """A student that logs its trainings."""

    def fit(self, X, y, sample_weight=None):
        Log.write("training")
        return super().fit(X, y, sample_weight)


class Speaker(LLMTeacher):
    """Writes, describes and labels, each answer by its request alone, and not always rightly."""

    max_concurrency = n_workers = 1  # one after the other, so that a budget ends it at one place
    price = (1.0, 1.0)

    def complete(self, messages, *, schema):
        prompt = messages[1]["content"]
        Log.write("asked")
        seed = zlib.crc32(prompt.encode())
        names = schema["properties"]
        if next(iter(names)).isdigit():
            options = dict(re.findall(r'^([A-Z])\. "(\w+)"', prompt, re.MULTILINE))
            letters = {label: letter for letter, label in options.items()}
            texts = dict(re.findall(r'^Text (\d+): "(.*)"', prompt, re.MULTILINE))
            answer = {n: letters[re.search(r"(\w+?)\d+$", t)[1]] for n, t in texts.items()}
        else:
            answer = {name: [write_hard(name, seed + i) for i in range(2)] for name in names}
        Log.write("answered")
        return Completion(json.dumps(answer), Usage(1, 500, 100, cost=None))


class Other(Speaker):
    """Another one."""


class Steps:
    """Logs the steps."""

    def on_event(self, event):
        if event.kind == "step":
            Log.write("step")


def make_classifier(run_dir, **params):
    params = {
        "max_cycles": 4,
        "samples_per_cycle": 12,
        "evidence": Evidence(probe_size=10),
        "random_state": 0,
        "callbacks": [Steps()],
        **params,
    }
    student = make_pipeline(TfidfVectorizer(), Counted())
    return PGKDClassifier(Speaker(), student, run_dir=run_dir, **params)


def fit(run_dir, kill_at=("", 0), **params):
    """Fit in this process, and describe what came out."""
    Log.path, Log.kill_at, Log.counts = f"{run_dir}.log", kill_at, {}
    X, y = zip(*LABELLED)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = make_classifier(run_dir, **params).fit(list(X), list(y), X_unlabeled=POOL)
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
        "log": Path(Log.path).read_text().split(),
        "warnings": [str(w.message) for w in caught],
    }


def fork(*args, **params):
    """Fit in a process; ``None`` if it was killed."""
    out = Path(f"{args[0]}.json")
    out.unlink(missing_ok=True)
    Path(f"{args[0]}.log").unlink(missing_ok=True)
    child = os.fork()
    if not child:
        try:
            out.write_text(json.dumps(fit(*args, **params)))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    if out.exists():
        return json.loads(out.read_text())
    return None


def main(folder, cases, **params):
    """Fit once to the end; and for each case be killed, and go on."""
    found = {"whole": fork(folder / "whole", **params)}
    for kind, number in cases:
        run_dir = folder / f"{kind}-{number}"
        killed = fork(run_dir, (kind, number), **params)
        assert killed is None, f"{kind} {number} did not happen"
        log = Path(f"{run_dir}.log").read_text().split()
        found[f"{kind} {number}"] = [log, fork(run_dir, **params)]
    return found


if __name__ == "__main__":
    folder, arguments = Path(sys.argv[1]), json.loads(sys.argv[2])
    params = {**arguments.get("params", {})}
    if "evidence" in params:
        params["evidence"] = Evidence(**params["evidence"])
    cases = [tuple(case) for case in arguments["cases"]]
    (folder / "found.json").write_text(json.dumps(main(folder, cases, **params)))
