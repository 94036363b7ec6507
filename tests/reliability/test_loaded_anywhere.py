"""What was saved answers as before in another process, place, and version of Python, offline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn
from conftest import WORDS, write_text
from models import hostile

import pgkd.runtime

LOADER = Path(__file__).with_name("load_anywhere.py")
SOURCE = Path(pgkd.runtime.__file__).parents[1]
TEXTS = [write_text(label, i) for i in range(40, 50) for label in WORDS] + [
    "",
    "карта 🙂",
    "x" * 999,
]
#: The greatest difference of a probability.
TOLERANCE = 1e-6
#: Other versions of Python with pgkd's packages, as a path of interpreters: each loads these.
OTHERS = [python for python in os.environ.get("PGKD_OTHER_PYTHONS", "").split(os.pathsep) if python]
WITH_TORCH = ("static", "sets", "embedding", "transformer")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Models and what they answer here."""
    folder = tmp_path_factory.mktemp("made")
    hostile.make_all(folder)
    return folder


@pytest.fixture(scope="module")
def expected(made):
    kinds = ("sklearn", *WITH_TORCH, "numpy", "onnx", "openvino")
    return {kind: hostile.load(kind, made / kind).predict_proba(TEXTS) for kind in kinds}


def load(python, folder, kinds, cwd, *packages):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "TRANSFORMERS_", "PGKD_"))
    }
    done = subprocess.run(
        [python, str(LOADER), str(folder), json.dumps(dict.fromkeys(kinds, TEXTS)), *packages],
        env={**environment, "PYTHONPATH": str(SOURCE), "HF_HOME": str(cwd / "no-cache")},
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def describe(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
    }


def test_in_another_process_moved_read_only_and_offline(made, expected, tmp_path):
    folder, cwd = tmp_path / "moved", tmp_path / "elsewhere"
    shutil.copytree(made, folder)
    shutil.rmtree(folder / "bert")  # what the students were made of
    shutil.rmtree(folder / "vectors")
    cwd.mkdir()
    before = describe(folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        _, found = load(sys.executable, folder, expected, cwd, "torch")
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
    for kind, probabilities in expected.items():
        np.testing.assert_allclose(found[kind], probabilities, atol=TOLERANCE, err_msg=kind)
    assert describe(folder) == before
    assert not list(cwd.iterdir())


CAN = """
import importlib.util, json, sklearn
has_torch = all(map(importlib.util.find_spec, ("torch", "transformers")))
print(json.dumps([has_torch, sklearn.__version__]))
"""


def list_kinds(python):
    """Return the kinds of models that an interpreter has the packages for."""
    out = subprocess.run([python, "-c", CAN], capture_output=True, text=True, check=True).stdout
    has_torch, version = json.loads(out)
    older = [int(part) for part in version.split(".")[:2]]
    if older < [int(part) for part in sklearn.__version__.split(".")[:2]]:
        return ["numpy"], has_torch  # scikit-learn reads no estimators of later versions
    return ["numpy", "sklearn", *(WITH_TORCH if has_torch else [])], has_torch


@pytest.mark.slow
@pytest.mark.skipif(not OTHERS, reason="PGKD_OTHER_PYTHONS names no other versions of Python")
@pytest.mark.parametrize("python", OTHERS)
def test_in_another_version_of_python(made, expected, tmp_path, python):
    kinds, has_torch = list_kinds(python)
    version, found = load(python, made, kinds, tmp_path, *(["torch"] if has_torch else []))
    print(version, kinds)  # noqa: T201
    for kind in kinds:
        np.testing.assert_allclose(found[kind], expected[kind], atol=TOLERANCE, err_msg=kind)
