"""The rule that decides whether a student learns a teacher's texts, and at what weight.

    python benchmarks/deciders.py DATA [--datasets banking77 ...] [--sizes 100 160 400 800]
        [--seeds 3] [--jobs 2]

DATA has a folder a data set with train.csv and test.csv (columns text, label). A teacher brings n/2
texts (300 at most) of the hidden part, 0, 30, 60 or 100 % of them with a wrong label. A student
learns the labelled texts, and the teacher's at weight 1, 0.3, 0.1 or not at all. Each rule sees
out-of-fold predictions of the labelled texts; it is judged by what its choice does to the accuracy
on the test file. Trainings and rules are apart: rules are tried on the numbers in the results.

A run that is in the results is not run again.
"""

import argparse
import itertools
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
from common import RESULTS, append, make_table, read, read_rows, split_train
from joblib import Parallel, delayed
from local_models import fetch_minilm
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline

from pgkd.evaluation.calibration import apply_temperature, fit_temperature
from pgkd.inputs.splitting import hold_out, make_folds
from pgkd.loop.decider import N_FINISHED, N_SCREENING
from pgkd.records import Comparison
from pgkd.students import EmbeddingStudent

DATASETS = {"banking77": 77, "massive_en": 60, "hwu64": 64, "hint3_curekart": 28}
STUDENTS = ("minilm", "tfidf")
ERRORS = (0.0, 0.3, 0.6, 1.0)
WEIGHTS = (1.0, 0.3, 0.1)
N_FOLDS = 5
PATH = RESULTS / "deciders.jsonl"


@lru_cache(maxsize=1)
def load(data, dataset, student):
    """Return features and labels of both files; TF-IDF knows the words of the train file alone."""
    (texts, y), (X_test, y_test) = (read(data / dataset / f"{n}.csv") for n in ("train", "test"))
    if student == "minilm":
        encoder = EmbeddingStudent(fetch_minilm()).fit(texts[:2], ["a", "b"]).encoder_
        return texts, encoder.encode(texts, 64), y, encoder.encode(X_test, 64), y_test
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return texts, vectorizer.fit_transform(texts), y, vectorizer.transform(X_test), y_test


def train(student, X, y, weights):
    if student == "minilm":
        model = LogisticRegression(C=100, tol=1e-4, max_iter=300)
    else:
        model = SGDClassifier(loss="log_loss", alpha=1e-4, max_iter=50, random_state=0)
    return make_pipeline(model).fit(
        X, y, **{f"{type(model).__name__.lower()}__sample_weight": weights}
    )


def run(data, dataset, student, size, seed, error):
    warnings.simplefilter("ignore")
    texts, X, y, X_test, y_test = load(data, dataset, student)
    rows = split_train(list(range(len(y))), y, size, seed)
    labelled, hidden = np.array(rows[0][0]), np.array(rows[1][0])
    rng = np.random.default_rng(1000 + seed)
    brought = rng.permutation(hidden)[: min(size // 2, 300)]
    classes = np.unique(y)
    given = y[brought].copy()
    for i in np.flatnonzero(rng.random(len(brought)) < error):
        given[i] = rng.choice(classes[classes != given[i]])
    own = y[labelled]
    names = [texts[i] for i in labelled]

    def fit(rows, weight):
        labels, weights = own[rows], np.ones(len(rows))
        where = labelled[rows]
        if weight:
            where = np.concatenate([where, brought])
            labels = np.concatenate([labels, given])
            weights = np.concatenate([weights, np.full(len(brought), weight)])
        return train(student, X[where], labels, weights)

    def predict(model, where, truth=None):
        found = np.zeros((len(where), len(classes)))
        found[:, np.searchsorted(classes, model.classes_)] = model.predict_proba(X[where])
        if truth is not None:  # credit with a guess
            found[~np.isin(truth, model.classes_)] = 1 / len(classes)
        return np.clip(found, 1e-12, 1)

    folds = make_folds(names, own, N_FOLDS, seed)
    fold_of = np.empty(len(own), dtype=int)
    for k, (_, judged) in enumerate(folds):
        fold_of[judged] = k
    row = {"dataset": dataset, "student": student, "size": size, "seed": seed, "error": error}
    everything = np.arange(len(own))
    kept, gate = hold_out(names, own, 0.2, np.random.RandomState(seed))
    scores, row["test"], row["gate"] = {}, {}, {}
    for weight in (0.0, *WEIGHTS):
        probabilities = np.zeros((len(own), len(classes)))
        for learnt, judged in folds:
            model = fit(learnt, weight)
            probabilities[judged] = predict(model, labelled[judged], own[judged])
        scores[weight] = measure(probabilities, own, classes, fold_of)
        found = fit(everything, weight).predict(X_test)
        row["test"][str(weight)] = round(float(np.mean(found == y_test)), 5)
        held = measure(predict(fit(kept, weight), labelled[gate], own[gate]), own[gate], classes)
        row["gate"][str(weight)] = held
    row["oof"] = {
        str(weight): {
            part: compare(scores[0.0][part], scores[weight][part]) for part in ("all", "few")
        }
        for weight in WEIGHTS
    }
    row["gate"] = {
        str(w): compare(row["gate"]["0.0"]["all"], row["gate"][str(w)]["all"]) for w in WEIGHTS
    }
    return row


def measure(probabilities, truth, classes, fold_of=None):
    """Return what is right, and the calibrated and the plain log likelihood, text by text."""
    codes = np.searchsorted(classes, truth)
    parts = {"all": np.ones(len(truth), dtype=bool)}
    if fold_of is not None:
        parts["few"] = fold_of < N_SCREENING
    scores = {}
    for name, rows in parts.items():
        own, c = probabilities[rows], codes[rows]
        calibrated = apply_temperature(own, fit_temperature(own, c))
        every = np.arange(len(c))
        scores[name] = (
            (own.argmax(axis=1) == c).astype(float),
            np.log(np.clip(calibrated[every, c], 1e-12, 1)),
            np.log(own[every, c] / own.sum(axis=1)),
        )
    return scores


def compare(before, after):
    """Return mean gain and standard error of each measure, and their correlation."""
    gains = [b - a for a, b in zip(before, after)]
    n = len(gains[0])
    values = [(float(g.mean()), float(g.std(ddof=1) / np.sqrt(n))) for g in gains]
    both = np.corrcoef(gains[0], gains[1])[0, 1] if min(g.std() for g in gains[:2]) else 0.0
    return [round(v, 6) for pair in values for v in pair] + [round(float(both), 4), n]


# The rules: each takes what was compared, weight by weight, and returns a weight, or 0.


def z(gain, error):
    return gain / error if error else np.sign(gain) * 9


def by_accuracy(found):
    best = max(found, key=lambda w: found[w][0])
    return best if found[best][0] > 0 else 0.0


def by_log_loss_and_accuracy(found):
    fit = [w for w, f in found.items() if f[4] > 0 and f[0] >= -f[1]]
    return max(fit, key=lambda w: found[w][4], default=0.0)


def by_gate(found):
    fit = [w for w, f in found.items() if f[4] > f[5]]
    return max(fit, key=lambda w: found[w][4], default=0.0)


def by_mean_z(found):
    score = {w: (z(*f[:2]) + z(*f[2:4])) / 2 for w, f in found.items()}
    best = max(score, key=score.get)
    return best if score[best] > 0.5 else 0.0


def by_pgkd(found):
    """The rule of the library: the expected gain, of both measures, shrunk towards none."""
    gains = {w: make_comparison(f).gain for w, f in found.items()}
    best = max(gains, key=gains.get)
    return best if make_comparison(found[best]).taken else 0.0


def make_comparison(f):
    return Comparison("accuracy", 0.0, f[0], f[1], f[2], f[3], f[6], f[7])


def screen(row):
    """Choose as the library does: all weights on few folds, the close ones on the others."""
    few = {w: make_comparison(f["few"]) for w, f in row["oof"].items()}
    best = max(c.gain for c in few.values())
    hope = {w: c.gain + c.gain_error for w, c in few.items()}
    close = [w for w in few if hope[w] >= max(best, 0.0)]
    close = sorted(close, key=lambda w: -few[w].gain)[:N_FINISHED]
    return by_pgkd({float(w): row["oof"][w]["all"] for w in close}) if close else 0.0


RULES = {
    "never": lambda found: 0.0,
    "always, weight 1": lambda found: 1.0,
    "accuracy > 0": by_accuracy,
    "log loss > 0 and accuracy >= -1 SE": by_log_loss_and_accuracy,
    "mean of both z > 0.5": by_mean_z,
    "expected gain > 0": by_pgkd,
}


def judge(rows, choose):
    """Return the gain, the gap to the best choice, the share of harm and the worst run."""
    gains, gaps = [], []
    for row in rows:
        test = {float(w): v for w, v in row["test"].items()}
        gains.append(100 * (test[choose(row)] - test[0.0]))
        gaps.append(100 * (max(test.values()) - test[0.0]) - gains[-1])
    gains = np.array(gains)
    return gains.mean(), np.mean(gaps), 100 * np.mean(gains < -1), gains.min()


def judge_all(rows):
    """Judge each rule, by its name."""
    gate = judge(rows, lambda row: by_gate({float(w): f for w, f in row["gate"].items()}))
    found = {"a gate of a fifth, log loss > 1 SE (the old rule)": gate}
    for name, rule in RULES.items():
        found[name] = judge(
            rows, lambda row, rule=rule: rule({float(w): f["all"] for w, f in row["oof"].items()})
        )
    return found | {"expected gain > 0, screened (the library's rule)": judge(rows, screen)}


def tabulate(rows):
    lines = [
        [name, f"{gain:+.2f}", f"{gap:.2f}", f"{harm:.1f}", f"{worst:+.1f}"]
        for name, (gain, gap, harm, worst) in judge_all(rows).items()
    ]
    titles = ["rule", "gain", "gap to the best choice", "harm, % of runs", "worst run"]
    return make_table(titles, lines)


def report(rows):
    by_size = {f"{n} labelled": ("size", n) for n in sorted({r["size"] for r in rows})}
    by_error = {f"wrong in {error:.0%}": ("error", error) for error in ERRORS}
    groups = {"all": None, **{s: ("student", s) for s in STUDENTS}, **by_size, **by_error}
    for title, group in groups.items():
        chosen = [row for row in rows if group is None or row[group[0]] == group[1]]
        if chosen:
            print(f"\n{title}, {len(chosen)} runs\n{tabulate(chosen)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--students", nargs="+", default=list(STUDENTS), choices=STUDENTS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[100, 160, 400, 800])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    keys = ("dataset", "student", "size", "seed", "error")
    known = {tuple(row[k] for k in keys) for row in read_rows(PATH)}
    todo = [
        job
        for job in itertools.product(
            args.datasets, args.students, args.sizes, range(args.seeds), ERRORS
        )
        if job not in known
        and DATASETS[job[0]] <= job[2]
        and (job[0] != "hint3_curekart" or job[2] <= 400)
    ]
    for row in Parallel(n_jobs=args.jobs, return_as="generator_unordered")(
        delayed(run)(args.data, *job) for job in todo
    ):
        append(PATH, row)
    report(read_rows(PATH))


if __name__ == "__main__":
    main()
