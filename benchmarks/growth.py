"""How `fit` grows in time, memory and tokens with classes, cycles and generated texts.

    python benchmarks/growth.py DATA [--axes classes cycles texts] [--student tfidf] [--seeds 3]

The texts are those of the so many largest classes of banking77, massive_en and naics4 together: 406
classes in all. 800 labelled ones; an ideal teacher serves the hidden others, 3 cycles of 100 for 64
classes where nothing else is said. All else is as by default, but that no run stops early. TF-IDF
with logistic regression, trained by stochastic gradient descent, or MiniLM embeddings with a linear
head: students as fast as they come, so that the loop's own share is as large as it gets.

Time is taken inside `fit` and `predict_proba` of the students and `generate` of the teacher, which
are subclassed for it; the rest of `fit` is the loop's. Tokens are those that an LLM would have been
sent and have answered: prompts rendered by OpenAITeacher, answers as its JSON, counted by MiniLM's
tokenizer. Each run has a process of its own; `before` is its memory before `fit`, imports and data
included. A run that is in the results is not run again.
"""

import argparse
import functools
import json
import multiprocessing
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from common import RESULTS, append, read, read_rows, show_median, split_train
from ideal_teacher import make_student
from local_models import fetch_minilm
from throughput_clients import peak_mib
from tokenizers import Tokenizer

from pgkd import PGKDClassifier
from pgkd.teachers import OpenAITeacher
from pgkd.testing import PoolTeacher

DATASETS = ("banking77", "massive_en", "naics4")
N_LABELLED = 800
DEFAULTS = {"n_classes": 64, "n_cycles": 3, "n_texts": 100}
AXES = {
    "classes": ("n_classes", [4, 16, 64, 128, 256, 375]),
    "cycles": ("n_cycles", [1, 3, 6, 12]),
    "texts": ("n_texts", [50, 100, 200, 400]),
}


class Clock:
    """Adds up the seconds that parts of a run take; a call inside another counts once."""

    def __init__(self):
        self.seconds = Counter()
        self._is_running = False

    @contextmanager
    def time(self, part):
        if self._is_running:
            yield
            return
        self._is_running, start = True, time.perf_counter()
        try:
            yield
        finally:
            self._is_running = False
            self.seconds[part] += time.perf_counter() - start


CLOCK = Clock()
GENERATIONS = []


def make_timed(student):
    """Make the same student of a subclass that is timed; clones are of that class, too."""

    def timed(method):
        @functools.wraps(method)  # the loop looks for `sample_weight` in the signature
        def call(*args, **kwargs):
            with CLOCK.time("student"):
                return method(*args, **kwargs)

        return call

    kind = type(student)
    methods = {name: timed(getattr(kind, name)) for name in ("fit", "predict_proba")}
    return type(kind.__name__, (kind,), methods)(**student.get_params(deep=False))


class TimedTeacher(PoolTeacher):
    """Notes what it was asked and has answered."""

    def generate(self, requests):
        answers = super().generate(requests)
        while True:
            with CLOCK.time("teacher"):
                generation = next(answers, None)
            if generation is None:
                return
            GENERATIONS.append(generation)
            yield generation


def read_largest(data, n_classes):
    """Read the texts of the `n_classes` largest classes of all data sets together."""
    texts, labels = [], []
    for dataset in DATASETS:
        own, y = read(data / dataset / "train.csv")
        texts += own
        labels += [f"{dataset}: {label}" for label in y]
    counts = Counter(labels)
    chosen = set(sorted(counts, key=lambda label: (-counts[label], label))[:n_classes])
    rows = [i for i, label in enumerate(labels) if label in chosen]
    return [texts[i] for i in rows], np.array([labels[i] for i in rows])


def run(data, student, seed, n_classes, n_cycles, n_texts):
    warnings.simplefilter("ignore")
    labelled, hidden = split_train(*read_largest(data, n_classes), N_LABELLED, seed)
    model = make_student(student)
    if student == "embedding":  # the encoder is loaded, and nothing is embedded
        model.fit(["a", "b"], ["a", "b"])
    clf = PGKDClassifier(
        TimedTeacher(*hidden, random_state=seed),
        make_timed(model),
        max_cycles=n_cycles,
        samples_per_cycle=n_texts,
        patience=n_cycles,
        random_state=seed,
    )
    before, start = peak_mib(), time.perf_counter()
    clf.fit(*labelled)
    seconds = time.perf_counter() - start
    peak = peak_mib()
    n_prompt, n_answer = count_tokens(GENERATIONS)
    return {
        "student": student,
        "seed": seed,
        "n_classes": n_classes,
        "n_cycles": n_cycles,
        "n_texts": n_texts,
        "seconds": seconds,
        "student_seconds": CLOCK.seconds["student"],
        "teacher_seconds": CLOCK.seconds["teacher"],
        "cycle_seconds": [cycle.seconds for cycle in clf.history_],
        "mib_before": before,
        "peak_mib": peak,
        "n_requests": len(GENERATIONS),
        "prompt_tokens": n_prompt,
        "answer_tokens": n_answer,
        "n_learnt": sum(t.verdict == "accepted" for t in clf.synthetic_),
    }


def count_tokens(generations):
    tokenizer = Tokenizer.from_file(str(fetch_minilm() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts):
        return sum(len(encoding) for encoding in tokenizer.encode_batch(texts))

    render = OpenAITeacher("any").render
    prompts = [message["content"] for g in generations for message in render(g.request)]
    answers = []
    for generation in generations:
        by_label = {}
        for example in generation.examples:
            by_label.setdefault(str(example.label), []).append(example.text)
        answers.append(json.dumps(by_label))
    return count(prompts), count(answers)


def list_jobs(axes):
    """List the settings of each axis, the others as by default."""
    for axis in axes:
        name, values = AXES[axis]
        for value in values:
            yield {**DEFAULTS, name: value}


def report(rows, axes):
    print(
        "| classes | cycles | texts a cycle | fit, s | student's | teacher's | loop's "
        "| first, last cycle, s | peak MiB (before) | requests | prompt, answer tokens |"
    )
    print("|" + "---|" * 11)
    done = []
    for job in list_jobs(axes):
        own = [row for row in rows if all(row[name] == value for name, value in job.items())]
        if not own or job in done:
            continue
        done.append(job)
        shares = {
            part: [row[f"{part}_seconds"] / row["seconds"] for row in own]
            for part in ("student", "teacher")
        }
        loop = [1 - a - b for a, b in zip(*shares.values())]
        median = {name: np.median([row[name] for row in own]) for name in NUMBERS}
        ends = [np.median([row["cycle_seconds"][i] for row in own]) for i in (1, -1)]
        cells = [
            *(str(value) for value in job.values()),
            show_median([row["seconds"] for row in own]),
            *(f"{np.median(shares[part]):.1%}" for part in shares),
            f"{np.median(loop):.1%} ({min(loop):.1%}–{max(loop):.1%})",
            f"{ends[0]:.2f}, {ends[1]:.2f}",
            f"{median['peak_mib']:.0f} ({median['mib_before']:.0f})",
            f"{median['n_requests']:.0f}",
            f"{median['prompt_tokens']:,.0f}, {median['answer_tokens']:,.0f}",
        ]
        print(f"| {' | '.join(cells)} |")


NUMBERS = ("peak_mib", "mib_before", "n_requests", "prompt_tokens", "answer_tokens")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--axes", nargs="+", default=list(AXES), choices=list(AXES))
    parser.add_argument("--student", choices=["embedding", "tfidf"], default="tfidf")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS / "growth.jsonl")
    args = parser.parse_args()

    keys = ("student", "seed", *DEFAULTS)
    known = [{key: row[key] for key in keys} for row in read_rows(args.results)]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for seed in range(args.seeds):
            for job in list_jobs(args.axes):
                settings = {"student": args.student, "seed": seed, **job}
                if settings in known:
                    continue
                known.append(settings)
                row = pool.apply(run, (args.data,), settings)
                append(args.results, row)
                print(json.dumps(row), flush=True)
    report([r for r in read_rows(args.results) if r["student"] == args.student], args.axes)


if __name__ == "__main__":
    main()
