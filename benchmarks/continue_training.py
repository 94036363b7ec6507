"""Train anew in each cycle, or go on from the last student's weights? Accuracy against seconds.

    python benchmarks/continue_training.py DATA [--dataset banking77] [--labelled 800]
        [--cycles 10] [--samples 100] [--seeds 3] [--epochs 10] [--arms retrain continue_2 ...]
        [--loop]

The ideal teacher adds hidden real texts, as many of each class, to the labelled ones; a fine-tuned
MiniLM learns all that there are. "retrain": from the pretrained weights, --epochs passes.
"continue_N": `partial_fit` of the last cycle's student, N passes, with the labelled and all former
texts beside the new ones (replay). All arms of a seed get the same texts. Seconds are those of
training alone; each student sees the test file once.

--loop: the same by `PGKDClassifier` (a held-out feedback fold, generated texts at full weight),
which trains more students in a cycle and judges them: seconds of each cycle, accuracy of what is
returned. Growth: the power of the number of cycles with which all seconds so far grow; 1 is linear.

Smallest setting: --labelled 80 --dataset hint3_curekart --cycles 2 --samples 20 --seeds 1
--epochs 1 --arms retrain continue_1. Wants a quiet machine. A run that is in the results is not run
again.
"""

import argparse
import itertools
import json
import time
import warnings
from pathlib import Path

import numpy as np
from common import RESULTS, append, read, read_rows, show, split_train
from local_models import fetch_minilm

from pgkd import PGKDClassifier
from pgkd.records import GenerationRequest
from pgkd.samplers import UnguidedSampler
from pgkd.students import TransformerStudent
from pgkd.students.base import train
from pgkd.testing import PoolTeacher

KEYS = ("dataset", "labelled", "cycles", "samples", "epochs", "seed", "arm", "loop")


def make_student(arm, epochs):
    kind, _, n = arm.partition("_")
    partial = {"n_epochs_partial": int(n)} if kind == "continue" else {}
    return TransformerStudent(fetch_minilm(), n_epochs=epochs, learning_rate=5e-4, **partial)


def run_schedule(row, student, labelled, hidden, X_test, y_test):
    texts, y = list(labelled[0]), labelled[1]
    teacher = PoolTeacher(*hidden, random_state=row["seed"])
    rng = np.random.default_rng(row["seed"])
    classes = np.unique(y)
    last, seconds, accuracy = None, [], []
    for cycle in range(row["cycles"] + 1):
        if cycle:
            n, rest = divmod(row["samples"], len(classes))
            more = rng.permutation(len(classes))[:rest]
            counts = {c: n + (i in more) for i, c in enumerate(classes.tolist())}
            request = GenerationRequest(str(cycle), {c: n for c, n in counts.items() if n})
            [generation] = teacher.generate([request])
            texts += [example.text for example in generation.examples]
            new = np.array([example.label for example in generation.examples], dtype=y.dtype)
            y = np.append(y, new)
        start = time.perf_counter()
        goes_on = last is not None and row["arm"] != "retrain"
        last = train(student, texts, y, None, row["seed"], start=last if goes_on else None)
        seconds.append(time.perf_counter() - start)
        accuracy.append(float(np.mean(last.predict(X_test) == y_test)))
    return {"seconds": seconds, "accuracy": accuracy, "n_texts": len(texts)}


def run_loop(row, student, labelled, hidden, X_test, y_test):
    clf = PGKDClassifier(
        PoolTeacher(*hidden, random_state=row["seed"]),
        student,
        UnguidedSampler(),
        max_cycles=row["cycles"],
        patience=row["cycles"] + 1,
        samples_per_cycle=row["samples"],
        feedback="holdout",
        synthetic_weight=1.0,
        warm_start=row["arm"] != "retrain",
        random_state=row["seed"],
    )
    start = time.perf_counter()
    clf.fit(*labelled)
    return {
        "fit_seconds": time.perf_counter() - start,
        "seconds": [cycle.seconds for cycle in clf.history_],
        "accuracy": [float(np.mean(clf.predict(X_test) == y_test))],
        "gate": [cycle.gate_score for cycle in clf.history_],
        "best_cycle": clf.best_cycle_,
    }


def run(data, row):
    texts, y = read(data / row["dataset"] / "train.csv")
    labelled, hidden = split_train(texts, y, row["labelled"], row["seed"])
    test = read(data / row["dataset"] / "test.csv")
    function = run_loop if row["loop"] else run_schedule
    return row | function(row, make_student(row["arm"], row["epochs"]), labelled, hidden, *test)


def measure_growth(seconds):
    """Return the slope of log(seconds so far) over log(cycle), the baseline left out."""
    so_far = np.cumsum(seconds[1:])
    if len(so_far) < 2:
        return float("nan")
    return float(np.polyfit(np.log(np.arange(1, len(so_far) + 1)), np.log(so_far), 1)[0])


def report(rows, args):
    of_retrain = {r["seed"]: sum(r["seconds"]) for r in rows if r["arm"] == "retrain"}
    print("\n| arm | accuracy at the end | over all cycles | seconds | of retrain's | growth |")
    print("|---|---|---|---|---|---|")
    for arm in args.arms:
        own = [r for r in rows if r["arm"] == arm and r["seed"] < args.seeds]
        if not own:
            continue
        total = [sum(r["seconds"]) for r in own]
        shares = [t / of_retrain[r["seed"]] for t, r in zip(total, own) if r["seed"] in of_retrain]
        cells = [
            show([r["accuracy"][-1] for r in own]),
            show([np.mean(r["accuracy"]) for r in own]),
            f"{np.mean(total):.0f}",
            show(shares) if shares else "",
            show([measure_growth(r["seconds"]) for r in own]),
        ]
        print(f"| {arm} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--dataset", default="banking77")
    parser.add_argument("--labelled", type=int, default=800)
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--arms", nargs="+", default=["retrain", "continue_1", "continue_2", "continue_5"]
    )
    parser.add_argument("--loop", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    path = RESULTS / "continue_training.jsonl"
    setting = {key: getattr(args, key) for key in KEYS if key not in ("seed", "arm")}
    known = {tuple(row[key] for key in KEYS) for row in read_rows(path)}
    for seed, arm in itertools.product(range(args.seeds), args.arms):
        row = setting | {"seed": seed, "arm": arm}
        if tuple(row[key] for key in KEYS) in known:
            continue
        row = run(args.data, row)
        append(path, row)
        print(json.dumps(row), flush=True)
    report([row for row in read_rows(path) if setting.items() <= row.items()], args)


if __name__ == "__main__":
    main()
