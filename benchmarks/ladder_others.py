"""Fit another package on a job of `ladder.py`, in the Python that has it installed.

python benchmarks/ladder_others.py JOB.json    # writes JOB.out
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path


def fit_setfit(job):
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    classes = sorted(set(job["y"]))
    model = SetFitModel.from_pretrained(job["model"])
    start = time.perf_counter()
    codes = [classes.index(label) for label in job["y"]]
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            batch_size=16, num_epochs=1, num_iterations=10, report_to="none", save_strategy="no"
        ),
        train_dataset=Dataset.from_dict({"text": job["X"], "label": codes}),
    )
    trainer.train()
    seconds = time.perf_counter() - start
    return [classes[int(code)] for code in model.predict(job["X_test"])], seconds


def fit_autointent(job):
    from autointent import Dataset, Pipeline
    from autointent.configs import DataConfig, SentenceTransformerEmbeddingConfig

    classes = sorted(set(job["y"]))
    rows = [{"utterance": t, "label": classes.index(y)} for t, y in zip(job["X"], job["y"])]
    fewest = min(Counter(job["y"]).values())
    space = [  # its preset "classic-light", without what rejects texts
        {
            "node_type": "scoring",
            "target_metric": "scoring_f1",
            "search_space": [
                {"module_name": "knn", "k": {"low": 1, "high": 20}, "weights": ["distance"]},
                # Its linear model has three folds of its own, within those of the pipeline.
                *([{"module_name": "linear"}] if fewest >= 8 else []),
            ],
        },
        {
            "node_type": "decision",
            "target_metric": "decision_accuracy",
            "search_space": [{"module_name": "argmax"}],
        },
    ]
    start = time.perf_counter()
    pipeline = Pipeline.from_search_space(space)
    pipeline.set_config(SentenceTransformerEmbeddingConfig(model_name=job["model"]))
    # Its hold-out wants five texts a class, its folds two.
    pipeline.set_config(DataConfig(scheme="cv", n_folds=min(3, fewest)))
    pipeline.fit(Dataset.from_dict({"train": rows}), refit_after=True)
    seconds = time.perf_counter() - start
    return [classes[int(code)] for code in pipeline.predict(job["X_test"])], seconds


def main():
    path = Path(sys.argv[1])
    job = json.loads(path.read_text(encoding="utf-8"))
    labels, seconds = {"setfit": fit_setfit, "autointent": fit_autointent}[job["arm"]](job)
    answer = {"labels": labels, "seconds": round(seconds, 2)}
    path.with_suffix(".out").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
