"""Two processes fit one classifier, as under torchrun: gloo, on the CPU."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from students.tiny_bert import write_texts, write_tiny_bert

from pgkd import PGKDClassifier
from pgkd.system.ranks import broadcast, check_shared, find_rank, is_main_process, share

SCRIPT = Path(__file__).with_name("fit_on_ranks.py")
TEXTS, LABELS = write_texts()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the two processes of the script have written."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    folder = tmp_path_factory.mktemp("ranks")
    write_tiny_bert(folder / "tiny_bert")
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


def read(folder, name):
    return [json.loads((folder / f"{name}.{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", ["linear", "transformer", "student", "cascade"])
def test_all_processes_end_alike(folder, name):
    first, second = read(folder, name)
    assert first == second


def test_rank_0_asks_the_teacher_and_calls_the_callbacks(folder):
    assert set((folder / "linear.calls").read_text().split()) == {"0"}
    found, _ = read(folder, "linear")
    assert len(found["synthetic"]) > 3  # and so more than the names
    assert found["classes"] == ["card", "pin", "rate"]
    events = (folder / "linear.events").read_text().splitlines()
    counts = Counter(events)
    assert (counts["0 step"], counts["0 probe"], counts["0 end"]) == (4, 1, 1)
    assert {event[0] for event in events} == {"0"}


def test_one_directory_is_saved(folder):
    found, _ = read(folder, "linear")
    clf = PGKDClassifier.load(folder / "saved")
    assert clf.predict_proba(TEXTS).tolist() == found["probabilities"]


def test_processes_share_the_texts_of_a_training_step(folder):
    """36 texts, two epochs, 8 texts a step."""
    found, _ = read(folder, "student")
    assert found["batches"] == [["DistributedDataParallel", 4]] * 10
    assert len(found["loss"]) == 2


def test_the_teacher_of_a_cascade_is_asked_once(folder):
    assert (folder / "cascade.calls").read_text() == "0\n"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("refused", "TeacherAuthenticationError('no such key')"),
        ("unpicklable", "Unpicklable('1 and 2')"),
    ],
)
def test_an_error_of_the_teacher_reaches_all(folder, name, error):
    first, second = read(folder, name)
    assert error in first["error"]
    assert first == second


def test_ctrl_c_while_the_teacher_answers_keeps_what_was_bought(folder):
    first, second = read(folder, "interrupted")
    assert first["stop_reason"] == "interrupted"
    assert first["synthetic"]
    assert all("reason='interrupted'" in text for text in first["synthetic"])
    assert first == second


def test_an_error_of_one_process_ends_all(folder):
    first, second = read(folder, "alone")
    assert "rank 1 has no memory left" in second["error"]
    assert "Rank 0 cannot reach the other processes" in first["error"]


def test_alone(monkeypatch):
    """The number of a job array makes no rank."""
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert find_rank() == (0, 1)
    assert is_main_process()
    answer = object()
    assert broadcast(answer) is answer
    assert list(share(lambda: [answer])) == [answer]
    check_shared(ValueError("goes on"))


def test_torch_is_not_imported_to_find_out():
    code = "import sys, pgkd.system.ranks as r; print(r.find_rank(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["(0,", "1)", "False"]
