"""The loop with a real, weak LLM: Qwen2.5-Coder-1.5B behind llama.cpp's server, on this machine.

    python benchmarks/local_llm.py DATA RUN_DIR [--dataset banking77] [--seeds 3]

800 labelled texts; MiniLM embeddings with a linear head. Every answer is kept in RUN_DIR, so that a
run that was cut off goes on where it was. The test file is read once, after all fitting.
"""

import argparse
from pathlib import Path

import numpy as np
from common import interval, read, save, split_train
from local_models import fetch_minilm, fetch_qwen, serve
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score

from pgkd import PGKDClassifier
from pgkd.samplers import PerformanceGuidedSampler, UnguidedSampler
from pgkd.students import EmbeddingStudent
from pgkd.teachers import OpenAITeacher

TASKS = {"banking77": "Messages of customers to an online bank, by intent."}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--dataset", default="banking77")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-labelled", type=int, default=800)
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument("--samples-per-cycle", type=int, default=77)
    parser.add_argument("--synthetic-weight", type=float, default=1.0)
    parser.add_argument("--unguided", action="store_true", help="also run the control")
    args = parser.parse_args()

    texts, y = read(args.data / args.dataset / "train.csv")
    student = EmbeddingStudent(fetch_minilm())
    # With 77 classes few texts are wanted of each: five classes a request save reading prompts.
    samplers = {"guided": PerformanceGuidedSampler(classes_per_request=5)}
    if args.unguided:
        samplers["unguided"] = UnguidedSampler(classes_per_request=5)
    models = []
    with serve(fetch_qwen()) as base_url:
        for seed in range(args.seeds):
            labelled, _ = split_train(texts, y, args.n_labelled, seed)
            models.append((seed, "baseline", clone(student).fit(*labelled)))
            for arm, sampler in samplers.items():
                clf = PGKDClassifier(
                    OpenAITeacher("qwen", base_url=base_url, max_tokens=800, price=(0, 0)),
                    student,
                    sampler,
                    max_cycles=args.cycles,
                    samples_per_cycle=args.samples_per_cycle,
                    synthetic_weight=args.synthetic_weight,
                    task_description=TASKS.get(args.dataset),
                    run_dir=args.run_dir,
                    random_state=seed,
                    verbose=1,
                ).fit(*labelled)
                models.append((seed, arm, clf))

    X_test, y_test = read(args.data / args.dataset / "test.csv")
    rows = []
    for seed, arm, model in models:
        predicted = model.predict(X_test)
        row = {
            "seed": seed,
            "arm": arm,
            "accuracy": accuracy_score(y_test, predicted),
            "f1": f1_score(y_test, predicted, average="macro"),
        }
        if arm != "baseline":
            row["best_cycle"] = model.best_cycle_
            row["n_accepted"] = sum(t.verdict == "accepted" for t in model.synthetic_)
            row["seconds"] = sum(cycle.seconds for cycle in model.history_)
        rows.append(row)
        print(row)
    arguments = {k: v for k, v in vars(args).items() if k not in ("data", "run_dir")}
    save(
        Path(__file__).parent / "results" / f"local_llm_{args.dataset}.json",
        {"args": arguments, "rows": rows},
    )
    baseline = np.array([row["accuracy"] for row in rows if row["arm"] == "baseline"])
    for arm in dict.fromkeys(row["arm"] for row in rows):
        accuracy = np.array([row["accuracy"] for row in rows if row["arm"] == arm])
        print(arm, "accuracy {:.3f} ± {:.3f}".format(*interval(accuracy)), end="; ")
        print("against the baseline {:+.4f} ± {:.4f}".format(*interval(accuracy - baseline)))


if __name__ == "__main__":
    main()
