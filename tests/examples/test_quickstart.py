import contextlib
import re
import subprocess
import sys

import pytest

pytest.importorskip("simple_icd_10_cm", reason="its data need pgkd[datasets]")

import quickstart
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd.datasets import load_icd10
from pgkd.testing import PoolTeacher


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.filterwarnings("ignore:The probe of the teacher says nothing")
def test_leaves_a_model_a_report_and_a_next_step(tmp_path, monkeypatch, capsys):
    found = load_icd10("chapter", n_train=500, n_test=100)
    few = set(found[1][:4])  # the first texts are one of each class
    X, y = zip(*((text, label) for text, label in zip(*found[:2]) if label in few))
    X_test, y_test = zip(*((text, label) for text, label in zip(*found[2:]) if label in few))

    @contextlib.contextmanager
    def find_teacher():
        yield PoolTeacher(X, y)

    monkeypatch.setattr(quickstart, "load_icd10", lambda *_, **__: (X, y, X_test, y_test))
    monkeypatch.setattr(quickstart, "find_teacher", find_teacher)
    monkeypatch.setattr(quickstart, "fetch_minilm", lambda: None)
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    monkeypatch.setattr(quickstart, "EmbeddingStudent", lambda model: student)
    monkeypatch.setenv("PGKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    quickstart.main()
    printed = capsys.readouterr().out
    table = printed[printed.index("test texts ") :]
    assert re.findall(r"^  (labelled texts alone|\+ [a-z ]+?)  +0\.", table, re.M) == [
        "labelled texts alone",
        *quickstart.STEPS.values(),
    ]
    assert "Now open quickstart-out/report.html" in printed
    [command] = re.findall(r"(echo .*)", printed)
    pgkd = f"{sys.executable} -m pgkd.cli"
    done = subprocess.run(
        ["sh", "-c", command.replace(".venv/bin/pgkd", pgkd)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.strip() in y
    assert "</html>" in (tmp_path / "quickstart-out" / "report.html").read_text(encoding="utf-8")
