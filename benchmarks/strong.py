"""What recorded texts of strong LLMs are worth: a teacher that answers from the record.

    python benchmarks/strong.py STRONG DATA [--seeds 3] [--students minilm tfidf]

STRONG has the folders gptaug_banking77 and worker_vs_gpt_tendim (texts that GPT-3.5, GPT-4 and
Llama-2-70B wrote, with the real text that each was shown), DATA the data sets. The labelled texts
of banking77 are drawn among those that the LLM was shown, 2, 4 or 10 a class; those of tendim are
given. The teacher serves only what was written after a labelled text, and says so: nobody judges
a text after which it has learnt something. Texts that stand in a test file are left out.

It is asked for three batches, in all as many texts as are labelled. Arms: labelled texts alone; the
names of the classes as well (free); with the teacher's texts, asked for evenly or guided; and
evenly at full weight, whatever the labelled texts say.
A run that is in the results is not run again. Each fitted model sees the test file once.
"""

import argparse
import csv
import gzip
import itertools
import json
import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import RESULTS, append, by_seed, make_table, read, read_rows, show, show_gain
from joblib import Parallel, delayed
from ladder import make_student
from sklearn.base import BaseEstimator
from sklearn.metrics import f1_score

from pgkd import Evidence, PGKDClassifier
from pgkd.records import Example, Generation, Usage
from pgkd.samplers import PerformanceGuidedSampler, UnguidedSampler

SETS = ["tendim_gpt-4", "tendim_llama-2-70b", "banking77_2", "banking77_4", "banking77_10"]
ALL = Evidence(keep_all=True, synthetic_weight=1.0)
ARMS = {
    "labelled": {"routes": ()},
    "names": {"routes": ("names",)},
    "uniform": {"routes": ("names", "write"), "sampler": UnguidedSampler()},
    "guided": {"routes": ("names", "write"), "sampler": PerformanceGuidedSampler()},
    "uniform, weight 1": {"routes": ("write",), "sampler": UnguidedSampler(), "evidence": ALL},
}
PATH = RESULTS / "strong.jsonl"
KEYS = ("set", "student", "seed", "arm")


class ArchiveTeacher(BaseEstimator):
    """Serves texts of a record that were written after one of the labelled texts."""

    def __init__(self, rows, seed=0):
        self.rows = rows
        self.seed = seed

    def generate(self, requests):
        if not hasattr(self, "left_"):
            self.left_ = defaultdict(list)
            for i in np.random.default_rng(self.seed).permutation(len(self.rows)):
                self.left_[self.rows[i]["label"]].append(self.rows[i])
        for request in requests:
            for label, n in request.counts.items():
                for row in [self.left_[label].pop() for _ in range(min(n, len(self.left_[label])))]:
                    # What it was shown then, and not what it would be shown now.
                    shown = replace(request, examples=(Example(row["seed_text"], label),))
                    shown = replace(shown, hard_negatives=(), correct=(), wrong=())
                    yield Generation(shown, (Example(row["text"], label),), usage=Usage(1))


def read_gz(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def load(strong, data, name, seed):
    """Return labelled texts, rows of the record, and test texts."""
    kind, _, which = name.partition("_")
    if kind == "tendim":
        folder = strong / "worker_vs_gpt_tendim"
        base, test = (read_gz(folder / f"{part}.csv.gz") for part in ("base", "test"))
        labelled = [r["text"] for r in base], np.array([r["label"] for r in base])
        tested = [r["text"] for r in test], np.array([r["label"] for r in test])
        rows = read_gz(folder / f"generated_{which}.csv.gz")
    else:
        rows = read_gz(strong / "gptaug_banking77" / "generated.csv.gz")
        rows = [row for row in rows if row["seed_in_train"] == "True"]
        seeds = sorted({(row["seed_text"], row["label"]) for row in rows})
        order = np.random.default_rng(seed).permutation(len(seeds))
        taken = defaultdict(list)
        for text, label in (seeds[i] for i in order):
            taken[label] += [text][: int(which) - len(taken[label])]
        pairs = [(text, label) for label, texts in taken.items() for text in texts]
        labelled = [text for text, _ in pairs], np.array([label for _, label in pairs])
        tested = read(data / "banking77" / "test.csv")
    known = set(zip(labelled[0], labelled[1].tolist()))
    rows = [r for r in rows if r["in_test"] != "True" and (r["seed_text"], r["label"]) in known]
    return labelled, rows, tested


def run(strong, data, name, student, seed, arm):
    warnings.simplefilter("ignore")
    labelled, rows, (X_test, y_test) = load(strong, data, name, seed)
    options = dict(ARMS[arm])
    teacher = ArchiveTeacher(rows, seed) if "write" in options["routes"] else None
    clf = PGKDClassifier(
        teacher,
        make_student(student),
        options.pop("sampler", None),
        max_cycles=3,
        samples_per_cycle=len(labelled[0]) // 3,
        scoring="f1_macro" if name.startswith("tendim") else "accuracy",
        random_state=seed,
        **options,
    ).fit(*labelled)
    predicted = clf.predict(X_test)
    return {
        **dict(zip(KEYS, (name, student, seed, arm))),
        "n_labelled": len(labelled[0]),
        "steps": [[step.route, step.factor, step.taken] for step in clf.history_[1:]],
        "accuracy": round(float(np.mean(predicted == y_test)), 5),
        "f1_macro": round(f1_score(y_test, predicted, average="macro", zero_division=0), 5),
    }


def tabulate(rows, student, metric=None):
    """Make the table of a student: of `metric`, or of the score that was asked for."""
    lines = []
    for name in SETS:
        key = metric or ("f1_macro" if name.startswith("tendim") else "accuracy")
        found = {arm: by_seed(rows, key, set=name, student=student, arm=arm) for arm in ARMS}
        cells = [show(list(own.values())) for own in found.values()]
        score = "macro F1" if key == "f1_macro" else key
        lines.append([name, score, *cells, show_gain(found["guided"], found["uniform"])])
    return make_table(["set", "score", *ARMS, "guided − uniform"], lines)


def report(rows, args):
    for student, metric in itertools.product(args.students, (None, "accuracy", "f1_macro")):
        print(f"\n{student}\n{tabulate(rows, student, metric)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strong", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--students", nargs="+", default=["minilm", "tfidf"])
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    known = {tuple(row[k] for k in KEYS) for row in read_rows(PATH)}
    todo = [
        job
        for job in itertools.product(SETS, args.students, range(args.seeds), ARMS)
        if job not in known
    ]
    for row in Parallel(n_jobs=args.jobs, return_as="generator_unordered")(
        delayed(run)(args.strong, args.data, *job) for job in todo
    ):
        append(PATH, row)
        print(json.dumps(row), flush=True)
    report(read_rows(PATH), args)


if __name__ == "__main__":
    main()
