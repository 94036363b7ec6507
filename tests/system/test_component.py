import subprocess
import sys

import pytest
from conftest import WordTeacher, make_classifier
from sklearn.base import clone

from pgkd import CascadeClassifier, Evidence, PGKDClassifier
from pgkd.samplers import PerformanceGuidedSampler, UnguidedSampler
from pgkd.students import EmbeddingStudent
from pgkd.system import component
from pgkd.teachers import FunctionTeacher, OpenAITeacher
from pgkd.testing import PoolTeacher

KEY = "sk-of-nobody-1234567890"


@pytest.fixture
def docs(monkeypatch):
    monkeypatch.setattr(component, "find_docs", lambda: "https://docs.example/stable/")


def test_the_diagram_has_all_parts(student):
    clf = PGKDClassifier(OpenAITeacher("m", api_key=KEY), student, PerformanceGuidedSampler())
    page = clf._repr_html_()
    for name in ("teacher: OpenAITeacher", "student: Pipeline", "TfidfVectorizer"):
        assert name in page
    assert "sampler: PerformanceGuidedSampler" in page
    assert KEY not in page
    page = PGKDClassifier()._repr_html_()
    assert "student: by default" in page
    assert "EmbeddingStudent" in page
    assert "teacher:" not in page
    assert "sampler:" not in page  # nothing is sampled
    assert "sampler: UnguidedSampler" in PGKDClassifier(sampler=UnguidedSampler())._repr_html_()
    assert "student: PGKDClassifier" in CascadeClassifier(clf, clf.teacher)._repr_html_()


def test_what_fit_came_to(data, student):
    clf = make_classifier(WordTeacher(), student, max_cycles=1, random_state=0)
    assert "labelled texts;" not in clf._repr_html_()
    clf.fit(*data)
    html = clf._repr_mimebundle_()["text/html"]
    assert "accuracy " in clf._result
    assert clf._result.replace(">", "&gt;") in html
    assert clf._result.endswith(
        f"; {clf.usage_.n_requests} requests and {clf.usage_.cost:.4f} US dollars"
    )
    assert "Fitted" in html
    assert clone(clf)._result == ""


def test_a_name_of_a_score_is_text(data, student):
    def score(estimator, X, y):
        return float((estimator.predict(X) == y).mean())

    score.__name__ = "<script>"
    clf = make_classifier(None, student, scoring=score, random_state=0).fit(*data)
    assert "<p><script>" not in clf._repr_html_()
    assert "<p>&lt;script&gt;" in clf._repr_html_()


@pytest.mark.parametrize(
    ("estimator", "anchor"),
    [
        (PGKDClassifier(), "pgkd.PGKDClassifier"),
        (CascadeClassifier(), "pgkd.CascadeClassifier"),
        (Evidence(), "pgkd.Evidence"),
        (EmbeddingStudent(), "pgkd.students.EmbeddingStudent"),
        (FunctionTeacher(str), "pgkd.teachers.FunctionTeacher"),
        (PerformanceGuidedSampler(), "pgkd.samplers.PerformanceGuidedSampler"),
        (PoolTeacher(["a"], ["b"]), "pgkd.testing.PoolTeacher"),
    ],
)
def test_links_to_the_docs(docs, estimator, anchor):
    assert f'href="https://docs.example/stable/api.html#{anchor}"' in estimator._repr_html_()


def test_no_link_where_there_are_no_docs(monkeypatch):
    monkeypatch.setattr(component, "find_docs", lambda: None)
    assert PGKDClassifier()._get_doc_link() == ""

    class Own(PGKDClassifier):
        pass

    monkeypatch.setattr(component, "find_docs", lambda: "https://docs.example")
    assert Own()._get_doc_link() == ""


@pytest.mark.parametrize(
    ("urls", "found"),
    [
        (
            ["Source, https://a.example", "Documentation, https://b.example/x"],
            "https://b.example/x",
        ),
        (["Source, https://a.example"], None),
        (None, None),
    ],
)
def test_the_address_is_that_of_the_package(monkeypatch, urls, found):
    class Metadata:
        def get_all(self, name):
            assert name == "Project-URL"
            return urls

    component.find_docs.cache_clear()
    monkeypatch.setattr(component, "metadata", lambda name: Metadata())
    assert component.find_docs() == found
    component.find_docs.cache_clear()


def test_a_notebook_shows_no_warning_of_tqdm():
    """tqdm asks whether it runs in a kernel, and whether ipywidgets is there."""
    program = (
        "import sys, types, {first}\n"
        "kernel = types.SimpleNamespace(config={{'IPKernelApp': 1}})\n"
        "module = types.ModuleType('IPython'); module.get_ipython = lambda: kernel\n"
        "sys.modules |= {{'IPython': module, 'ipykernel.zmqshell': module, 'ipywidgets': None}}\n"
        "import tqdm.auto"
    )
    for first, is_shown in (("pgkd", False), ("json", True)):
        done = subprocess.run(
            [sys.executable, "-c", program.format(first=first)], capture_output=True, check=True
        )
        assert (b"IProgress not found" in done.stderr) == is_shown
