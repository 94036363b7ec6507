"""A real, weak LLM as the teacher: each of its routes alone, and all of them.

    python benchmarks/real_llm.py DATA RUN_DIR [--datasets banking77 hint3_curekart]
        [--per-class 1 4] [--seeds 3] [--arms free describe label write all]
        [--replay | --server URL]

Qwen2.5-Coder-1.5B (4 bit) behind llama.cpp's server on this machine; MiniLM embeddings with a
linear head; 1,000 unlabelled texts. The probe asks about 24 labelled texts. Each route gets one
batch of 48 texts (`describe`: each class once), with `all` each in turn. `free`: without the LLM.
`keep`: all routes, and all that they bring is learnt, whatever the labelled texts say.

The answers are recorded in results/answers, so that `--replay` makes the table again without an
LLM; without it, only what is not recorded is asked. A run that is in the results is not run again.
`--server`: where the same LLM is served already.
"""

import argparse
import contextlib
import gzip
import itertools
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
from common import RESULTS, append, by_seed, make_table, read, read_rows, show
from ladder import draw
from local_models import fetch_minilm, fetch_qwen, serve
from sklearn.metrics import f1_score

from pgkd import Evidence, PGKDClassifier
from pgkd.samplers import PerformanceGuidedSampler
from pgkd.students import EmbeddingStudent
from pgkd.teachers import OpenAITeacher, RecordedTeacher

TASKS = {
    "banking77": "Messages of customers to an online bank, by intent.",
    "hint3_curekart": "Messages of customers to an online shop for fitness food, by intent.",
}
PAID = ("describe", "label", "write")
ARMS = {"free": (), **{route: (route,) for route in PAID}, "all": PAID, "keep": PAID}
N_POOL, PER_BATCH, N_PROBED = 1000, 48, 24
KEYS = ("dataset", "per_class", "seed", "arm")
PATH = RESULTS / "real_llm.jsonl"


class PatientTeacher(OpenAITeacher):
    """A slow machine takes longer than ten minutes for four requests."""

    deadline = 3600.0  # seconds for a request, its retries included


def run(data, dataset, per_class, seed, arm, teacher):
    warnings.simplefilter("ignore")
    texts, y = read(data / dataset / "train.csv")
    X_test, y_test = read(data / dataset / "test.csv")
    own, rest = draw(y, per_class, seed)
    clf = PGKDClassifier(
        teacher if ARMS[arm] else None,
        EmbeddingStudent(fetch_minilm()),
        # Five classes a request: few texts are wanted of each, and prompts are slow to read.
        PerformanceGuidedSampler(texts_per_request=10, classes_per_request=5),
        routes=("names", "unlabelled", *ARMS[arm]),
        max_cycles=len(ARMS[arm]),
        samples_per_cycle=PER_BATCH,
        evidence=Evidence(probe_size=N_PROBED, keep_all=arm == "keep"),
        task_description=TASKS[dataset],
        random_state=seed,
        verbose=1,
    ).fit([texts[i] for i in own], y[own], X_unlabeled=[texts[i] for i in rest[:N_POOL]])
    predicted = clf.predict(X_test)
    row = dict(zip(KEYS, (dataset, per_class, seed, arm)))
    if clf.probe_ is not None:
        row["probe"] = clf.probe_.verdict
    truth = dict(zip(texts, y.tolist()))
    labelled = [t for t in clf.synthetic_ if t.source == "pool" and t.verdict != "rejected"]
    return row | {
        "steps": [[step.route, step.factor, step.taken] for step in clf.history_[1:]],
        "stop_reason": clf.stop_reason_,
        "n_labelled": len({t.text for t in labelled}),
        "right": len({t.text for t in labelled if truth[t.text] == t.label and t.weight >= 0.05}),
        "tokens": clf.usage_.input_tokens + clf.usage_.output_tokens,
        "accuracy": round(float(np.mean(predicted == y_test)), 5),
        "f1_macro": round(f1_score(y_test, predicted, average="macro", zero_division=0), 5),
    }


@contextlib.contextmanager
def record(dataset, run_dir, replay, server):
    """Make the teacher, with the answers unpacked from the results and packed again."""
    run_dir.mkdir(parents=True, exist_ok=True)
    path, packed = run_dir / f"{dataset}.jsonl", RESULTS / "answers" / f"{dataset}.jsonl.gz"
    if not path.exists() and packed.exists():
        with gzip.open(packed, "rb") as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target)
    if replay:
        yield RecordedTeacher(path)
        return
    running = contextlib.nullcontext(server) if server else serve(fetch_qwen())
    with running as base_url:
        teacher = PatientTeacher(
            "qwen",
            base_url=base_url,
            max_tokens=300,  # a small LLM may repeat itself for ever
            max_concurrency=4,
            timeout=1800,  # slow machines read 10 tokens a second
            price=(0, 0),
        )
        try:
            yield RecordedTeacher(path, teacher)
        finally:
            packed.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "rb") as source, gzip.GzipFile(packed, "wb", mtime=0) as target:
                shutil.copyfileobj(source, target)


def tabulate(rows):
    lines = []
    for dataset, n, arm in dict.fromkeys((r["dataset"], r["per_class"], r["arm"]) for r in rows):
        which = {"dataset": dataset, "per_class": n}
        own = by_seed(rows, "accuracy", **which, arm=arm)
        free = by_seed(rows, "accuracy", **which, arm="free")
        f1 = by_seed(rows, "f1_macro", **which, arm=arm)
        tokens = float(np.mean(list(by_seed(rows, "tokens", **which, arm=arm).values())))
        steps = dict.fromkeys(
            f"{route} at {weight}" if taken else f"{route}: not taken"
            for found in by_seed(rows, "steps", **which, arm=arm).values()
            for route, weight, taken in found
            if route in PAID
        )
        gains = [100 * (own[s] - free[s]) for s in own if s in free and arm != "free"]
        lines.append(
            [
                *(dataset, n, arm, "; ".join(steps)),
                show(list(own.values())),
                show(gains, "+", 1),
                show(list(f1.values())),
                f"{tokens:,.0f}",
                f"{1000 * np.mean(gains) / tokens:+.3f}" if gains and tokens else "",
            ]
        )
    titles = ["data set", "labelled a class", "routes", "what was taken", "accuracy"]
    titles += ["− free, points", "macro F1", "tokens", "points for 1,000 tokens"]
    return make_table(titles, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--datasets", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--per-class", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--replay", action="store_true", help="use recorded answers only")
    source.add_argument("--server", metavar="URL", help="ends in /v1")
    args = parser.parse_args()
    known = set() if args.replay else {tuple(r[k] for k in KEYS) for r in read_rows(PATH)}
    made = []
    for dataset in args.datasets:
        todo = [
            (dataset, n, seed, arm)
            for seed, n, arm in itertools.product(range(args.seeds), args.per_class, args.arms)
            if (dataset, n, seed, arm) not in known
        ]
        if not todo:
            continue
        with record(dataset, args.run_dir, args.replay, args.server) as teacher:
            for job in todo:
                made.append(run(args.data, *job, teacher))
                print(json.dumps(made[-1]), flush=True)
                if not args.replay:
                    append(PATH, made[-1])
    print(tabulate(made if args.replay else read_rows(PATH)))


if __name__ == "__main__":
    main()
