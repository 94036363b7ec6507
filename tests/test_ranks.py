"""Two processes fit one classifier, as under torchrun: gloo, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from students.tiny_bert import write_tiny_bert

from pgkd import PGKDClassifier

SCRIPT = Path(__file__).with_name("ranks") / "fit.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the script has written."""
    folder = tmp_path_factory.mktemp("ranks")
    write_tiny_bert(folder / "tiny_bert")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    print(done.stderr[-6000:])
    return folder


def read(folder, name):
    return [json.loads((folder / f"{name}.{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", ["linear", "transformer", "cascade"])
def test_all_processes_end_alike(folder, name):
    first, second = read(folder, name)
    assert first == second
