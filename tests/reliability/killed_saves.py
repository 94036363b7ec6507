"""What `test_killed_saves.py` starts: saves over a model, again and again, and is killed.

The processes are forks of this one, which has imported everything.
"""

import json
import os
import random
import signal
import sys
import time
import warnings
from functools import partial
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from students.tiny_bert import write_texts, write_tiny_bert
from students.tiny_static import write_tiny_static

import pgkd.runtime
from pgkd import PGKDClassifier
from pgkd.students import EmbeddingStudent, StaticStudent
from pgkd.system import files

TEXTS, LABELS = write_texts()
#: A process is killed at any moment of so many saves.
N_SAVES = 4


def make_two(kind, folder):
    """Return what saves an old and a new model to a directory, and what loads and asks it."""
    if kind == "save":

        def make_student(C):
            return make_pipeline(TfidfVectorizer(), LogisticRegression(C=C))

    elif kind == "export as a graph":
        bert = write_tiny_bert(folder / "bert")

        def make_student(C):
            return EmbeddingStudent(bert, head=LogisticRegression(C=C))

    else:
        vectors = write_tiny_static(folder / "vectors")

        def make_student(C):
            return StaticStudent(vectors, head=LogisticRegression(C=C), max_length=16)

    def make(C):
        clf = PGKDClassifier(student=make_student(C), routes=(), random_state=0)
        return clf.fit(TEXTS, LABELS)

    old, new = make(0.1), make(10.0)
    if kind.startswith("export"):
        engine = "onnxruntime" if kind.endswith("graph") else "numpy"  # not the fastest just now
        return [old.export, new.export], partial(pgkd.runtime.load, engine=engine)
    if kind == "save a student":
        return [old.student_.save, new.student_.save], StaticStudent.load
    return [old.save, new.save], PGKDClassifier.load


def kill_while_saving(saves, directory, seconds):
    """Save in a process until it is killed."""
    child = os.fork()
    if not child:
        try:
            while True:
                for save in saves:
                    save(directory)
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it could not save"


def main(folder, kind, n_kills, exchanges):
    warnings.simplefilter("ignore")
    if not exchanges:
        files._exchange = lambda one, other: False
    saves, load = make_two(kind, folder)
    place = folder / "models"
    place.mkdir()
    directory = place / "model"
    expected = []
    for save in saves:
        start = time.monotonic()
        save(directory)
        seconds = time.monotonic() - start  # of the second one, when all is warm
        expected.append(load(directory).predict_proba(TEXTS).tolist())
    rng = random.Random(0)
    found, n_lost = [], 0
    for _ in range(n_kills):
        kill_while_saving(saves, directory, rng.uniform(0.0, N_SAVES * seconds))
        if not directory.exists():  # as the error of `load` advises
            n_lost += 1
            [old] = place.glob("*-old")
            old.rename(directory)
        probabilities = load(directory).predict_proba(TEXTS).tolist()
        found.append(expected.index(probabilities) if probabilities in expected else None)
    n_drafts = len(list(place.iterdir())) - 1
    saves[0](directory)
    left = sorted(path.name for path in place.iterdir())
    return {
        "differ": expected[0] != expected[1],
        "found": found,
        "n_drafts": n_drafts,
        "n_lost": n_lost,
        "left": left,
        "last": load(directory).predict_proba(TEXTS).tolist() == expected[0],
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "found.json").write_text(json.dumps(main(folder, *json.loads(sys.argv[2]))))
