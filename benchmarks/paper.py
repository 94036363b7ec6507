"""The paper's table 2 and ablations (arXiv 2411.05045): a fine-tuned BERT and a large LLM.

    python benchmarks/paper.py --dataset {ag_news,yahoo,huffpost,amazon}
        --teacher bedrock:anthropic.claude-3-sonnet-20240229-v1:0 [--data FOLDER] [--seeds 3]
        [--student bert-base-uncased] [--n-train 800] [--n-val 200] [--feedback validation]
        [--cycles 10] [--samples 200] [--epochs 20] [--learning-rate 1e-4] [--run-dir DIR]

The data comes from the Hugging Face hub (``pip install datasets``) or from a folder with train.csv
and test.csv (columns text, label). The paper does not say which cut of the Amazon reviews has 335
classes, so these need a folder. The teacher is ``provider:model``: openai, anthropic, bedrock or
litellm; a server of your own by OPENAI_BASE_URL. ``pool``, a stand-in, serves hidden real texts.

As in the paper, all generated texts have full weight, and the report and the hard negatives are of
the validation texts that also decide when to stop (``--feedback out_of_fold``: without that leak).
With --run-dir no answer is paid for twice. A run that is in the results is not run again.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
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
from sklearn.metrics import accuracy_score, f1_score

from pgkd import Evidence, PGKDClassifier
from pgkd.records import AnnotationRequest
from pgkd.samplers import EvoKDSampler, PerformanceGuidedSampler
from pgkd.students import TransformerStudent
from pgkd.testing import PoolTeacher

#: The paper's accuracy and macro F1: BERT-base, with PGKD, and the teacher's accuracy.
PAPER = {
    "ag_news": ("0.884 / 0.884", "0.895 / 0.894", ""),
    "yahoo": ("0.649 / 0.657", "0.685 / 0.688", ""),
    "huffpost": ("0.474 / 0.214", "0.519 / 0.330", "0.442"),
    "amazon": ("0.320 / 0.074", "0.443 / 0.159", "0.416"),
}
SAMPLERS = {
    "pgkd": PerformanceGuidedSampler(),
    "no_report": PerformanceGuidedSampler(report=False),
    "no_hard_negatives": PerformanceGuidedSampler(n_hard_negatives=0, contrast=False),
    "evokd": EvoKDSampler(),
}
ARMS = ["baseline", *SAMPLERS, "zero_shot"]
#: Test texts that the teacher labels, and that the students are tested on, at most.
N_ZERO_SHOT, N_TEST = 500, 5000


def load(dataset, folder):
    """Load texts and labels of training and test."""
    if folder:
        return read(folder / "train.csv"), read(folder / "test.csv")
    if dataset == "amazon":
        raise SystemExit("amazon is not on the hub as the paper cut it: pass --data FOLDER.")
    try:
        from datasets import load_dataset
    except ImportError:
        raise SystemExit(
            "Data from the hub needs `pip install datasets`; else --data FOLDER."
        ) from None
    if dataset == "ag_news":
        parts = load_dataset("fancyzhx/ag_news")
        names = parts["train"].features["label"].names
        return tuple(
            (part["text"], np.array([names[label] for label in part["label"]]))
            for part in (parts["train"], parts["test"])
        )
    if dataset == "yahoo":
        parts = load_dataset("community-datasets/yahoo_answers_topics")
        names = parts["train"].features["topic"].names
        fields = ("question_title", "question_content", "best_answer")
        return tuple(
            ([" ".join(row[f] for f in fields).strip() for row in part],
             np.array([names[label] for label in part["topic"]]))
            for part in (parts["train"], parts["test"])
        )  # fmt: skip
    # Headlines of 2012 to 2018, 41 categories; without a split of its own.
    part = load_dataset(
        "json", data_files="hf://datasets/khalidalt/HuffPost/News_Category_Dataset_v2.json"
    )["train"]
    texts = [f"{row['headline']} {row['short_description']}".strip() for row in part]
    y = np.array(part["category"])
    test, train = np.split(np.random.default_rng(0).permutation(len(y)), [N_TEST])
    return tuple(([texts[i] for i in rows], y[rows]) for rows in (train, test))


def make_teacher(spec, hidden, seed):
    if spec == "pool":
        return PoolTeacher(*hidden, random_state=seed)
    import pgkd.teachers

    kinds = {
        "openai": "OpenAITeacher",
        "anthropic": "AnthropicTeacher",
        "bedrock": "BedrockTeacher",
        "litellm": "LiteLLMTeacher",
    }
    kind, _, model = spec.partition(":")
    if kind not in kinds or not model:
        raise SystemExit(f"--teacher {spec!r}: pool, or provider:model with one of {list(kinds)}.")
    return getattr(pgkd.teachers, kinds[kind])(model)


def run(args, seed, arm):
    (texts, y), (X_test, y_test) = load(args.dataset, args.data)
    labelled, hidden = split_train(texts, y, args.n_train + args.n_val, seed)
    # One text a class comes first: the validation texts are the last, as the data is.
    train = labelled[0][: args.n_train], labelled[1][: args.n_train]
    val = labelled[0][args.n_train :], labelled[1][args.n_train :]
    chosen = np.random.default_rng(seed).permutation(len(y_test))[:N_TEST]
    X_test, y_test = [X_test[i] for i in chosen], y_test[chosen]
    teacher = make_teacher(args.teacher, hidden, seed)
    student = TransformerStudent(
        args.student, n_epochs=args.epochs, learning_rate=args.learning_rate, random_state=seed
    )
    row = {"dataset": name(args), "teacher": args.teacher, "student": Path(args.student).name}
    row |= {"feedback": args.feedback, "seed": seed, "arm": arm}
    if arm == "zero_shot":
        X_test, y_test = X_test[:N_ZERO_SHOT], y_test[:N_ZERO_SHOT]
        predicted = label_zero_shot(teacher, X_test, tuple(np.unique(train[1]).tolist()))
    elif arm == "baseline":
        predicted = student.fit(*train).predict(X_test)
    else:
        clf = PGKDClassifier(
            teacher,
            student,
            SAMPLERS[arm],
            max_cycles=args.cycles,
            samples_per_cycle=args.samples,
            routes=("write",),
            evidence=Evidence(feedback=args.feedback, synthetic_weight=1.0, probe_size=0),
            run_dir=args.run_dir and args.run_dir / f"{name(args)}-{seed}-{arm}",
            random_state=seed,
            verbose=1,
        ).fit(*train, X_val=val[0], y_val=val[1])
        predicted = clf.predict(X_test)
        usage = clf.usage_
        row["gate"] = [step.score for step in clf.history_]
        row |= {"tokens": usage.input_tokens + usage.output_tokens, "cost": usage.cost}
    row["accuracy"] = accuracy_score(y_test, predicted)
    row["f1_macro"] = f1_score(y_test, predicted, average="macro", zero_division=0)
    return row


def label_zero_shot(teacher, texts, classes):
    """Label texts by the LLM; what it does not answer counts as wrong."""
    requests = [AnnotationRequest(f"zero-{i}", (text,), (classes,)) for i, text in enumerate(texts)]
    labels = {g.request.id: g.examples[0].label for g in teacher.annotate(requests) if g.examples}
    return [labels.get(request.id, "") for request in requests]


def name(args):
    return args.data.name if args.data else args.dataset


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=PAPER)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", default="bert-base-uncased")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--n-train", type=int, default=800)
    parser.add_argument("--n-val", type=int, default=200)
    parser.add_argument("--feedback", default="validation", choices=["validation", "out_of_fold"])
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--run-dir", type=Path)
    args = parser.parse_args()
    if not (args.dataset or args.data):
        parser.error("--dataset or --data is needed")

    path = RESULTS / "paper.jsonl"
    keys = ("dataset", "teacher", "student", "feedback", "seed", "arm")
    known = {tuple(row[k] for k in keys) for row in read_rows(path)}
    own = (name(args), args.teacher, Path(args.student).name, args.feedback)
    for seed, arm in itertools.product(range(args.seeds), args.arms):
        if (*own, seed, arm) in known or (arm == "zero_shot" and args.teacher == "pool"):
            continue
        row = run(args, seed, arm)
        append(path, row)
        print(json.dumps(row), flush=True)
    rows = [r for r in read_rows(path) if tuple(r[k] for k in keys[:4]) == own]
    print(tabulate(rows, args.dataset))


def tabulate(rows, dataset=None):
    """Make a table of the arms, beside the paper's figures for one of its data sets."""
    paper = dict(zip(("baseline", "pgkd", "zero_shot"), PAPER.get(dataset, ())))
    baseline = by_seed(rows, "accuracy", arm="baseline")
    lines = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own, f1 = (by_seed(rows, metric, arm=arm) for metric in ("accuracy", "f1_macro"))
        cells = [show(list(own.values())), show(list(f1.values()))]
        cells.append(show_gain(own, baseline) if arm != "baseline" else "")
        lines.append([arm, len(own), *cells, *([paper.get(arm, "")] if paper else [])])
    titles = ["arm", "seeds", "accuracy", "macro F1", "accuracy − baseline"]
    return make_table([*titles, *(["the paper's"] if paper else [])], lines)


if __name__ == "__main__":
    main()
