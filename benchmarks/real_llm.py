"""A real, weak LLM as the teacher: the loop, its ablations and its opponents at equal texts.

    python benchmarks/real_llm.py DATA RUN_DIR [--datasets hint3_curekart banking77] [--seeds 3]
        [--arms pgkd unguided ...] [--cycles 3] [--replay | --server URL]

Qwen2.5-Coder-1.5B (4 bit) behind llama.cpp's server on this machine writes 100 texts a cycle, so
300 an arm, for few labelled texts: 5 a class of hint3_curekart, 4 a class of banking77. MiniLM
embeddings with a linear head; "pgkd_finetuned": they are the scout of a MiniLM that is fine-tuned.
"pgkd_verified": the LLM labels what it wrote, and what it labels otherwise is rejected.
"zero_shot": the LLM itself labels 200 test texts, choosing among all classes.

With so few labelled texts the gate has too few to tell a small gain, and most arms would end as the
baseline. So it does not decide here (rollback=False); the last column is what it says.

The answers are recorded in results/answers, so that `--replay` makes the table again without an
LLM; without it, only what is not recorded is asked. A run that is in the results is not run again.
`--server`: where the same LLM is served already, say by llama.cpp compiled for this machine.
"""

import argparse
import contextlib
import gzip
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
from common import RESULTS, append, read, read_rows, show
from local_models import fetch_minilm, fetch_qwen, serve
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score

from pgkd import PGKDClassifier
from pgkd.records import AnnotationRequest
from pgkd.samplers import (
    EvoKDSampler,
    LLM2LLMSampler,
    PerformanceGuidedSampler,
    UnguidedSampler,
)
from pgkd.students import EmbeddingStudent, TransformerStudent
from pgkd.teachers import OpenAITeacher, RecordedTeacher

#: Labelled texts a class, and what the teacher is told.
DATASETS = {
    "hint3_curekart": (5, "Messages of customers to an online shop for fitness food, by intent."),
    "banking77": (4, "Messages of customers to an online bank, by intent."),
}
#: Five classes a request: few texts are wanted of each, and prompts are slow to read.
SIZES = {"texts_per_request": 20, "classes_per_request": 5}
SAMPLERS = {
    "unguided": UnguidedSampler(**SIZES),
    "pgkd": PerformanceGuidedSampler(**SIZES),
    "pgkd_no_report": PerformanceGuidedSampler(report=False, **SIZES),
    "pgkd_no_hard_negatives": PerformanceGuidedSampler(n_hard_negatives=0, contrast=False, **SIZES),
    "evokd": EvoKDSampler(**SIZES),
    "llm2llm": LLM2LLMSampler(**SIZES),
    "pgkd_verified": PerformanceGuidedSampler(**SIZES),
    "pgkd_finetuned": PerformanceGuidedSampler(**SIZES),
}
ARMS = ["baseline", "baseline_finetuned", *SAMPLERS, "zero_shot"]
KEYS = ("dataset", "seed", "arm", "n_cycles")
PER_CYCLE, N_ZERO_SHOT = 100, 200
#: Training texts that no run sees, at most: the small set's test file is not drawn as they are.
N_HIDDEN = 2000


class PatientTeacher(OpenAITeacher):
    """A slow machine takes longer than ten minutes for four requests."""

    deadline = 3600.0  # seconds for a request, its retries included


def take_per_class(texts, y, n, seed):
    """Draw `n` texts of each class, or all there are, and `N_HIDDEN` of the others."""
    order = np.random.default_rng(seed).permutation(len(y))
    rows = np.concatenate([order[y[order] == label][:n] for label in np.unique(y)])
    others = order[~np.isin(order, rows)][:N_HIDDEN]
    return tuple(([texts[i] for i in chosen], y[chosen]) for chosen in (rows, others))


def run(data, dataset, seed, arm, n_cycles, teacher):
    n, task = DATASETS[dataset]
    labelled, hidden = take_per_class(*read(data / dataset / "train.csv"), n, seed)
    X_test, y_test = read(data / dataset / "test.csv")
    row = {"dataset": dataset, "seed": seed, "arm": arm, "n_cycles": n_cycles}
    student = EmbeddingStudent(fetch_minilm())
    if arm == "zero_shot":
        chosen = np.random.default_rng(seed).permutation(len(y_test))[:N_ZERO_SHOT]
        X_test, y_test = [X_test[i] for i in chosen], y_test[chosen]
        classes = tuple(np.unique(labelled[1]).tolist())
        return row | score(label_zero_shot(teacher, X_test, classes, task), y_test)
    if arm == "baseline":
        clf = clone(student).fit(*labelled)
    elif arm == "baseline_finetuned":
        clf = make_finetuned(seed).fit(*labelled)
    else:
        is_finetuned = arm == "pgkd_finetuned"
        clf = PGKDClassifier(
            teacher,
            make_finetuned(None) if is_finetuned else student,
            clone(SAMPLERS[arm]),
            scout=student if is_finetuned else None,
            verification="filter" if arm == "pgkd_verified" else None,
            max_cycles=n_cycles,
            samples_per_cycle=PER_CYCLE,
            patience=n_cycles,
            rollback=False,
            task_description=task,
            random_state=seed,
            verbose=1,
        ).fit(*labelled)
        row |= {
            "gate_gain": clf.choice_.last_score - clf.choice_.baseline_score,
            "gate_error": clf.choice_.standard_error,
            "n_learnt": sum(t.verdict == "accepted" for t in clf.synthetic_),
            "weights": [c.synthetic_weight for c in clf.history_],
            "input_tokens": clf.usage_.input_tokens,
            "output_tokens": clf.usage_.output_tokens,
        }
    row |= {f"hidden_{k}": v for k, v in score(clf.predict(hidden[0]), hidden[1]).items()}
    return row | score(clf.predict(X_test), y_test)


def score(predicted, y):
    return {
        "accuracy": accuracy_score(y, predicted),
        "f1_macro": f1_score(y, predicted, average="macro", zero_division=0),
    }


def make_finetuned(seed):
    return TransformerStudent(fetch_minilm(), n_epochs=10, learning_rate=5e-4, random_state=seed)


def label_zero_shot(teacher, texts, classes, task):
    """Label texts by the LLM; what it does not answer counts as wrong."""
    requests = [
        AnnotationRequest(f"zero-{i}", (text,), (classes,), task_description=task)
        for i, text in enumerate(texts)
    ]
    labels = {g.request.id: g.examples[0].label for g in teacher.annotate(requests) if g.examples}
    return [labels.get(request.id, "") for request in requests]


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
            max_tokens=600,  # a small LLM may repeat itself for ever
            max_concurrency=6,
            timeout=1800,  # slow machines read 10 tokens a second
            price=(0, 0),
        )
        try:
            yield RecordedTeacher(path, teacher)
        finally:
            packed.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "rb") as source, gzip.GzipFile(packed, "wb", mtime=0) as target:
                shutil.copyfileobj(source, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=DATASETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--cycles", type=int, default=3)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--replay", action="store_true", help="use recorded answers only")
    source.add_argument("--server", metavar="URL", help="ends in /v1")
    args = parser.parse_args()

    path = RESULTS / "real_llm.jsonl"
    known = {tuple(r[k] for k in KEYS) for r in read_rows(path)}
    made = []
    for dataset in args.datasets:
        todo = [
            (seed, arm)
            for seed, arm in itertools.product(range(args.seeds), args.arms)
            if args.replay or (dataset, seed, arm, n_asked(arm, args.cycles)) not in known
        ]
        if not todo:
            continue
        with record(dataset, args.run_dir, args.replay, args.server) as teacher:
            for seed, arm in todo:
                row = run(args.data, dataset, seed, arm, n_asked(arm, args.cycles), teacher)
                print(json.dumps(row), flush=True)
                made.append(row)
                if not args.replay:
                    append(path, row)
    report(made if args.replay else read_rows(path), args)


def n_asked(arm, n_cycles):
    """Count an arm's cycles: some have none."""
    return n_cycles if arm in SAMPLERS else 0


def find_baseline(rows, arm, metric):
    """Find what an arm's student has by seed without the LLM."""
    if arm not in SAMPLERS:
        return {}
    name = "baseline_finetuned" if arm == "pgkd_finetuned" else "baseline"
    return {r["seed"]: r[metric] for r in rows if r["arm"] == name}


def report(rows, args):
    metrics = ("accuracy", "f1_macro", "hidden_accuracy", "hidden_f1_macro")
    for dataset in args.datasets:
        own = [r for r in rows if r["dataset"] == dataset and r["n_cycles"] in (0, args.cycles)]
        print(
            f"\n{dataset}; - baseline\n| arm | seeds | accuracy | macro F1 | accuracy, hidden "
            "| macro F1, hidden | tokens | learnt | weight | gain on the gate |"
        )
        print("|" + 10 * "---|")
        for arm in dict.fromkeys(r["arm"] for r in own):
            mine = [r for r in own if r["arm"] == arm]
            cells = []
            for metric in metrics:
                base = find_baseline(own, arm, metric)
                found = [r[metric] - base.get(r["seed"], 0) for r in mine if metric in r]
                cells.append(show(found, sign="+" if base else "") if found else "")
            if arm in SAMPLERS:
                tokens = np.mean([r["input_tokens"] + r["output_tokens"] for r in mine])
                weights = sorted({r["weights"][-1] for r in mine}, reverse=True)
                cells += [f"{tokens:.0f}", f"{np.mean([r['n_learnt'] for r in mine]):.0f}"]
                cells += [", ".join(map(str, weights))]
                gate = [f"{r['gate_gain']:+.2f} (SE {r['gate_error']:.2f})" for r in mine]
                cells += [", ".join(gate)]
            print(f"| {arm} | {len(mine)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
