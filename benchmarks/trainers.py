"""The ways to train that `training.py` compares.

    python trainers.py ARM JOB REPORT

An arm is a name, or a name and a number, as in "trainer 3". Each runs in a process of its own, and
may have a venv of its own: there is no pgkd in it. JOB is a JSON file: `model`, `texts`, `labels`,
`test_texts`, `test_labels`, `seed`. Each function returns `fit() -> predict`. What is imported and
compiled before `fit` is not counted; loading the model from the disk is. REPORT is the JSON file to
write.
"""

import json
import os
import resource
import sys
import tempfile
import time
from importlib.metadata import version

MAX_LENGTH = 128


def pgkd(job, n_epochs):
    from pgkd.students import TransformerStudent

    student = TransformerStudent(
        job["model"], n_epochs=int(n_epochs), learning_rate=5e-4, random_state=job["seed"]
    )
    return lambda: student.fit(job["texts"], job["labels"]).predict


def pgkd_embedding(job):
    from pgkd.students import EmbeddingStudent

    return lambda: EmbeddingStudent(job["model"]).fit(job["texts"], job["labels"]).predict


def trainer(job, n_epochs):
    """Train with all defaults but the number of epochs; 3 is the default.

    Nothing is saved or reported, which would cost time.
    """
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    classes = sorted(set(job["labels"]))

    def tokenize(tokenizer, texts):
        return tokenizer(texts, truncation=True, max_length=MAX_LENGTH)

    def fit():
        set_seed(job["seed"])
        tokenizer = AutoTokenizer.from_pretrained(job["model"])
        model = AutoModelForSequenceClassification.from_pretrained(
            job["model"], num_labels=len(classes)
        )
        encoded = tokenize(tokenizer, job["texts"])
        rows = [
            {**{name: encoded[name][i] for name in encoded}, "labels": classes.index(label)}
            for i, label in enumerate(job["labels"])
        ]
        arguments = TrainingArguments(
            tempfile.mkdtemp(),
            num_train_epochs=int(n_epochs),
            seed=job["seed"],
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Trainer(
            model,
            arguments,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=rows,
            processing_class=tokenizer,
        ).train()

        def predict(texts):
            found = []
            model.eval()
            for start in range(0, len(texts), 64):
                encoded = tokenize(tokenizer, texts[start : start + 64])
                batch = tokenizer.pad(encoded, return_tensors="pt").to(model.device)
                with torch.no_grad():
                    found += model(**batch).logits.argmax(dim=1).tolist()
            return [classes[i] for i in found]

        return predict

    return fit


def setfit(job, n_iterations=None):
    """Train with all defaults, or so many pairs of either kind for a text.

    The default takes all pairs of texts: about 40,000 steps for 800 texts of 77 classes.
    """
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    def fit():
        classes = sorted(set(job["labels"]))
        model = SetFitModel.from_pretrained(job["model"], labels=classes)
        arguments = TrainingArguments(
            output_dir=tempfile.mkdtemp(),
            seed=job["seed"],
            num_iterations=n_iterations and int(n_iterations),
            save_strategy="no",
            report_to="none",
            show_progress_bar=False,
        )
        rows = {"text": job["texts"], "label": job["labels"]}
        Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict(rows)).train()
        return lambda texts: list(model.predict(texts))

    return fit


def sbert(job):
    """Scikit-learn's logistic regression on frozen embeddings of sentence-transformers."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    def fit():
        encoder = SentenceTransformer(job["model"])
        head = LogisticRegression(max_iter=1000)
        head.fit(encoder.encode(job["texts"], show_progress_bar=False), job["labels"])
        return lambda texts: head.predict(encoder.encode(texts, show_progress_bar=False))

    return fit


TRAINERS = {
    "pgkd": (pgkd, "pgkd"),
    "pgkd_embedding": (pgkd_embedding, "pgkd"),
    "trainer": (trainer, "transformers"),
    "setfit": (setfit, "setfit"),
    "sbert": (sbert, "sentence-transformers"),
}


def main(arm, job_file, report_file):
    with open(job_file, encoding="utf-8") as file:
        job = json.load(file)
    name, *settings = arm.split()
    make, package = TRAINERS[name]
    fit = make(job, *settings)
    cpu, start = sum(os.times()[:4]), time.perf_counter()
    predict = fit()
    seconds, cpu_seconds = time.perf_counter() - start, sum(os.times()[:4]) - cpu
    right = [str(p) == t for p, t in zip(predict(job["test_texts"]), job["test_labels"])]
    report = {
        "version": version(package),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "accuracy": sum(right) / len(right),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    with open(report_file, "w", encoding="utf-8") as file:
        json.dump(report, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
