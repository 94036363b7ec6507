"""What two processes run, each for itself: `test_ranks.py` starts it and reads the files."""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from conftest import WordTeacher
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from students.tiny_bert import write_texts

from pgkd import CascadeClassifier, Evidence, PGKDClassifier
from pgkd.exceptions import TeacherAuthenticationError
from pgkd.records import Example, Generation, Usage
from pgkd.students import TransformerStudent, _training

FOLDER = Path(sys.argv[1])
RANK = int(os.environ["RANK"])
TEXTS, LABELS = write_texts()


class Teacher(WordTeacher):
    """Counts its calls in a file; after `n_answers` comes `error`, or Ctrl-C in both processes."""

    def __init__(self, name, n_answers=None, error=None):
        super().__init__()
        self.name, self.n_answers, self.error = name, n_answers, error

    def __sklearn_clone__(self):
        return self

    def _call(self, generations):
        with (FOLDER / f"{self.name}.calls").open("a") as calls:
            calls.write(f"{RANK}\n")
        for i, generation in enumerate(generations):
            if i == self.n_answers:
                if self.error:
                    raise self.error
                for rank in (1, 0):
                    os.kill(int((FOLDER / f"{rank}.pid").read_text()), signal.SIGINT)
                time.sleep(5)
            yield generation

    def generate(self, requests):
        return self._call(super().generate(requests))

    def annotate(self, requests):
        def answer(request):
            truth = dict(zip(TEXTS, LABELS))
            examples = tuple(Example(text, truth[text]) for text in request.texts)
            return Generation(request, examples, usage=Usage(1, 50, 5, cost=0.01))

        return self._call(map(answer, requests))


class Callback:
    def __init__(self, name):
        self.name = name

    def on_event(self, event):
        with (FOLDER / f"{self.name}.events").open("a") as events:
            events.write(f"{RANK} {event.kind}\n")


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class FailsInRank1(LogisticRegression):
    """Once there are generated texts."""

    def fit(self, X, y, **params):
        if RANK == 1 and X.shape[0] > len(TEXTS):
            raise MemoryError("rank 1 has no memory left")
        return super().fit(X, y, **params)


@contextlib.contextmanager
def watched_batches():
    """Note how many texts each training step of this process has."""
    batches, compute_loss = [], _training._WeightedTrainer.compute_loss

    def watched(self, model, inputs, *args, **kwargs):
        batches.append([type(model).__name__, len(inputs["labels"])])
        return compute_loss(self, model, inputs, *args, **kwargs)

    _training._WeightedTrainer.compute_loss = watched
    yield batches
    _training._WeightedTrainer.compute_loss = compute_loss


def linear(head=None):
    return make_pipeline(TfidfVectorizer(), head or LogisticRegression())


def describe(clf):
    return {
        "classes": clf.classes_.tolist(),
        "synthetic": [repr(text) for text in clf.synthetic_],
        "scores": [step.score for step in clf.history_],
        "probabilities": clf.predict_proba(TEXTS).tolist(),
        "usage": repr(clf.usage_),
        "stop_reason": clf.stop_reason_,
    }


def fit(name, student, teacher=None, **params):
    clf = PGKDClassifier(
        teacher or Teacher(name),
        student,
        callbacks=[Callback(name)],
        **{"max_cycles": 2, "samples_per_cycle": 6, "evidence": Evidence(patience=9), **params},
    )
    return clf.fit(TEXTS[:: 1 if RANK == 0 else -1], LABELS)  # rank 0's texts count


def attempt(name, error, n_answers, student=None, **params):
    """Fit with a teacher that fails."""
    try:
        found = describe(fit(name, student or linear(), Teacher(name, n_answers, error), **params))
    except BaseException as raised:
        found = {"error": repr(raised)}
    write(name, found)


def write(name, found):
    (FOLDER / f"{name}.{RANK}.json").write_text(json.dumps(found))


def run():
    (FOLDER / f"{RANK}.pid").write_text(str(os.getpid()))
    np.random.seed(RANK)  # what no `random_state` is drawn from
    evidence = Evidence(keep_all=True, patience=9)
    clf = fit("linear", linear(), run_dir=FOLDER / "run", evidence=evidence)
    clf.save(FOLDER / "saved")
    write("linear", describe(clf))

    student = TransformerStudent(FOLDER / "tiny_bert", n_epochs=2, learning_rate=3e-3, batch_size=8)
    with watched_batches() as batches:
        fitted = student.fit(TEXTS, LABELS, X_val=TEXTS[:6], y_val=LABELS[:6])
    weights = [p.detach().double().sum().item() for p in fitted.model_.parameters()]
    write("student", {"batches": batches, "weights": weights, "loss": fitted.validation_loss_})
    evidence = Evidence(validation_fraction=0.3, feedback="validation", synthetic_weight=1.0)
    params = {"max_cycles": 1, "routes": ("write",), "evidence": evidence}
    write("transformer", describe(fit("transformer", student, **params)))

    cascade = CascadeClassifier(linear(), Teacher("cascade")).fit(TEXTS, LABELS)
    write("cascade", {"thresholds": cascade.thresholds_.tolist(), "usage": repr(cascade.usage_)})

    attempt("refused", TeacherAuthenticationError("no such key"), 0)
    attempt("unpicklable", Unpicklable(1, 2), 0)
    params = {"routes": ("write",), "evidence": Evidence(probe_size=0)}
    attempt("interrupted", None, 1, samples_per_cycle=30, **params)
    attempt("alone", None, None, linear(FailsInRank1()), **params)


if __name__ == "__main__":
    run()
