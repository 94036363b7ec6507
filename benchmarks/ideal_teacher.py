"""What the loop gains from a teacher without mistakes, and loses by one that is always wrong.

    python benchmarks/ideal_teacher.py DATA [--dataset banking77] [--seeds 3] [--student embedding]
        [--arms guided unguided wrong pool pool_random]

DATA has a folder a data set with train.csv and test.csv (columns text, label). 800 labelled texts,
6 cycles of 100. The ideal teacher serves hidden real texts; the wrong one gives each another
class's label. In the pool arms it labels hidden texts, those the student is least sure of or any.
The test file is read once, after all fitting.
"""

import argparse
from pathlib import Path

import numpy as np
from common import interval, read, save, split_train
from local_models import fetch_minilm
from sklearn.base import BaseEstimator, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.records import Example, Generation
from pgkd.samplers import PerformanceGuidedSampler, UncertaintySampler, UnguidedSampler
from pgkd.students import EmbeddingStudent
from pgkd.testing import PoolTeacher

#: Samplers for an ideal teacher; "wrong": guided, for one that is always wrong.
SAMPLERS = {
    "guided": PerformanceGuidedSampler(),
    "unguided": UnguidedSampler(),
    "wrong": PerformanceGuidedSampler(),
    "pool": UncertaintySampler(n_candidates=1000, generator=UnguidedSampler()),
    "pool_random": UncertaintySampler(
        n_candidates=1000, strategy="random", generator=UnguidedSampler()
    ),
}


class WrongTeacher(BaseEstimator):
    """Serves real texts, each under the label of another class."""

    def __init__(self, pool):
        self.pool = pool

    def generate(self, requests):
        for generation in self.pool.generate(requests):
            labels = list(dict.fromkeys(self.pool.labels.tolist()))
            examples = tuple(
                Example(e.text, labels[(labels.index(e.label) + 1) % len(labels)])
                for e in generation.examples
            )
            yield Generation(generation.request, examples, usage=generation.usage)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--dataset", default="banking77")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--student", choices=["embedding", "tfidf"], default="embedding")
    parser.add_argument("--n-labelled", type=int, default=800)
    parser.add_argument("--arms", nargs="+", default=list(SAMPLERS), choices=SAMPLERS)
    args = parser.parse_args()

    texts, y = read(args.data / args.dataset / "train.csv")
    student = (
        EmbeddingStudent(fetch_minilm())
        if args.student == "embedding"
        else make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            LogisticRegression(C=30, tol=1e-6, max_iter=2000),
        )
    )
    models = []
    for seed in range(args.seeds):
        labelled, hidden = split_train(texts, y, args.n_labelled, seed)
        pool = PoolTeacher(*hidden, random_state=seed)
        models.append((seed, "baseline", clone(student).fit(*labelled)))
        for arm in args.arms:
            teacher = WrongTeacher(pool) if arm == "wrong" else pool
            clf = PGKDClassifier(
                teacher,
                student,
                SAMPLERS[arm],
                max_cycles=6,
                samples_per_cycle=100,
                random_state=seed,
            ).fit(*labelled, X_unlabeled=hidden[0] if arm.startswith("pool") else None)
            kept = [cycle.number for cycle in clf.history_ if cycle.kept]
            print(f"seed {seed} {arm}: best cycle {clf.best_cycle_}, kept {kept}", flush=True)
            models.append((seed, arm, clf))

    X_test, y_test = read(args.data / args.dataset / "test.csv")
    rows = []
    for seed, arm, model in models:
        predicted = model.predict(X_test)
        f1 = f1_score(y_test, predicted, average="macro")
        rows.append(
            {"seed": seed, "arm": arm, "accuracy": accuracy_score(y_test, predicted), "f1": f1}
        )
    name = f"ideal_teacher_{args.dataset}_{args.student}.json"
    save(
        Path(__file__).parent / "results" / name,
        {"args": vars(args) | {"data": None}, "rows": rows},
    )
    print("| arm | accuracy | macro F1 | accuracy against the baseline |")
    print("|---|---|---|---|")
    baseline = np.array([row["accuracy"] for row in rows if row["arm"] == "baseline"])
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        accuracy = np.array([row["accuracy"] for row in own])
        cells = ["{:.3f} ± {:.3f}".format(*interval(v)) for v in (accuracy, [r["f1"] for r in own])]
        print(
            f"| {arm} | {' | '.join(cells)} | {{:+.3f}} ± {{:.3f}} |".format(
                *interval(accuracy - baseline)
            )
        )


if __name__ == "__main__":
    main()
