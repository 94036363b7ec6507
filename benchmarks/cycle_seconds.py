"""Trainings and seconds that a cycle takes: TF-IDF, 500 labelled texts of banking77, 77 classes.

    python benchmarks/cycle_seconds.py DATA [--cycles 3]
    PYTHONPATH=OTHER/src python benchmarks/cycle_seconds.py DATA     # of another checkout

An ideal teacher writes 100 texts a cycle, and answers at once; the student is a logistic regression
that is trained to the end. It runs on commits before the one decider too (5e4fc90), so that both
are measured on one machine, by one thread.
"""

import argparse
import inspect
import time
import warnings
from pathlib import Path

from common import read, split_train
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import pgkd
from pgkd import PGKDClassifier
from pgkd.testing import PoolTeacher


class Counted(LogisticRegression):
    """Counts its trainings."""

    n_fits = 0

    def fit(self, X, y, sample_weight=None):
        Counted.n_fits += 1
        return super().fit(X, y, sample_weight)


class Watch:
    """Notes the trainings and the time at the end of each cycle."""

    def __init__(self):
        self.marks = []

    def on_event(self, event):
        value = event.value
        if event.kind == "cycle" or (event.kind == "step" and value.route in ("labelled", "write")):
            self.marks.append((Counted.n_fits, time.perf_counter()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cycles", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    labelled, hidden = split_train(*read(args.data / "banking77" / "train.csv"), 500, 0)
    student = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2)), Counted(C=10, tol=1e-6, max_iter=5000)
    )
    options = {"max_cycles": args.cycles, "samples_per_cycle": 100, "random_state": 0}
    if "evidence" in inspect.signature(PGKDClassifier).parameters:
        options |= {"routes": ("write",), "evidence": pgkd.Evidence(probe_size=0)}
    watch = Watch()
    clf = PGKDClassifier(PoolTeacher(*hidden), student, callbacks=[watch], **options)
    clf.fit(*labelled)
    print("| cycle | trainings | seconds |\n|---|---|---|")
    for number, (before, after) in enumerate(zip(watch.marks, watch.marks[1:]), start=1):
        print(f"| {number} | {after[0] - before[0]} | {after[1] - before[1]:.1f} |")


if __name__ == "__main__":
    main()
