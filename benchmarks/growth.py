"""How the time, the memory and the tokens of `fit` grow, and what the loop itself takes.

    python benchmarks/growth.py DATA [--student tfidf] [--only classes cycles texts]

The classes of naics4, banking77 and hint3_curekart together, the most frequent ones of the 374;
800 labelled texts; all defaults, but as many cycles and texts a cycle as the table says. One
number is varied at a time: classes, cycles, or generated texts a cycle.

The teacher serves hidden real texts at once, so that nothing hides what the loop takes. It counts
as tokens what the requests and answers of an LLM teacher would be, 4.5 bytes each. "Overhead" is
the share of `fit` in which neither the student is trained or asked nor the teacher answers. Each
measurement is a process of its own. A run that is in the results is not run again.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import RESULTS, append, read, read_rows, split_train
from ideal_teacher import make_student
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from pgkd import Evidence, PGKDClassifier
from pgkd.loop.planning import BYTES_PER_TOKEN
from pgkd.records import Usage
from pgkd.teachers.prompts.writing import render
from pgkd.testing import PoolTeacher

SETS = ("naics4", "banking77", "hint3_curekart")
N_LABELLED = 800
BASE = {"classes": 64, "cycles": 4, "texts": 100}
VALUES = {
    "classes": (4, 16, 64, 256, 374),
    "cycles": (1, 2, 4, 8),
    "texts": (50, 100, 200, 400),
}
KEYS = ("student", *BASE)

#: Seconds in the student and in the teacher.
SPENT: Counter[str] = Counter()


class Timed:
    """Adds the time inside to what its kind has taken; calls inside calls count once."""

    depth = 0

    def __init__(self, kind):
        self.kind = kind

    def __enter__(self):
        self.start = time.perf_counter()
        Timed.depth += 1

    def __exit__(self, *_):
        Timed.depth -= 1
        if Timed.depth == 0:
            SPENT[self.kind] += time.perf_counter() - self.start


class TimedStudent(ClassifierMixin, BaseEstimator):
    """Counts the seconds in a student."""

    def __init__(self, student, random_state=None):
        self.student = student
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        with Timed("student"):
            student = clone(self.student)
            seeds = [name for name in student.get_params() if name.endswith("random_state")]
            student.set_params(**dict.fromkeys(seeds, self.random_state))
            fit_params = {}
            if sample_weight is not None:
                last = f"{student.steps[-1][0]}__" if hasattr(student, "steps") else ""
                fit_params = {f"{last}sample_weight": sample_weight}
            self.student_ = student.fit(X, y, **fit_params)
            self.classes_ = self.student_.classes_
        return self

    def predict_proba(self, X):
        with Timed("student"):
            return self.student_.predict_proba(X)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class TimedTeacher(PoolTeacher):
    """Counts its own seconds, and the tokens that an LLM would take."""

    def generate(self, requests):
        with Timed("teacher"):
            generations = [self._count(g) for g in super().generate(requests)]
        yield from generations

    @staticmethod
    def _count(generation):
        prompt = "".join(message["content"] for message in render(generation.request))
        answer = json.dumps([example.text for example in generation.examples])
        tokens = [round(len(text.encode()) / BYTES_PER_TOKEN[0]) for text in (prompt, answer)]
        return replace(generation, usage=Usage(1, *tokens))


def load(data, n_classes):
    texts, labels = [], []
    for name in SETS:
        own, y = read(data / name / "train.csv")
        texts += own
        labels += [f"{name}: {label}" for label in y]
    frequent = {label for label, _ in Counter(labels).most_common(n_classes)}
    rows = [i for i, label in enumerate(labels) if label in frequent]
    return [texts[i] for i in rows], np.array([labels[i] for i in rows])


def measure(data, job):
    warnings.simplefilter("ignore")
    labelled, hidden = split_train(*load(data, job["classes"]), N_LABELLED, 0)
    clf = PGKDClassifier(
        TimedTeacher(*hidden),
        TimedStudent(make_student(job["student"])),
        max_cycles=job["cycles"],
        samples_per_cycle=job["texts"],
        routes=("write",),
        evidence=Evidence(patience=job["cycles"], probe_size=0),
        random_state=0,
    )
    start = time.perf_counter()
    clf.fit(*labelled)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return {
        **job,
        "seconds": seconds,
        "student_seconds": SPENT["student"],
        "teacher_seconds": SPENT["teacher"],
        "peak_mib": peak / (2**20 if sys.platform == "darwin" else 2**10),
        "n_generated": sum(cycle.n_generated for cycle in clf.history_),
        "input_tokens": clf.usage_.input_tokens,
        "output_tokens": clf.usage_.output_tokens,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--student", choices=["tfidf", "embedding"], default="tfidf")
    parser.add_argument("--only", nargs="+", choices=list(VALUES), default=list(VALUES))
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        print(json.dumps(measure(args.data, args.job)))
        return

    path = RESULTS / "growth.jsonl"
    known = {tuple(row[k] for k in KEYS) for row in read_rows(path)}
    for name in args.only:
        for value in VALUES[name]:
            job = {"student": args.student, **BASE, name: value}
            if tuple(job.values()) in known:
                continue
            known.add(tuple(job.values()))
            command = [sys.executable, __file__, str(args.data), "--job", json.dumps(job)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            append(path, row)
            print(json.dumps(row), flush=True)
    report(read_rows(path), args)


def report(rows, args):
    for name in args.only:
        print(f"\n| {name} | seconds | student | overhead | peak MiB | texts | tokens a text |")
        print("|---|---|---|---|---|---|---|")
        for value in VALUES[name]:
            job = {"student": args.student, **BASE, name: value}
            for row in rows:
                if all(row[k] == job[k] for k in KEYS):
                    overhead = (
                        1 - (row["student_seconds"] + row["teacher_seconds"]) / row["seconds"]
                    )
                    tokens = (row["input_tokens"] + row["output_tokens"]) / row["n_generated"]
                    print(
                        f"| {value} | {row['seconds']:.1f} | {row['student_seconds']:.1f} | "
                        f"{overhead:.1%} | {row['peak_mib']:.0f} | {row['n_generated']} | "
                        f"{tokens:.0f} |"
                    )


if __name__ == "__main__":
    main()
