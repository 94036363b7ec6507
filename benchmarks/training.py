"""How long training takes to an accuracy: fine-tuning by pgkd and by its peers.

    python benchmarks/training.py DATA [--dataset banking77] [--labelled 800] [--seeds 3]
        [--arms "pgkd 3" "trainer 3" ...] [--test N] [--python NAME=PYTHON ...]

The same MiniLM, texts and test file for all. Arms, with a number of epochs (setfit: of pairs of
each kind for a text) that is tried at several values to see what an accuracy costs:

- "pgkd N": `TransformerStudent`, learning rate 5e-4 as its documentation says for MiniLM.
- "pgkd_embedding": `EmbeddingStudent`.
- "trainer N": transformers' Trainer with its defaults, which has 3 epochs.
- "setfit", "setfit N": SetFit with its defaults, or with num_iterations=N.
- "sbert": logistic regression on frozen embeddings of sentence-transformers.

Each arm is a function of `trainers.py` and runs in a process of its own. One whose dependencies do
not go with pgkd's has its own Python: `python -m venv peers`, `peers/bin/pip install setfit
"transformers<5"` and `--python setfit=peers/bin/python sbert=peers/bin/python`. Ratios are made
within a seed, whose arms run one after the other; each waits until the machine is quiet, for as
long as --patience allows, and `others` in the results is what other processes took, in cores.

Smallest setting: --dataset hint3_curekart --labelled 80 --test 50 --seeds 1 --arms "pgkd 1"
"trainer 1" --patience 0. A run that is in the results is not run again.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import RESULTS, append, by_seed, make_table, read, read_rows, show, split_train
from local_models import fetch_minilm
from teacher_throughput import MAX_OTHERS, measure_others
from trainers import TRAINERS

HERE = Path(__file__).parent
ARMS = [
    *(f"pgkd {n}" for n in (1, 2, 3, 5, 10, 20)),
    "pgkd_embedding",
    *(f"trainer {n}" for n in (3, 10, 20, 40)),
    "setfit 1",
    "setfit 5",
    "sbert",
]
TITLES = {
    "trainer": "transformers' Trainer, {} epochs (3 is its default)",
    "pgkd": "pgkd, `TransformerStudent`, {} epochs",
    "pgkd_embedding": "pgkd, `EmbeddingStudent`",
    "setfit": "SetFit, num_iterations={}",
    "sbert": "sentence-transformers + LogisticRegression, defaults",
}
#: Trainer's defaults.
REFERENCE = "trainer 3"
KEYS = ("dataset", "labelled", "test", "seed", "arm")


def run(args, arm, seed, python):
    texts, y = read(args.data / args.dataset / "train.csv")
    labelled, _ = split_train(texts, y, args.labelled, seed)
    test_texts, test_y = read(args.data / args.dataset / "test.csv")
    job = {
        "model": str(fetch_minilm()),
        "texts": labelled[0],
        "labels": labelled[1].tolist(),
        "test_texts": test_texts[: args.test],
        "test_labels": test_y[: args.test].tolist(),
        "seed": seed,
    }
    with tempfile.TemporaryDirectory() as folder:
        job_file, report_file = Path(folder, "job.json"), Path(folder, "report.json")
        job_file.write_text(json.dumps(job), encoding="utf-8")
        command = [python, HERE / "trainers.py", arm, job_file, report_file]
        done = subprocess.run(
            command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, cwd=folder, capture_output=True
        )
        if done.returncode:
            raise SystemExit(f"{arm} failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
        return json.loads(report_file.read_text(encoding="utf-8"))


def wait_for_quiet(patience):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and measure_others(lambda: time.sleep(2))[1] > MAX_OTHERS:
        pass


def tabulate(rows):
    """Make a table of the arms, and of their share of Trainer's seconds, seed by seed."""
    reference = by_seed(rows, "seconds", arm=REFERENCE)
    lines = []
    for arm in sorted({row["arm"] for row in rows}, key=rank):
        accuracy, seconds = (by_seed(rows, key, arm=arm) for key in ("accuracy", "seconds"))
        shares = [seconds[s] / reference[s] for s in seconds if s in reference]
        cells = [show(list(accuracy.values())), f"{np.mean(list(seconds.values())):.1f}"]
        lines.append([describe(arm), *cells, "1" if arm == REFERENCE else show(shares)])
    return make_table(["arm", "accuracy", "seconds", "of Trainer's seconds"], lines)


def rank(arm):
    """Sort by kind, and then by the number of epochs."""
    kind, *n = arm.split()
    return list(TITLES).index(kind), int(n[0]) if n else 0


def describe(arm):
    kind, *n = arm.split()
    return TITLES[kind].format(*n or ["its default"])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--dataset", default="banking77")
    parser.add_argument("--labelled", type=int, default=800)
    parser.add_argument("--test", type=int, help="so many test texts only")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=ARMS, metavar="ARM")
    parser.add_argument("--patience", type=float, default=600, help="seconds, for each run")
    parser.add_argument("--python", nargs="+", default=[], metavar="NAME=PYTHON")
    args = parser.parse_args()
    pythons = dict(entry.split("=", 1) for entry in args.python)
    strange = {*pythons, *(arm.split()[0] for arm in args.arms)} - set(TRAINERS)
    if strange:
        parser.error(f"{sorted(strange)}: there are {list(TRAINERS)}")
    pythons = {name: os.path.abspath(python) for name, python in pythons.items()}

    path = RESULTS / "training.jsonl"
    setting = {key: getattr(args, key) for key in KEYS[:3]}
    known = {tuple(row[key] for key in KEYS) for row in read_rows(path)}
    for seed, arm in itertools.product(range(args.seeds), args.arms):
        row = setting | {"seed": seed, "arm": arm}
        if tuple(row[key] for key in KEYS) in known:
            continue
        wait_for_quiet(args.patience)
        python = pythons.get(arm.split()[0], sys.executable)
        result, others = measure_others(lambda: run(args, arm, seed, python))  # noqa: B023
        row |= {**result, "others": others, "cores": os.cpu_count()}
        append(path, row)
        print(json.dumps(row), flush=True)
    print(tabulate([row for row in read_rows(path) if setting.items() <= row.items()]))


if __name__ == "__main__":
    main()
