"""How fast texts are classified on two cores, in batches and one by one.

    python benchmarks/inference.py DATA RUN_DIR [--engines torch onnxruntime ...] [--rounds 5]
        [--texts 300] [--singles 60] [--llm-texts 4] [--prepare] [--python ENGINE=PYTHON ...]

Test texts of banking77, students that learnt 800 of its training texts, all from the same MiniLM.
The first call trains and exports them into RUN_DIR (`--prepare`: no more than that). The engines
are functions of `inference_engines.py`; each is a process that waits for its turn, and in each
round all engines get the same texts, which none of them has seen, first as a batch and then others
one by one. A peer whose dependencies do not go with pgkd's has its own Python.

"llm": Qwen2.5-Coder-1.5B (4 bit) behind llama.cpp's server chooses among all classes, asked by
pgkd's annotator; "llm_shortlist": among the five that the student finds likeliest, two real texts
of each. One round of few texts.

Ratios are made within a round, against `pipeline` (transformers.pipeline with the weights of
`torch`), which takes part in every session. A round begins when the machine is quiet, for as long
as --patience allows. An engine that has its rounds in the results is not run again.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np
from common import RESULTS, append, make_table, read, read_rows, show_median, split_train
from inference_engines import ENGINES
from local_models import fetch_minilm, fetch_qwen, serve
from teacher_throughput import MAX_OTHERS, measure_others

from pgkd.records import AnnotationRequest, Example, State
from pgkd.samplers.shortlists import make_requests
from pgkd.students import EmbeddingStudent, StaticStudent, TransformerStudent
from pgkd.teachers import OpenAITeacher

HERE = Path(__file__).parent
TASK = "Messages of customers to an online bank, by intent."
REFERENCE = "pipeline"
LLMS = ("llm", "llm_shortlist")
N_SHORTLIST = 5
#: What each engine must agree with: the student that it was made of, in torch.
SAME = {
    "onnxruntime": "torch",
    "onnxruntime_int8": "torch",
    "openvino": "torch",
    "openvino_bf16": "torch",
    "pipeline": "torch",
    "pipeline_64": "torch",
    "embedding_onnxruntime": "embedding",
    "static_exported": "static",
}
NAMES = {
    "torch": "pgkd, fine-tuned MiniLM, torch",
    "onnxruntime": "pgkd, fine-tuned MiniLM, ONNX Runtime",
    "onnxruntime_int8": "pgkd, fine-tuned MiniLM, ONNX Runtime, int8",
    "openvino": "pgkd, fine-tuned MiniLM, OpenVINO",
    "openvino_bf16": "pgkd, fine-tuned MiniLM, OpenVINO, bf16",
    "embedding": "pgkd, MiniLM embeddings, torch",
    "embedding_onnxruntime": "pgkd, MiniLM embeddings, ONNX Runtime",
    "static": "pgkd, static embeddings",
    "static_exported": "pgkd, static embeddings, exported",
    "tfidf": "pgkd, TF-IDF of scikit-learn",
    "pipeline": "transformers.pipeline, the fine-tuned MiniLM",
    "pipeline_64": "transformers.pipeline, batch_size=64",
    "sbert": "sentence-transformers + LogisticRegression",
    "setfit": "SetFit",
    "adaptive": "adaptive-classifier",
    "llm": "Qwen 1.5B, all classes",
    "llm_shortlist": "Qwen 1.5B, five classes",
}


class PatientTeacher(OpenAITeacher):
    """A slow machine takes longer than ten minutes for four requests."""

    deadline = 3600.0  # seconds for a request, its retries included


class Engine:
    """An engine in its process, which sleeps until it is asked."""

    def __init__(self, name, python, job_file):
        command = [python, HERE / "inference_engines.py", name, job_file]
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
        self.log = job_file.with_name(f"{name}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command,
                env=env,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.name = name
        self.version = self._read()["version"]

    def measure(self, batch, singles):
        print(json.dumps({"batch": batch, "singles": singles}), file=self.process.stdin, flush=True)
        return self._read()

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            end = self.log.read_text(errors="replace").strip().splitlines()[-3:]
            raise RuntimeError(f"The engine failed: {' / '.join(end)}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class LLMEngine:
    """The local LLM, asked about each text by itself, as many at once as it serves."""

    n_parallel = 2

    def __init__(self, name, models, texts, y):
        self.name = name
        self.version = "xllamacpp " + version("xllamacpp")
        self.student = TransformerStudent.load(models / "student")
        examples = tuple(map(Example, texts, y.tolist()))
        self.state = State(0, tuple(self.student.classes_.tolist()), examples, TASK)

    def measure(self, batch, singles):
        with serve(
            fetch_qwen(), n_parallel=self.n_parallel, context_per_slot=4096, timeout=600
        ) as url:
            teacher = PatientTeacher(
                "qwen",
                base_url=url,
                api_key="none",
                temperature=0.0,
                max_tokens=100,
                timeout=1800,
                max_concurrency=self.n_parallel,
                price=(0, 0),
            )
            # The server keeps what prompts have in common: the first ones pay for it.
            list(teacher.annotate(self._make_requests(singles[: self.n_parallel])))
            start = time.perf_counter()
            generations = list(teacher.annotate(self._make_requests(batch)))
            seconds = time.perf_counter() - start
            latencies = []
            for request in self._make_requests(singles[self.n_parallel :]):
                start = time.perf_counter()
                list(teacher.annotate([request]))
                latencies.append(time.perf_counter() - start)
        labels = {e.text: str(e.label) for g in generations for e in g.examples}
        return {
            "texts_per_second": len(batch) / seconds,
            "latencies": latencies,
            "labels": [labels.get(text, "") for text in batch],
            "input_tokens": sum(g.usage.input_tokens for g in generations) / len(batch),
            "output_tokens": sum(g.usage.output_tokens for g in generations) / len(batch),
        }

    def _make_requests(self, texts):
        if self.name == "llm":
            classes = (self.state.classes,)
            return [
                AnnotationRequest(f"0-{i}", (text,), classes, task_description=TASK)
                for i, text in enumerate(texts)
            ]
        return make_requests(
            self.state,
            texts,
            self.student.predict_proba(texts),
            np.random.default_rng(0),
            prefix="a",
            n_candidates=N_SHORTLIST,
            texts_per_request=1,
        )

    def close(self):
        pass


def prepare(models, texts, y, n_epochs):
    """Train and export what is missing in the folder."""
    students = {
        "student": TransformerStudent(
            fetch_minilm(), n_epochs=n_epochs, learning_rate=5e-4, random_state=0
        ),
        "embedding": EmbeddingStudent(fetch_minilm()),
        "static": StaticStudent("wordllama"),
    }
    for folder, student in students.items():
        if not (models / folder / "student.json").exists():
            start = time.perf_counter()
            student.fit(texts, y).save(models / folder)
            print(f"{folder}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    for folder, source, options in (
        ("onnx", "student", {}),
        # The table shows how much int8 agrees, so that it may do so as little as it will.
        ("onnx-int8", "student", {"quantize": "int8", "min_agreement": 0}),
        ("openvino", "student", {"format": "openvino"}),
        ("embedding-onnx", "embedding", {}),
        ("embedding-onnx-int8", "embedding", {"quantize": "int8", "min_agreement": 0}),
        ("static-exported", "static", {}),
    ):
        if not (models / folder).exists():
            found = (
                type(students[source])
                .load(models / source)
                .export(models / folder, texts=texts, **options)
            )
            print(folder, found, file=sys.stderr, flush=True)


def wait_for_peace(patience):
    """Wait until nothing else is busy; say how many cores are, if it takes too long."""
    deadline = time.monotonic() + patience
    while True:
        _, others = measure_others(lambda: time.sleep(1))
        if others <= MAX_OTHERS or time.monotonic() > deadline:
            return others


def run(args, names, texts, y, path):
    labelled, _ = split_train(*read(args.data / "banking77" / "train.csv"), args.labelled, 0)
    models = args.run_dir / "models"
    pythons = dict(entry.split("=", 1) for entry in args.python)
    session = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with contextlib.ExitStack() as at_exit:
        job_file = Path(at_exit.enter_context(tempfile.TemporaryDirectory()), "job.json")
        job = {
            "models": str(models),
            "minilm": str(fetch_minilm()),
            "texts": labelled[0],
            "labels": labelled[1].tolist(),
            "warm_up": labelled[0][:128],
        }
        job_file.write_text(json.dumps(job), encoding="utf-8")
        engines = []
        for name in names:
            try:
                if name in LLMS:
                    engine = LLMEngine(name, models, *labelled)
                else:
                    engine = Engine(name, pythons.get(name, sys.executable), job_file)
            except RuntimeError as error:  # a peer that is not installed, say
                print(f"{name}: {error}", file=sys.stderr)
                continue
            at_exit.callback(engine.close)
            engines.append(engine)
            print(name, engine.version, file=sys.stderr, flush=True)
        order = np.random.default_rng(0).permutation(len(texts))
        size = args.texts + args.singles
        for number in range(min(args.rounds, len(order) // size)):
            rows = order[number * size : (number + 1) * size]
            others = wait_for_peace(args.patience)
            labels = {}
            for engine in engines:
                batch, singles = rows[: args.texts], rows[args.texts :]
                if engine.name in LLMS:
                    if number:
                        continue
                    batch, singles = batch[: args.llm_texts], singles[: engine.n_parallel + 2]
                found = engine.measure([texts[i] for i in batch], [texts[i] for i in singles])
                labels[engine.name] = np.array(found.pop("labels"))
                latencies = np.array(found.pop("latencies")) * 1000
                same = labels.get(SAME.get(engine.name))
                row = {
                    "session": session,
                    "round": number,
                    "engine": engine.name,
                    "version": engine.version,
                    "machine": describe_machine(),
                    "n_texts": len(batch),
                    "n_singles": len(singles),
                    **found,
                    "p50_ms": float(np.percentile(latencies, 50)),
                    "p95_ms": float(np.percentile(latencies, 95)),
                    "accuracy": float(np.mean(labels[engine.name] == y[batch])),
                    "agreement": None
                    if same is None
                    else float(np.mean(labels[engine.name] == same)),
                    "others": others,
                }
                append(path, row)
                print(json.dumps(row), file=sys.stderr, flush=True)


def describe_machine():
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = set(facts.get("flags", "").split())
    known = [flag for flag in ("avx2", "avx512_vnni", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{facts.get('model name', platform.machine())}, {' '.join(known)}"


def has_bf16():
    return any(flag in describe_machine() for flag in ("avx512_bf16", "amx_bf16"))


def compare(rows):
    """Return how much faster than the pipeline each engine is, in a batch and one by one."""
    references = {(r["session"], r["round"]): r for r in rows if r["engine"] == REFERENCE}
    faster, sooner = {}, {}
    for name in NAMES:
        own = [(r, references[r["session"], r["round"]]) for r in rows if r["engine"] == name]
        if own:
            faster[name] = [r["texts_per_second"] / ref["texts_per_second"] for r, ref in own]
            sooner[name] = [ref["p50_ms"] / r["p50_ms"] for r, ref in own]
    return faster, sooner


def find_agreement(rows, name):
    return [r["agreement"] for r in rows if r["engine"] == name and r["agreement"] is not None]


def tabulate(rows):
    faster, sooner = compare(rows)
    lines = []
    for name in faster:
        own = [r for r in rows if r["engine"] == name]
        agreement = find_agreement(rows, name)
        accuracy = np.average([r["accuracy"] for r in own], weights=[r["n_texts"] for r in own])
        lines.append(
            [
                NAMES[name],
                show_median([r["texts_per_second"] for r in own]),
                show_median(faster[name]),
                show_median([r["p50_ms"] for r in own]),
                show_median([r["p95_ms"] for r in own]),
                show_median(sooner[name]),
                f"{np.mean(agreement):.2%}" if agreement else "",
                f"{accuracy:.3f}",
            ]
        )
    titles = ["engine", "texts/s", "÷ pipeline's", "p50, ms", "p95, ms", "pipeline's p50 ÷"]
    return make_table([*titles, "same class", "accuracy"], lines)


def report(rows):
    """Print the table, and how far the bars are."""
    print(tabulate(rows))
    faster, sooner = compare(rows)
    agreement = {name: find_agreement(rows, name) for name in faster}
    rate = {
        name: np.median([r["texts_per_second"] for r in rows if r["engine"] == name])
        for name in faster
    }
    print()
    ours = [e for e in ("torch", "onnxruntime", "openvino", "openvino_bf16") if e in faster]
    if ours:
        best = max(ours, key=lambda name: np.median(faster[name]))
        soonest = max(ours, key=lambda name: np.median(sooner[name]))
        print(
            f"Batch, same weights: {best} is {np.median(faster[best]):.1f} times as fast as "
            f"transformers.pipeline (bar: 4). One text: {soonest} is "
            f"{np.median(sooner[soonest]):.1f} times as fast at p50 (bar: 3)."
        )
        if "pipeline_64" in faster:
            ratio = np.median(np.divide(faster[best], faster["pipeline_64"][: len(faster[best])]))
            print(f"In batches of 64, transformers.pipeline is beaten by {ratio:.1f}.")
        if same := [np.mean(agreement[engine]) for engine in ours if agreement[engine]]:
            print(f"Same class as torch, unquantised: at least {min(same):.2%} (bar: 99.5 %).")
        for name in LLMS:
            if name in faster:
                print(
                    f"{NAMES[name]}: beaten by "
                    + ", ".join(
                        f"{engine} {np.median(faster[engine]) / np.median(faster[name]):,.0f} times"
                        for engine in (best, "embedding_onnxruntime", "static_exported")
                        if engine in faster
                    )
                    + " (bar: 1,000)."
                )
    if static := [rate[name] for name in ("static", "static_exported") if name in rate]:
        print(f"Static: {max(static):,.0f} texts/s (bar: 20,000).")
    print("Machines:", "; ".join(dict.fromkeys(r["machine"] for r in rows)))
    print("Versions:", "; ".join(dict.fromkeys(r["version"] for r in rows)))
    busy = max((r["others"] for r in rows), default=0)
    print(f"Other processes took up to {busy:.2f} cores before a round.")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(NAMES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=300, help="in a batch of a round")
    parser.add_argument("--singles", type=int, default=60, help="one by one in a round")
    parser.add_argument("--llm-texts", type=int, default=4)
    parser.add_argument("--labelled", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--patience", type=float, default=120, help="seconds, for each round")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PYTHON")
    parser.add_argument("--results", type=Path, default=RESULTS / "inference.jsonl")
    args = parser.parse_args()

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    labelled, _ = split_train(*read(args.data / "banking77" / "train.csv"), args.labelled, 0)
    prepare(args.run_dir / "models", *labelled, args.epochs)
    if args.prepare:
        return
    known = [row["engine"] for row in read_rows(args.results)]
    wanted = [name for name in NAMES if name in args.engines]
    if not has_bf16():
        wanted = [name for name in wanted if name != "openvino_bf16"]
    todo = [n for n in wanted if known.count(n) < (1 if n in LLMS else args.rounds)]
    if todo:
        todo += [REFERENCE, *(SAME[name] for name in [*todo, REFERENCE] if name in SAME)]
        # Those that others are compared with come first.
        names = sorted(set(todo), key=lambda n: (n not in SAME.values(), list(NAMES).index(n)))
        run(args, names, *read(args.data / "banking77" / "test.csv"), args.results)
    report(read_rows(args.results))


if __name__ == "__main__":
    main()
