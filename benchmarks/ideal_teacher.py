"""What guidance is worth: an ideal teacher, and the samplers that ask it.

    python benchmarks/ideal_teacher.py DATA [--datasets banking77 naics4 ...] [--sizes 800]
        [--seeds 5] [--scoring f1_macro] [--arms guided uniform ...] [--student tfidf]
        [--scout] [--jobs 2]

DATA has a folder a data set with train.csv and test.csv (columns text, label). The ideal teacher
serves hidden real texts of the wanted classes. So many labelled texts, and 3 cycles of 200 (of 60
where there are fewer than 1,000 texts in all). `student` is TF-IDF with logistic regression,
trained by stochastic gradient descent ("tfidf") or to the end ("logistic", slow with hundreds of
classes), or MiniLM embeddings with a linear head. The loop's own weighting of generated texts is
off: every text of this teacher is right. `--scout`: TF-IDF by gradient descent goes through the
loop in place of the student, which is trained on the outcome.

A run that is in the results is not run again. Each fitted model sees the test file once.
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
from joblib import Parallel, delayed
from local_models import fetch_minilm
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

from pgkd import Evidence, PGKDClassifier
from pgkd.samplers import (
    EvoKDSampler,
    LLM2LLMSampler,
    PerformanceGuidedSampler,
    UncertaintySampler,
    UnguidedSampler,
)
from pgkd.students import EmbeddingStudent
from pgkd.testing import PoolTeacher

N_CLASSES = {"banking77": 77, "massive_en": 60, "hwu64": 64, "naics4": 269, "hint3_curekart": 28}
DATASETS = list(N_CLASSES)
LARGEST = {"hint3_curekart": 400}  # of 592 texts
UNGUIDED = UnguidedSampler()
#: Arms that share out the same number of texts over another number of cycles than 3.
N_CYCLES = {"one_shot": 1}
#: Arms whose name is not that of a quota of the guided sampler.
SAMPLERS = {
    "guided": PerformanceGuidedSampler(),
    "uniform": UNGUIDED,
    "prior": UnguidedSampler(quota="prior"),
    "one_shot": UNGUIDED,
    "evokd": EvoKDSampler(),
    "llm2llm": LLM2LLMSampler(),
    "pool": UncertaintySampler(n_candidates=1000, strategy="margin"),
    "pool_diverse": UncertaintySampler(n_candidates=1000),
    "pool_random": UncertaintySampler(n_candidates=1000, strategy="random"),
}
ARMS = ["guided", "weakness", "errors", "confusion", "past_gain", *list(SAMPLERS)[1:]]


def make_student(name):
    if name == "embedding":
        return EmbeddingStudent(fetch_minilm())
    if name == "logistic":
        return make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, tol=1e-6, max_iter=5000)
        )
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=50),
    )


def run(data, dataset, size, seed, arm, scoring, student_name, has_scout):
    warnings.simplefilter("ignore")
    texts, y = read(data / dataset / "train.csv")
    labelled, hidden = split_train(texts, y, size, seed)
    per_cycle = 100 if len(y) >= 1000 else 30
    student = make_student(student_name)
    row = {"dataset": dataset, "size": size, "seed": seed, "arm": arm, "scoring": scoring}
    if arm == "baseline":
        if student_name == "tfidf":
            student.set_params(sgdclassifier__random_state=seed)
        model = student.fit(*labelled)
    else:
        n_cycles = N_CYCLES.get(arm, 3)
        model = PGKDClassifier(
            PoolTeacher(*hidden, random_state=seed),
            student,
            clone(SAMPLERS.get(arm) or PerformanceGuidedSampler(quota=arm)),
            routes=("label", "write") if arm.startswith("pool") else ("write",),
            max_cycles=n_cycles,
            samples_per_cycle=6 * per_cycle // n_cycles,
            scoring=scoring,
            evidence=Evidence(
                synthetic_weight=1.0,
                patience=6,
                probe_size=0,
                scout=make_student("tfidf") if has_scout else None,
            ),
            random_state=seed,
        ).fit(*labelled, X_unlabeled=hidden[0] if arm.startswith("pool") else None)
        row["n_learnt"] = sum(t.verdict == "accepted" for t in model.synthetic_)
        row["seconds"] = round(sum(step.seconds for step in model.history_), 1)
    X_test, y_test = read(data / dataset / "test.csv")
    predicted = model.predict(X_test)
    row["accuracy"] = accuracy_score(y_test, predicted)
    row["f1_macro"] = f1_score(y_test, predicted, average="macro", zero_division=0)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[800])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scoring", default="f1_macro", choices=["f1_macro", "accuracy"])
    parser.add_argument("--arms", nargs="+", default=["guided", "weakness", "uniform", "prior"])
    parser.add_argument("--student", choices=["tfidf", "logistic", "embedding"], default="tfidf")
    parser.add_argument("--scout", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()

    path = RESULTS / f"ideal_teacher_{args.student}{'_scouted' * args.scout}.jsonl"
    keys = ("dataset", "size", "seed", "arm", "scoring")
    known = {tuple(row[k] for k in keys) for row in read_rows(path)}
    todo = [
        (dataset, size, seed, arm, args.scoring)
        for seed, arm in itertools.product(range(args.seeds), ["baseline", *args.arms])
        for dataset, size in list_tables(args)
    ]
    todo = [job for job in todo if job not in known]
    for row in Parallel(n_jobs=args.jobs, return_as="generator_unordered")(
        delayed(run)(args.data, *job, args.student, args.scout) for job in todo
    ):
        append(path, row)
        print(json.dumps(row), flush=True)
    print(tabulate(read_rows(path), args.arms, args.scoring))


def list_tables(args):
    """List data sets and sizes: each class has a text, and most of the small set stays hidden."""
    tables = itertools.product(args.datasets, args.sizes)
    fitting = [(d, min(size, LARGEST.get(d, size))) for d, size in tables if size >= N_CLASSES[d]]
    return list(dict.fromkeys(fitting))


def tabulate(rows, arms, scoring="f1_macro"):
    """Make a table of all arms, and of guided ones against an even share, paired by seed."""
    arms = ["baseline", *arms]
    guided = [arm for arm in arms if arm.startswith("guided") and "uniform" in arms]
    lines = []
    for dataset, size in dict.fromkeys((r["dataset"], r["size"]) for r in rows):
        own = {
            arm: by_seed(rows, scoring, dataset=dataset, size=size, arm=arm, scoring=scoring)
            for arm in arms
        }
        cells = [show(list(found.values())) for found in own.values()]
        cells += [show_gain(own[arm], own["uniform"]) for arm in guided]
        lines.append([dataset, size, *cells])
    titles = ["data set", "labelled", "labelled alone", *arms[1:]]
    return make_table([*titles, *(f"{arm} − uniform" for arm in guided)], lines)


if __name__ == "__main__":
    main()
