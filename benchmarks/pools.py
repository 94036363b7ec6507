"""Do the labelled texts tell whether unlabelled texts help? One's own, and a stranger's.

    python benchmarks/pools.py DATA [--students minilm wordllama tfidf] [--seeds 3] [--jobs 1]

Self-training on up to 2,000 unlabelled texts, on top of the classes' names; or on as many of
another data set, of which no text belongs to any class. It is learnt in any case, and hidden texts
(up to 2,000) say what that brings. Beside it stands what the labelled texts said: take it or not.
No test file is read: 8,000 texts at most of a training file are parted into labelled, unlabelled
and hidden ones.
"""

import argparse
import itertools
import json
import warnings
from pathlib import Path

import ladder
import numpy as np
from common import RESULTS, append, make_table, read, read_rows, show
from joblib import Parallel, delayed

from pgkd import Evidence, PGKDClassifier
from pgkd.students import StaticStudent

#: Each data set, and the one whose texts are strange to it.
STRANGE = {
    "banking77": "massive_en",
    "massive_en": "naics4",
    "hwu64": "banking77",
    "hint3_curekart": "banking77",
    "naics4": "hwu64",
}
PER_CLASS = (1, 2, 4, 8)
POOLS = ("own", "strange")
KEYS = ("dataset", "student", "per_class", "seed", "pool")
PATH = RESULTS / "pools.jsonl"


def make_student(name):
    return StaticStudent("wordllama") if name == "wordllama" else ladder.make_student(name)


def read_part(data, dataset):
    texts, y = read(data / dataset / "train.csv")
    rows = np.random.default_rng(7).permutation(len(texts))[:8000]
    return [texts[i] for i in rows], y[rows]


def run(data, dataset, student, per_class, seed, pool):
    warnings.simplefilter("ignore")
    texts, y = read_part(data, dataset)
    own, rest = ladder.draw(y, per_class, 170 + seed)
    n_pool = min(2000, len(rest) // 2)
    unlabelled = [texts[i] for i in rest[:n_pool]]
    if pool == "strange":
        unlabelled = read_part(data, STRANGE[dataset])[0][:n_pool]
    hidden = rest[n_pool : n_pool + 2000]
    clf = PGKDClassifier(
        student=make_student(student), evidence=Evidence(keep_all=True), random_state=seed
    ).fit([texts[i] for i in own], y[own], X_unlabeled=unlabelled)
    [step] = [step for step in clf.history_ if step.route == "unlabelled"]

    def measure():
        return float(np.mean(clf.predict([texts[i] for i in hidden]) == y[hidden]))

    after = measure()
    before = clf.refit(lambda text: text.source != "unlabelled") and measure()
    return {
        **dict(zip(KEYS, (dataset, student, per_class, seed, pool))),
        "taken": step.comparison.taken,
        "expected": round(step.comparison.gain, 5),
        "gain": round(after - before, 5),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--datasets", nargs="+", default=list(STRANGE))
    parser.add_argument("--students", nargs="+", default=["minilm", "wordllama", "tfidf"])
    parser.add_argument("--per-class", nargs="+", type=int, default=PER_CLASS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()

    known = {tuple(row[key] for key in KEYS) for row in read_rows(PATH)}
    jobs = itertools.product(args.datasets, args.students, args.per_class, range(args.seeds), POOLS)
    for row in Parallel(n_jobs=args.jobs, return_as="generator_unordered")(
        delayed(run)(args.data, *job) for job in jobs if job not in known
    ):
        append(PATH, row)
        print(json.dumps(row), flush=True)
    print(tabulate(read_rows(PATH)))


def tabulate(rows):
    """Make a table: points of accuracy over all data sets and draws, and how often it is taken."""
    lines = []
    for student, pool, k in itertools.product(("minilm", "wordllama", "tfidf"), POOLS, PER_CLASS):
        own = [
            row
            for row in rows
            if (row["student"], row["pool"], row["per_class"]) == (student, pool, k)
        ]
        if own:
            gains = [100 * row["gain"] for row in own]
            got = [100 * row["gain"] * row["taken"] for row in own]
            lines.append(
                [
                    student,
                    pool,
                    k,
                    len(own),
                    show(gains, "+", 1),
                    f"{sum(row['taken'] for row in own)} of {len(own)}",
                    f"{np.mean(got):+.1f}",
                    f"{np.mean([max(gain, 0.0) for gain in gains]):+.1f}",
                ]
            )
    return make_table(
        [
            "student",
            "unlabelled texts",
            "labelled a class",
            "runs",
            "if always learnt",
            "taken",
            "with the choice",
            "with the best choice",
        ],
        lines,
    )


if __name__ == "__main__":
    main()
