"""Other processes, forked or started anew, get what this one gets; none waits for ever."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reliability.test_threads import KINDS

FOLDER = Path(__file__).parent
#: Seconds in which a script must end.
LIMIT = 300


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("fork", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")),
        pytest.param("spawn", marks=pytest.mark.slow),
        pytest.param("loky", marks=pytest.mark.slow),
    ],
)
def test_classifiers_in_other_processes(method):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(FOLDER.parent)])}
    env.pop("OMP_NUM_THREADS", None)  # it would hide that threads do not outlive a fork
    command = [sys.executable, FOLDER / "in_processes.py", method]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == KINDS
