"""What pgkd takes: time to import, disk to install, size of what is saved, memory to predict.

    python benchmarks/footprint.py MODELS [--repeats 9] [--install] [--stream N]

MODELS is a folder with fitted students and their exports, as `inference.py` leaves it in its run
directory. Each import and each prediction is a process of its own. `--install` installs what is
needed to train and what is needed to predict into two folders with pip, which takes minutes;
wheels of torch differ by gigabytes between machines. The results are written anew each time.
`--stream`: no more than what a stream of so many texts takes, by the exported static student.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from common import RESULTS, make_table, save

IMPORTS = {
    "import pgkd": "import pgkd",
    "from pgkd import PGKDClassifier": "from pgkd import PGKDClassifier",
    "import pgkd.runtime": "import pgkd.runtime",
    "import pgkd.students.EmbeddingStudent": "from pgkd.students import EmbeddingStudent",
    "import torch": "import torch",
    "import transformers.pipeline": "from transformers import pipeline",
    "import sklearn.linear_model": "import sklearn.linear_model",
}
#: Folders of `inference.py`, and what opens them.
OPENERS = {
    "student": "from pgkd.students import TransformerStudent as S; s = S.load(path)",
    "onnx": "import pgkd.runtime; s = pgkd.runtime.load(path, engine='onnxruntime')",
    "onnx-int8": "import pgkd.runtime; s = pgkd.runtime.load(path, engine='onnxruntime')",
    "openvino": "import pgkd.runtime; s = pgkd.runtime.load(path)",
    "embedding": "from pgkd.students import EmbeddingStudent as S; s = S.load(path)",
    "embedding-onnx": "import pgkd.runtime; s = pgkd.runtime.load(path, engine='onnxruntime')",
    "static": "from pgkd.students import StaticStudent as S; s = S.load(path)",
    "static-exported": "import pgkd.runtime; s = pgkd.runtime.load(path)",
}
TIMED = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
#: The peak is the process's own: a child's `ru_maxrss` begins with its parent's.
PREDICT = """
import re, sys
path = sys.argv[1]
{}
s.predict(["where is the parcel that I ordered last week"] * 1000)
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""
STREAM = """
import random, re, sys, time
import pgkd.runtime
s = pgkd.runtime.load(sys.argv[1])
words = "card pin rate transfer fee my lost why where when refund payment".split()
rng = random.Random(0)
texts = (" ".join(rng.choices(words, k=11)) for _ in range(int(sys.argv[2])))
start = time.perf_counter()
for n, _ in enumerate(s.predict_iter(texts), start=1):
    if n == 10 ** (len(str(n)) - 1) and n >= 100_000:
        peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
        print(f"{n:,} texts: peak {peak:.0f} MiB, {time.perf_counter() - start:.0f} s", flush=True)
"""
INSTALLS = {
    "to train: pgkd": ["."],
    "to predict: pgkd without its dependencies, ONNX Runtime, tokenizers": [
        "onnxruntime",
        "tokenizers",
    ],
    "to predict with a StaticStudent: numpy, tokenizers": ["numpy", "tokenizers"],
}


def ask(code, *args):
    command = [sys.executable, "-c", code, *args]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_size(path):
    """In MiB."""
    return sum(f.stat().st_size for f in Path(path).rglob("*") if f.is_file()) / 2**20


def install(packages):
    root = Path(__file__).parents[1]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target"]
    with tempfile.TemporaryDirectory() as target:
        if packages == ["."]:  # with the torch that is here: another may bring CUDA
            torch = f"torch=={version('torch').split('+')[0]}"
            subprocess.run([*pip, target, torch, str(root)], check=True)
        else:
            subprocess.run([*pip, target, *packages], check=True)
            subprocess.run([*pip, target, "--no-deps", str(root)], check=True)
        return measure_size(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--stream", type=int, metavar="N")
    args = parser.parse_args()
    if args.stream:
        command = [sys.executable, "-c", STREAM, args.models / "static-exported", str(args.stream)]
        subprocess.run(command, check=True)
        return

    path = RESULTS / "footprint.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found["imports"] = {
        name: [ask(TIMED.format(code)) for _ in range(args.repeats + 1)][1:]  # warm disk caches
        for name, code in IMPORTS.items()
    }
    there = {name: code for name, code in OPENERS.items() if (args.models / name).exists()}
    found["artefacts"] = {name: measure_size(args.models / name) for name in there}
    found["peaks"] = {
        name: ask(PREDICT.format(code), str(args.models / name)) for name, code in there.items()
    }
    if args.install:
        found["installs"] = {name: install(packages) for name, packages in INSTALLS.items()}
    save(path, found)

    print("\n\n".join([tabulate_imports(found), tabulate_models(found), tabulate_installs(found)]))


def tabulate_imports(found):
    lines = [
        [f"`{name}`", *(f"{s:.3f}" for s in (np.median(own), min(own), max(own)))]
        for name, own in found["imports"].items()
    ]
    return make_table(["import", "seconds, median", "least", "greatest"], lines)


def tabulate_models(found):
    lines = [
        [name, f"{size:.1f}", f"{found['peaks'][name]:.0f}"]
        for name, size in found["artefacts"].items()
    ]
    titles = ["what is saved or exported", "MiB on disk", "peak MiB, 1,000 texts"]
    return make_table(titles, lines)


def tabulate_installs(found):
    lines = [[name, f"{size:,.0f}"] for name, size in found.get("installs", {}).items()]
    return make_table(["installed", "MiB"], lines)


if __name__ == "__main__":
    main()
