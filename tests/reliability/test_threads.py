"""Many threads share a classifier: each gets what it would get alone."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from reliability.classifiers import TEXTS, ask, check_same, fit_all

N_THREADS = 16
KINDS = ["embedding", "transformer", "static", "pipeline", "onnx", "openvino", "numpy", "cascade"]


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    return fit_all(tmp_path_factory.mktemp("classifiers"))


@pytest.fixture
def often():
    """Let threads take turns in the middle of nearly everything."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_get_what_one_gets(classifiers, kind, often):
    classifier = classifiers[kind]
    alone = pickle.loads(pickle.dumps(classifier))  # without what is remembered of texts
    n_rounds = 2 if kind == "cascade" else 20  # each call of it has an event loop of its own
    # A text without a token, and one that is cut off, beside others: each thread has its own.
    own = [
        [part for j in range(n_rounds) for part in (" " * (20 * i + j), f"{TEXTS[i + j]} {i}")]
        for i in range(N_THREADS)
    ]
    start = Barrier(N_THREADS)

    def run(texts):
        start.wait()
        few = [ask(classifier, texts[i : i + 2]) for i in range(0, len(texts), 2)]
        return ask(classifier, texts[::-1]), few

    with ThreadPoolExecutor(N_THREADS) as threads:
        said = list(threads.map(run, own))
    for texts, (backwards, few) in zip(own, said):
        expected = ask(alone, texts)
        check_same([part[::-1] for part in backwards], expected)
        check_same(list(map(np.concatenate, zip(*few))), expected)
