"""A model that a stranger has spoilt runs nothing, and is refused in bounded time and memory."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import hostile
import pytest

#: What loading a spoilt model may take beside the imports: seconds of the CPU, and megabytes.
SECONDS, MEGABYTES = 5, 500


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """How each attack went, in a process of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = [str(Path(hostile.__file__).parents[1]), *sys.path]
    done = subprocess.run(
        [sys.executable, hostile.__file__, str(folder), json.dumps(list(hostile.ATTACKS))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("name", hostile.ATTACKS)
def test_attacks(found, name):
    message = hostile.ATTACKS[name][2]
    how = found[name]
    assert not how["was_run"], how
    if message is None:
        assert how["error"] is None, how["trace"]
    else:
        assert how["error"] == "PersistenceError", how["trace"] or how["error"]
        assert re.search(message, how["message"], re.DOTALL), how["message"]
        assert how["directory"] in how["message"], how["message"]
        assert how["message"].endswith((".", "'.")), how["message"]
    assert how["seconds"] < SECONDS, how
    assert how["megabytes"] < MEGABYTES, how
