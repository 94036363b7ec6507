"""One fitted classifier of each kind, and what it says: for threads and for other processes."""

import json

import numpy as np
from conftest import WORDS, write_text
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from students.tiny_bert import write_tiny_bert
from students.tiny_static import write_tiny_static

import pgkd.runtime
from pgkd import CascadeClassifier, PGKDClassifier
from pgkd.records import Completion, Usage
from pgkd.students import EmbeddingStudent, StaticStudent, TransformerStudent
from pgkd.teachers import FunctionTeacher

ROWS = [(write_text(label, i), label) for i in range(20) for label in WORDS]
X, Y = [text for text, _ in ROWS], [label for _, label in ROWS]
#: Not learnt, and enough of them for all threads of a library to have work; some are cut off.
TEXTS = [write_text(label, i) + " please" * (i % 40) for i in range(100, 300) for label in WORDS]


def answer(messages):
    """Label as the last word of each text says, as an LLM would."""
    lines = [line for line in messages[-1]["content"].split("\n") if line.startswith("Text ")]
    labels = {line.split(":")[0][5:]: find_label(line) for line in lines}
    return Completion(json.dumps(labels), Usage(1, 100, 10, cost=None))


def find_label(text):
    return next((label for label in WORDS if f" {label}" in text), "card")


def fit_all(folder):
    """Return them by name."""
    # For its empty texts, the tokenizer is set up anew in the middle.
    bert = write_tiny_bert(folder / "bert", marks_ends=False)
    static = write_tiny_static(folder / "static")
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    students = {
        "embedding": EmbeddingStudent(bert, max_length=16, batch_size=512),
        "transformer": TransformerStudent(bert, max_length=16, n_epochs=1, batch_size=128),
        "static": StaticStudent(static, max_length=16),
        "pipeline": pipeline,
    }
    found = {
        name: PGKDClassifier(student=student, routes=(), random_state=0).fit(X, Y)
        for name, student in students.items()
    }
    found["embedding"].fit_threshold(min_accuracy=0.5)
    for source, format in (("embedding", "onnx"), ("embedding", "openvino"), ("static", "numpy")):
        found[source].export(folder / format, format=format, texts=X)
        engine = {"onnx": "onnxruntime"}.get(format, format)
        found[format] = pgkd.runtime.load(folder / format, engine=engine, precision="float32")
    weak = clone(pipeline).fit([text.split()[1] for text in X[:9]], Y[:9])
    cascade = CascadeClassifier(weak, FunctionTeacher(answer), max_escalated=0.9, random_state=0)
    found["cascade"] = cascade.fit(TEXTS, [find_label(text) for text in TEXTS])
    assert found["cascade"].escalates(TEXTS).any()
    return found


def ask(classifier, texts):
    """Return all that it says of texts."""
    said = [classifier.predict_proba(texts), classifier.predict(texts)]
    if getattr(classifier, "threshold_", None) is not None:
        said.append(classifier.predict(texts, abstain_label="unsure"))
    return said


def check_same(said, expected):
    np.testing.assert_allclose(said[0], expected[0], atol=1e-5)
    for labels, others in zip(said[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(labels, others)
