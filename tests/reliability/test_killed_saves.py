"""A kill while saving leaves the old model or the new one, and nothing for ever."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import killed_saves
import pytest

#: Kills at random moments, and those of the quick part.
N_KILLS, N_QUICK = 40, 5
KINDS = ("save", "save a student", "export", "export as a graph")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks")


def run(folder, kind, n_kills, exchanges=True):
    paths = [str(Path(killed_saves.__file__).parents[1]), *sys.path]
    arguments = json.dumps([kind, n_kills, exchanges])
    done = subprocess.run(
        [sys.executable, killed_saves.__file__, str(folder), arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


def check(found, n_kills):
    assert found["differ"]
    counts = Counter(found["found"])
    print(counts, found["n_drafts"], "drafts left", found["n_lost"], "found beside")  # noqa: T201
    assert counts[0] + counts[1] == n_kills
    assert found["left"] == ["model"]
    assert found["last"]


@pytest.mark.parametrize("kind", ["save", "export"])
def test_a_few_kills(tmp_path, kind):
    found = run(tmp_path, kind, N_QUICK)
    check(found, N_QUICK)
    assert found["n_lost"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exchanges", [True, False])
def test_many_kills(tmp_path, kind, exchanges):
    """Also where the disk cannot exchange two directories in one step."""
    found = run(tmp_path, kind, N_KILLS, exchanges)
    check(found, N_KILLS)
    assert found["n_drafts"] > 0  # it was killed at work
    if exchanges:
        assert found["n_lost"] == 0
