"""The engines that `inference.py` compares.

    python inference_engines.py ENGINE JOB

Each runs in a process of its own, and may have a venv of its own: only the pgkd engines import
pgkd. JOB is a JSON file: `models` (the folder that `inference.py` filled), `minilm` (a folder for
`from_pretrained`), `texts` and `labels` to learn for an engine that has no model there, and
`warm_up` texts. Each function opens a model and returns `predict(texts) -> labels`.

A process says on standard output, a JSON document a line, that it is ready, and then measures what
is asked for on standard input: `batch` (texts to label at once) and `singles` (one by one).
"""

import gc
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

from throughput_clients import peak_mib


def torch(job):
    from pgkd.students import TransformerStudent

    return TransformerStudent.load(job["models"] / "student").predict


def embedding(job):
    from pgkd.students import EmbeddingStudent

    return EmbeddingStudent.load(job["models"] / "embedding").predict


def static(job):
    from pgkd.students import StaticStudent

    return StaticStudent.load(job["models"] / "static").predict


def tfidf(job):
    from ideal_teacher import make_student

    return make_student("tfidf").fit(job["texts"], job["labels"]).predict


def exported(folder, **options):
    def open_export(job):
        import pgkd.runtime

        return pgkd.runtime.load(job["models"] / folder, **options).predict

    return open_export


def pipeline(batch_size):
    def open_pipeline(job):
        from transformers import pipeline

        # The batch size is the argument that its documentation names; 1 is its default.
        pipe = pipeline("text-classification", model=job["models"] / "student")
        options = {"truncation": True, "batch_size": batch_size}
        return lambda texts: [answer["label"] for answer in pipe(texts, **options)]

    return open_pipeline


def sbert(job):
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    encoder = SentenceTransformer(job["minilm"])
    # Training data goes through once; progress bars would cost peers time.
    head = LogisticRegression(C=100, tol=1e-5, max_iter=1000)
    head.fit(encoder.encode(job["texts"], show_progress_bar=False), job["labels"])
    return lambda texts: head.predict(encoder.encode(texts, show_progress_bar=False))


def setfit(job):
    from setfit import SetFitModel

    # Its contrastive fine-tuning changes the weights of the same encoder, not the time that it
    # takes to predict; the head alone is trained here, and `training.py` compares accuracy.
    model = SetFitModel.from_pretrained(job["minilm"])
    model.fit(job["texts"], job["labels"], num_epochs=1)
    return lambda texts: model.predict(texts, show_progress_bar=False)


def adaptive(job):
    from adaptive_classifier import AdaptiveClassifier

    classifier = AdaptiveClassifier(job["minilm"])
    classifier.add_examples(job["texts"], job["labels"])

    def predict(texts):
        if len(texts) == 1:
            return [classifier.predict(texts[0], k=1)[0][0]]
        return [answer[0][0] for answer in classifier.predict_batch(texts, k=1)]

    return predict


#: Names of engines: the function, and the packages whose versions are told.
ENGINES = {
    "torch": (torch, ["torch"]),
    "onnxruntime": (exported("onnx", engine="onnxruntime"), ["onnxruntime"]),
    "onnxruntime_int8": (exported("onnx-int8", engine="onnxruntime"), ["onnxruntime"]),
    "openvino": (exported("openvino"), ["openvino"]),
    "openvino_bf16": (exported("openvino", precision="bfloat16"), ["openvino"]),
    "embedding": (embedding, ["torch"]),
    "embedding_onnxruntime": (exported("embedding-onnx", engine="onnxruntime"), ["onnxruntime"]),
    "static": (static, ["tokenizers"]),
    "static_exported": (exported("static-exported"), ["tokenizers"]),
    "tfidf": (tfidf, ["scikit-learn"]),
    "pipeline": (pipeline(1), ["transformers", "torch"]),
    "pipeline_64": (pipeline(64), ["transformers", "torch"]),
    "sbert": (sbert, ["sentence-transformers", "torch"]),
    "setfit": (setfit, ["setfit", "torch"]),
    "adaptive": (adaptive, ["adaptive-classifier", "torch"]),
}


def measure(predict, warm_up, batch, singles):
    predict(warm_up)  # other engines have had the caches since
    gc.collect()
    start = time.perf_counter()
    labels = predict(batch)
    seconds = time.perf_counter() - start
    latencies = []
    for text in singles:
        start = time.perf_counter()
        predict([text])
        latencies.append(time.perf_counter() - start)
    return {
        "texts_per_second": len(batch) / seconds,
        "latencies": latencies,
        "labels": [str(label) for label in labels],
        "peak_mib": peak_mib(),
    }


def main(name, job_file):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(document):
        print(json.dumps(document), file=answers, flush=True)

    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    job["models"] = Path(job["models"])
    open_engine, packages = ENGINES[name]
    predict = open_engine(job)
    predict(job["warm_up"])
    for text in job["warm_up"][:10]:
        predict([text])
    say({"version": ", ".join(f"{package} {version(package)}" for package in packages)})
    for line in sys.stdin:
        say(measure(predict, job["warm_up"][:16], **json.loads(line)))


if __name__ == "__main__":
    main(*sys.argv[1:])
