"""On a GPU: the answers of a CPU, and how fast.

    python benchmarks/gpu.py [--device cuda] [--model FOLDER] [--texts 2000] [--epochs 3]
        [--out results/gpu.json]

For each model (a random tiny BERT, and FOLDER, such as all-MiniLM-L6-v2) and each of
`TransformerStudent` and `EmbeddingStudent`: the student is trained on the device, saved, loaded on
the CPU, and must say the same there. Then seconds beside transformers' Trainer with its defaults,
and texts a second beside `transformers.pipeline`, and an ONNX export, if its packages are there. At
last two processes train one student (torchrun). It ends in under ten minutes, and needs nothing but
pgkd's own dependencies: FOLDER travels with it, in bfloat16 if need be (`--pack FOLDER`: 45 MB).

The texts are made up, of as many words as those of banking77, in 20 classes that share most words:
the figures are about speed and agreement, not about accuracy.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from common import RESULTS, save

from pgkd.students import EmbeddingStudent, TransformerStudent
from pgkd.system.pretrained import available_devices, has_fast_bf16

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "students"))
#: A probability may differ by so much between devices, where both compute in float32.
CLOSE = 1e-3
N_CLASSES, N_WORDS = 20, 12


def write_texts(n, seed):
    rng = random.Random(seed)
    own = [[f"{chr(97 + c % 26)}{chr(97 + k)}o" for k in range(5)] for c in range(N_CLASSES)]
    common = [
        "my",
        "card",
        "account",
        "please",
        "why",
        "not",
        "money",
        "transfer",
        "today",
        "help",
        "need",
        "how",
    ]
    texts, labels = [], []
    for i in range(n):
        c = i % N_CLASSES
        words = [rng.choice(own[c] if rng.random() < 0.3 else common) for _ in range(N_WORDS)]
        texts.append(" ".join(words))
        labels.append(f"class {c}")
    return texts, labels


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure(do, device):
    synchronize(device)
    start = time.perf_counter()
    result = do()
    synchronize(device)
    return result, time.perf_counter() - start


def try_student(kind, model, device, args):
    X, y = write_texts(800, 0)
    X_test, _ = write_texts(args.texts, 1)
    options = {"n_epochs": args.epochs, "device": device} if kind is TransformerStudent else {}
    student, seconds = measure(lambda: kind(str(model), **options).fit(X, y), device)
    student.predict_proba(X[:64])  # what is compiled at first does not count
    own, predicting = measure(lambda: student.predict_proba(X_test), device)
    row = {
        "student": kind.__name__,
        "model": Path(model).name,
        "fit_seconds": round(seconds, 2),
        "texts_per_second": round(len(X_test) / predicting, 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        student.save(f"{folder}/model")
        code = (
            "import sys, json, torch\n"
            "torch.cuda.is_available = lambda: False\n"
            f"from pgkd.students import {kind.__name__} as S\n"
            "texts = json.load(open(sys.argv[1]))\n"
            "p = S.load(sys.argv[2]).predict_proba(texts)\n"
            "json.dump(p.tolist(), open(sys.argv[3], 'w'))\n"
        )
        Path(folder, "texts.json").write_text(json.dumps(X_test[:200]))
        files = [f"{folder}/{name}" for name in ("texts.json", "model", "out.json")]
        subprocess.run([sys.executable, "-c", code, *files], check=True)
        cpu = np.array(json.loads(Path(files[2]).read_text()))
        row["max_difference"] = float(np.abs(cpu - own[:200]).max())
        row["same_class"] = float((cpu.argmax(axis=1) == own[:200].argmax(axis=1)).mean())
        try:
            parity = student.export(f"{folder}/export", texts=X_test[:200])
            row["export"] = f"max difference {parity.max_difference:.1e}"
        except ImportError as error:
            row["export"] = f"not tried: {error}"
    if kind is TransformerStudent:
        row |= compare_trainer(model, X, y, device, args)
        row |= compare_pipeline(student, X_test, device)
    return row


def compare_trainer(model, X, y, device, args):
    from trainers import trainer

    job = {"model": str(model), "texts": X, "labels": y, "seed": 0}
    _, seconds = measure(trainer(job, args.epochs), device)
    return {"trainer_seconds": round(seconds, 2)}


def compare_pipeline(student, X_test, device):
    classify = transformers.pipeline(
        "text-classification", model=student.model_, tokenizer=student.tokenizer_, device=device
    )
    _, seconds = measure(lambda: classify(X_test, batch_size=64), device)
    return {"pipeline_texts_per_second": round(len(X_test) / seconds, 1)}


def try_two_processes():
    """Run the suite's test of two processes; on one GPU they talk by gloo."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/system/test_ranks.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    return {"returncode": done.returncode, "tail": done.stdout[-300:]}


def pack(folder, target):
    """Write a model in bfloat16, half its size."""
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.bfloat16)
    model.save_pretrained(target)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--pack", type=Path, help="write FOLDER in bfloat16 to --model, and end")
    args = parser.parse_args()
    if args.pack:
        pack(args.pack, args.model)
        return
    if args.device not in available_devices():
        raise SystemExit(f"There is no {args.device} here: {available_devices()}.")
    warnings.simplefilter("ignore")
    name = torch.cuda.get_device_name() if args.device == "cuda" else args.device
    document = {"device": name, "torch": torch.__version__, "bf16": has_fast_bf16(args.device)}
    with tempfile.TemporaryDirectory() as folder:
        from tiny_bert import write_tiny_bert

        models = [write_tiny_bert(f"{folder}/tiny"), *([args.model] if args.model else [])]
        document["rows"] = []
        for model in models:
            for kind in (TransformerStudent, EmbeddingStudent):
                row = try_student(kind, model, args.device, args)
                print(json.dumps(row), flush=True)
                document["rows"].append(row)
                save(args.out, document)  # an answer that was had is not lost to a time-out
    document["two_processes"] = try_two_processes()
    save(args.out, document)
    differences = [row["max_difference"] for row in document["rows"]]
    print(f"{name}: probabilities differ from the CPU's by {max(differences):.1e} at most")
    if not document["bf16"] and max(differences) > CLOSE:
        raise SystemExit("The device does not say what the CPU says.")


if __name__ == "__main__":
    main()
