"""Does the loop do harm? Teachers that are wrong 0, 10, 30, 60 and 100 % of the time.

    python benchmarks/noise.py DATA [--datasets banking77 hint3_curekart] [--seeds 5] [--jobs 2]

Real hidden texts, of which that share has another class's label; the teacher is as often wrong when
it is probed. It writes 3 cycles of 200 texts (of 60 where there are fewer than 1,000); TF-IDF with
logistic regression. 800 labelled texts, 200 of hint3_curekart. "all": no probe, all texts learnt
at full weight.
The test file is read once for each fitted model.
"""

import argparse
import itertools
import json
import warnings
from pathlib import Path

from common import (
    RESULTS,
    append,
    by_seed,
    make_table,
    read,
    read_rows,
    show,
    show_gain,
    split_train,
)
from ideal_teacher import make_student
from joblib import Parallel, delayed
from sklearn.metrics import accuracy_score, f1_score

from pgkd import Evidence, PGKDClassifier
from pgkd.testing import PoolTeacher

RATES = [0.0, 0.1, 0.3, 0.6, 1.0]
ARMS = {"decided": Evidence(), "all": Evidence(keep_all=True, synthetic_weight=1.0, probe_size=0)}


def run(data, dataset, seed, rate, arm):
    warnings.simplefilter("ignore")
    texts, y = read(data / dataset / "train.csv")
    is_small = len(y) < 1000
    labelled, hidden = split_train(texts, y, 200 if is_small else 800, seed)
    student = make_student("tfidf").set_params(sgdclassifier__random_state=seed)
    row = {"dataset": dataset, "seed": seed, "rate": rate, "arm": arm}
    model = student.fit(*labelled)
    if arm != "baseline":
        model = PGKDClassifier(
            PoolTeacher(*hidden, error_rate=rate, random_state=seed, known=labelled),
            student,
            routes=("write",),
            max_cycles=3,
            samples_per_cycle=60 if is_small else 200,
            evidence=ARMS[arm],
            random_state=seed,
        ).fit(*labelled)
        row["stop_reason"] = model.stop_reason_
        row["weights"] = [step.factor for step in model.history_]
    X_test, y_test = read(data / dataset / "test.csv")
    predicted = model.predict(X_test)
    row["accuracy"] = accuracy_score(y_test, predicted)
    row["f1_macro"] = f1_score(y_test, predicted, average="macro", zero_division=0)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--datasets", nargs="+", default=["banking77", "hint3_curekart"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()

    path = RESULTS / "noise.jsonl"
    known = {(r["dataset"], r["seed"], r["rate"], r["arm"]) for r in read_rows(path)}
    jobs = [
        *itertools.product(args.datasets, range(args.seeds), [None], ["baseline"]),
        *itertools.product(args.datasets, range(args.seeds), RATES, args.arms),
    ]
    for row in Parallel(n_jobs=args.jobs, return_as="generator_unordered")(
        delayed(run)(args.data, *job) for job in jobs if job not in known
    ):
        append(path, row)
        print(json.dumps(row), flush=True)
    print(tabulate(read_rows(path), args.datasets))


def tabulate(rows, datasets):
    lines = []
    for dataset, rate in itertools.product(datasets, RATES):
        baseline = by_seed(rows, "accuracy", dataset=dataset, arm="baseline")
        cells = [show(list(baseline.values()))]
        for arm in ARMS:
            own = by_seed(rows, "accuracy", dataset=dataset, rate=rate, arm=arm)
            worst = min((own[s] - baseline[s] for s in own), default=None)
            cells += [show_gain(own, baseline), "" if worst is None else f"{worst:+.3f}"]
        lines.append([dataset, f"{rate:.0%}", *cells])
    gains = ["gain, decided", "worst seed", "gain, all learnt", "worst seed"]
    return make_table(["data set", "teacher is wrong in", "labelled alone", *gains], lines)


if __name__ == "__main__":
    main()
