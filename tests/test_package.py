"""What importing costs, and that the public names are the documented ones."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pgkd


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_import_is_light():
    out = run(
        "import time; t = time.perf_counter(); import pgkd; print(time.perf_counter() - t)\n"
        "import sys; print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    )
    seconds, heavy = out.splitlines()
    assert float(seconds) < 0.3
    assert heavy == "[]"


def test_students_are_lazy():
    out = run("import pgkd.students, pgkd.teachers, sys; print('torch' in sys.modules)")
    assert out.strip() == "False"


@pytest.mark.parametrize(
    "module",
    [
        "pgkd",
        "pgkd.datasets",
        "pgkd.distributed",
        "pgkd.export.writer",
        "pgkd.runtime",
        "pgkd.samplers",
        "pgkd.students",
        "pgkd.teachers",
        "pgkd.testing",
    ],
)
def test_exported_names_exist_and_are_documented(module):
    module = importlib.import_module(module)
    for name in set(module.__all__) - {"__version__"}:
        assert getattr(module, name).__doc__
    assert set(module.__all__) <= set(dir(module))


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        pgkd.Nothing  # noqa: B018


def test_changelog_can_be_written():
    """Each fragment in `changelog.d/` has a name that towncrier knows."""
    pytest.importorskip("towncrier", reason="not installed: pip install pgkd[release]")
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "1.2.3"]
    draft = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert draft.returncode == 0, draft.stderr
    for fragment in root.glob("changelog.d/*.*.md"):
        assert fragment.read_text(encoding="utf-8").split("\n")[0] in draft.stdout


def test_a_release_is_named_alike():
    """In the changelog, in CITATION.cff and, between releases but for `.dev0`, in the package."""
    root = Path(__file__).parents[1]
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    version, date = re.search(r"^## (\S+) \((\S+)\)$", changelog, re.M).groups()
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version}\ndate-released: {date}\n" in citation
    assert pgkd.__version__ == version or pgkd.__version__.endswith(".dev0")
