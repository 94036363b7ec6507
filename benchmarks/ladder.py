"""What each free step brings, and what an ideal teacher brings on top.

    python benchmarks/ladder.py DATA [--datasets banking77 ...] [--per-class 0 1 2 4 8 16]
        [--students tfidf minilm] [--arms labelled names unlabelled ideal ideal_30] [--seeds 3]
        [--jobs 1]
    python benchmarks/ladder.py DATA --arms setfit autointent frozen ...   # others, see below

DATA has a folder a data set with train.csv and test.csv (columns text, label). So many labelled
texts of each class (all of a class that has fewer), and 3,000 unlabelled ones. Arms: the labelled
texts alone; with the names of the classes; with the unlabelled texts; with a teacher that serves
hidden real texts and labels, all right or 30 % of them wrong (3 batches of 200). The others get the
same encoder and the same labelled texts: `frozen` is the embeddings with scikit-learn's default
logistic regression; `setfit` the setfit package (20 pairs a text, one epoch); `autointent` the
package of that name, which is given the classes' names as a text each where `autointent_names` is
asked for. Without labelled texts, only arms that use the names can run.

A run that is in the results is not run again. Each fitted model sees the test file once.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import RESULTS, append, by_seed, make_table, read, read_rows, show, show_gain
from joblib import Parallel, delayed
from local_models import fetch_minilm
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.loop.naming import split_name
from pgkd.students import EmbeddingStudent
from pgkd.testing import PoolTeacher

DATASETS = ["banking77", "massive_en", "hwu64", "hint3_curekart", "naics4"]
OURS = {
    "labelled": (),
    "names": ("names",),
    "unlabelled": ("names", "unlabelled"),
    "ideal": ("names", "unlabelled", "label", "write"),
    "ideal_30": ("names", "unlabelled", "label", "write"),
}
OTHERS = ("frozen", "setfit", "autointent", "autointent_names")
N_POOL = 3000
PATH = RESULTS / "ladder.jsonl"
KEYS = ("dataset", "student", "per_class", "seed", "arm")


def draw(y, per_class, seed):
    """Draw so many rows of each class, and return the others in a random order as well."""
    order = np.random.default_rng(seed).permutation(len(y))
    rank = np.zeros(len(y), dtype=int)
    seen = {}
    for i in order:
        rank[i] = seen[y[i]] = seen.get(y[i], -1) + 1
    return order[rank[order] < per_class], order[rank[order] >= per_class]


def make_student(name):
    if name == "minilm":
        return EmbeddingStudent(fetch_minilm())
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        SGDClassifier(loss="log_loss", alpha=1e-4, max_iter=50, random_state=0),
    )


def run(data, dataset, student, per_class, seed, arm):
    warnings.simplefilter("ignore")
    texts, y = read(data / dataset / "train.csv")
    X_test, y_test = read(data / dataset / "test.csv")
    own, rest = draw(y, per_class, seed)
    X, labels = [texts[i] for i in own], y[own]
    pool = [texts[i] for i in rest[:N_POOL]]
    row = dict(zip(KEYS, (dataset, student, per_class, seed, arm)))
    if student == "minilm":  # a text is embedded once in all: not a part of what is compared
        make_student(student).fit(
            pool + X_test + X, ["a", "b"] + ["a"] * (len(pool + X_test + X) - 2)
        )
    start = time.perf_counter()
    if arm == "frozen":
        student = EmbeddingStudent(fetch_minilm(), head=LogisticRegression(max_iter=1000))
        predicted = student.fit(X, labels).predict(X_test)
    elif arm in OTHERS:
        predicted = run_other(arm, X, labels, sorted(set(y.tolist())), X_test)
        row["seconds"] = predicted.pop("seconds")
        predicted = np.array(predicted["labels"])
    else:
        hidden = [texts[i] for i in rest], y[rest]
        error_rate = 0.3 if arm == "ideal_30" else 0.0
        teacher = PoolTeacher(
            *hidden, error_rate=error_rate, random_state=seed, known=(X, labels.tolist())
        )
        clf = PGKDClassifier(
            teacher if arm.startswith("ideal") else None,
            make_student(student),
            routes=OURS[arm],
            max_cycles=3,
            class_names=None if per_class else sorted(set(y.tolist())),
            random_state=seed,
        )
        labelled = (X, labels) if per_class else ()
        clf.fit(*labelled, X_unlabeled=None if arm in ("labelled", "names") else pool)
        row["steps"] = [[s.route, s.factor, s.taken] for s in clf.history_[1:]]
        predicted = clf.predict(X_test)
    row.setdefault("seconds", round(time.perf_counter() - start, 2))
    row["accuracy"] = round(float(np.mean(predicted == y_test)), 5)
    row["f1_macro"] = round(f1_score(y_test, predicted, average="macro", zero_division=0), 5)
    return row


def run_other(arm, X, labels, classes, X_test):
    """Run another package in a process of its own, by the Python that has it ($OTHERS_PYTHON)."""
    names = [(split_name(label), label) for label in classes] if arm == "autointent_names" else []
    with TemporaryDirectory() as folder:
        job = {
            "arm": arm.removesuffix("_names"),
            "model": os.fspath(fetch_minilm()),
            "X": [*X, *(text for text, _ in names)],
            "y": [*labels.tolist(), *(label for _, label in names)],
            "X_test": X_test,
        }
        path = Path(folder, "job.json")
        path.write_text(json.dumps(job), encoding="utf-8")
        python = os.environ.get("OTHERS_PYTHON", sys.executable)
        script = Path(__file__).with_name("ladder_others.py")
        subprocess.run([python, script, path], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        return json.loads(path.with_suffix(".out").read_text(encoding="utf-8"))


#: The columns of the page's tables.
STEPS = {"labelled": "labelled alone", "names": "+ names", "unlabelled": "+ unlabelled"}
IDEAL = {
    "unlabelled": "free steps",
    "ideal": "+ teacher, all right",
    "ideal_30": "+ teacher, 30 % wrong",
}
BESIDE = {
    "unlabelled": "pgkd, free steps",
    "frozen": "frozen + logistic regression",
    "setfit": "SetFit",
    "autointent": "AutoIntent",
    "autointent_names": "AutoIntent + names",
}


def tabulate(rows, student, columns, metric="accuracy", *, draws_of=None, gain=None):
    """Make a table of arms, whose titles are the values of `columns`.

    `draws_of` names an arm: its draws alone count, for all arms. `gain` names two, of which the
    first is compared with the second.
    """
    digits = 1 if metric == "seconds" else 3
    rows = [row for row in rows if row["student"] == student]
    order = sorted(
        {(row["dataset"], row["per_class"]) for row in rows if row["arm"] in columns},
        key=lambda own: (DATASETS.index(own[0]), own[1]),
    )
    lines = []
    for dataset, n in order:
        own = {arm: by_seed(rows, metric, dataset=dataset, per_class=n, arm=arm) for arm in columns}
        if draws_of:
            own = {
                arm: {s: v for s, v in found.items() if s in own[draws_of]}
                for arm, found in own.items()
            }
            if not own[draws_of]:
                continue
        cells = [show(list(found.values()), digits=digits) for found in own.values()]
        if draws_of:
            cells.insert(0, len(own[draws_of]))
        if gain:
            cells.append(show_gain(own[gain[0]], own[gain[1]]))
        lines.append([dataset, n, *cells])
    titles = ["data set", "labelled a class", *(["draws"] if draws_of else []), *columns.values()]
    titles += [f"{columns[gain[0]]} − {columns[gain[1]]}"] if gain else []
    return make_table(titles, lines)


def report(rows, args):
    rows = [r for r in rows if r["dataset"] in args.datasets and r["per_class"] in args.per_class]
    for student, metric in itertools.product(args.students, ("accuracy", "f1_macro", "seconds")):
        columns = {arm: arm for arm in args.arms}
        print(f"\n{student}, {metric}\n{tabulate(rows, student, columns, metric)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--per-class", nargs="+", type=int, default=[0, 1, 2, 4, 8, 16])
    parser.add_argument("--students", nargs="+", default=["minilm", "tfidf"])
    parser.add_argument("--arms", nargs="+", default=list(OURS), choices=[*OURS, *OTHERS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    known = {tuple(row[k] for k in KEYS) for row in read_rows(PATH)}
    todo = [
        (dataset, student, n, seed, arm)
        for dataset, student, n, seed, arm in itertools.product(
            args.datasets, args.students, args.per_class, range(args.seeds), args.arms
        )
        if (dataset, student, n, seed, arm) not in known
        and (n or (arm not in ("labelled", "ideal", "ideal_30", *OTHERS)))
    ]
    for row in Parallel(n_jobs=args.jobs, return_as="generator_unordered")(
        delayed(run)(args.data, *job) for job in todo
    ):
        append(PATH, row)
        print(json.dumps(row), flush=True)
    report(read_rows(PATH), args)


if __name__ == "__main__":
    main()
