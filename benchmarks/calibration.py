"""What the gate's temperature does to texts that it has not seen, and whether it outlives a refit.

    python calibration.py DATA

DATA is the folder of the data sets. For each data set, regularisation and seed: a student learns
the labelled texts without the gate, the gate fits the temperature, and the student is trained once
more on all. Both are scored on hidden training texts; no test file is read.
"""

import sys
from pathlib import Path

import numpy as np
from common import read, split_train
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

from pgkd.evaluation.calibration import _Gaps, apply_temperature, calibrate, fit_temperature
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.splitting import hold_out
from pgkd.students.any_student import predict_proba

LABELLED = {"banking77": 800, "massive_en": 800, "hwu64": 800, "hint3_curekart": 200}
N_HIDDEN = 2500


def score(probabilities, codes, n_classes):
    loss = log_loss(codes, probabilities, labels=range(n_classes))
    return loss, _Gaps(probabilities, codes).measure()


def run(texts, y, n_labelled, C, seed):
    labelled, (hidden, hidden_y) = split_train(texts, y, n_labelled, seed)
    labelled = LabelledTexts(list(labelled[0]), labelled[1])
    hidden, hidden_y = list(hidden)[:N_HIDDEN], hidden_y[:N_HIDDEN]
    classes = np.unique(labelled.y)
    codes = np.searchsorted(classes, hidden_y)
    kept, gate = hold_out(labelled.texts, labelled.y, 0.2, np.random.RandomState(seed))
    gate = labelled.take(gate)

    def learn(data):
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        return make_pipeline(words, LogisticRegression(C=C, max_iter=200)).fit(data.texts, data.y)

    student, refitted = learn(labelled.take(kept)), learn(labelled)
    found = calibrate(gate, predict_proba(student, gate.texts, classes), classes, seed)
    before, after = (predict_proba(one, hidden, classes) for one in (student, refitted))
    return {
        "temperature": found.temperature,
        "best": fit_temperature(before, codes),
        "best, refitted": fit_temperature(after, codes),
        "own": score(after, codes, len(classes)),
        "calibrated": score(apply_temperature(after, found.temperature), codes, len(classes)),
    }


def main(data):
    rows = []
    print("| data set | C | temperature | log loss | calibrated | error | calibrated |")
    print("|---|---|---|---|---|---|---|")
    for name, n_labelled in LABELLED.items():
        texts, y = read(Path(data) / name / "train.csv")
        for C in (1, 30, 1000):
            new = [run(texts, y, n_labelled, C, seed) for seed in range(3)]
            temperature = np.mean([row["temperature"] for row in new])
            (loss, error), (loss_after, error_after) = (
                np.mean([row[key] for row in new], axis=0) for key in ("own", "calibrated")
            )
            print(
                f"| {name} | {C} | {temperature:.2f} | {loss:.3f} | {loss_after:.3f} "
                f"| {error:.3f} | {error_after:.3f} |",
                flush=True,
            )
            rows += new
    taken = [row for row in rows if row["temperature"] != 1]
    n_better = sum(row["calibrated"][0] < row["own"][0] for row in taken)
    factors = [np.exp(abs(np.log(row["best"] / row["best, refitted"]))) for row in rows]
    print(
        f"\nA temperature was taken in {len(taken)} of {len(rows)} runs; the log loss of the "
        f"refitted student fell in {n_better} of them. Its best temperature is that of the one "
        f"before but for a factor of at most {max(factors):.2f}."
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
