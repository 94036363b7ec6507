"""Many threads share a classifier: each gets what it would get alone."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from reliability.classifiers import TEXTS, ask, check_same, fit_all

N_THREADS = 16
KINDS = ["embedding", "transformer", "static", "pipeline", "onnx", "openvino", "numpy", "cascade"]


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    return fit_all(tmp_path_factory.mktemp("classifiers"))


@pytest.mark.parametrize("kind", KINDS)
def test_threads_get_what_one_gets(classifiers, kind):
    classifier = classifiers[kind]
    alone = pickle.loads(pickle.dumps(classifier))  # without what is remembered of texts
    own = [[f"{text} {i}" for text in TEXTS[i * 7 : i * 7 + 60]] for i in range(N_THREADS)]
    start = Barrier(N_THREADS)

    def run(texts):
        start.wait()
        return [ask(classifier, part) for part in (texts, texts[::-1], texts[:1])]

    with ThreadPoolExecutor(N_THREADS) as threads:
        said = list(threads.map(run, own))
    for texts, (forwards, backwards, first) in zip(own, said):
        expected = ask(alone, texts)
        check_same(forwards, expected)
        check_same([part[::-1] for part in backwards], expected)
        check_same(first, [part[:1] for part in expected])
