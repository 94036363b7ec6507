"""What a teacher or a user wrote stays data in reports, cards, terminals and CSV files."""

import csv
import io
import sys

import pytest
from conftest import WORDS, make_classifier, write_text
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import CascadeClassifier
from pgkd.callbacks import PrintProgress
from pgkd.export.model_card import make_card
from pgkd.inputs.text import as_cell, as_code
from pgkd.records import Event, Example, Generation, GenerationRequest, Step
from pgkd.testing import PoolTeacher

NASTY = (
    "<script>alert(1)</script>",
    "a | b",
    "`code` ``` fence",
    "two\n\n# lines",
    "[x](javascript:alert(1)) ![y](http://z)",
    '=cmd|"/C calc"!A0',
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "**bold** _it_ <!-- x -->",
    "\\`\\|",
)


def is_plain(markdown):
    """Outside of code spans, there is no HTML, no link and nothing that a terminal obeys."""
    assert markdown.replace("\n", "").isprintable()
    outside = "".join(part for line in markdown.split("\n") for part in line.split("`")[::2])
    return not any(mark in outside for mark in ("<", "](", "![", "javascript", "# lines", "=cmd"))


def assert_tables_are_whole(markdown):
    """All rows of a table have as many cells as its head, and it has rows."""
    tables = [block.split("\n") for block in markdown.split("\n\n") if block.startswith("|")]
    assert tables
    for rows in tables:
        assert len(rows) > 2
        assert len({row.replace("\\|", "").count("|") for row in rows}) == 1


@pytest.fixture(scope="module")
def labels():
    return {label: f"{label} {' '.join(NASTY)}" for label in WORDS}


class Nasty:
    """Writes what is nasty, and gives reasons that are."""

    def generate(self, requests):
        for request in requests:
            texts = [Example(text, label) for text in NASTY for label in request.counts]
            yield Generation(request, tuple(texts), rejected=dict.fromkeys(NASTY, 1))


@pytest.fixture(scope="module")
def clf(labels):
    X = [write_text(label, i) for label in WORDS for i in range(10)]
    y = [labels[label] for label in WORDS for _ in range(10)]
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    return make_classifier(Nasty(), student, max_cycles=2, routes=("write",)).fit(X, y)


def test_a_report(clf):
    text = str(clf.report())
    assert any(code in text for code in map(as_code, NASTY))
    assert is_plain(text)
    assert_tables_are_whole(text)


@pytest.mark.filterwarnings("ignore:The teacher is nowhere")  # of so few texts
def test_a_cascade_report(labels):
    X = [write_text(label, i) for label in WORDS for i in range(10)]
    y = [labels[label] for label in WORDS for _ in range(10)]
    student = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X[::5], y[::5])
    text = str(CascadeClassifier(student, PoolTeacher(X, y), random_state=0).fit(X, y).report())
    assert "<script>" in text
    assert is_plain(text)
    assert_tables_are_whole(text)


def test_a_model_card(labels):
    document = {
        "classes": list(labels.values()),
        "student": "StaticStudent",
        "pgkd": "1",
        "model": "model.npz",
        "quantize": False,
        "max_length": 9,
        "parity": {"n_texts": 1, "agreement": 1.0, "max_difference": 0.0},
        "threshold": None,
        "temperature": 1,
    }
    card = make_card(document, object())
    described = card.split("## Use")[0]
    assert "<script>" in described
    assert is_plain(described)


def test_a_terminal(clf, capsys):
    printer = PrintProgress(verbose=2)
    for text in NASTY:
        printer.on_event(Event("step", Step(1, text, rejected={text: 3}, n_accepted=1)))
        request = GenerationRequest("1-1", {"card": 1})
        printer.on_event(Event("generation", Generation(request, error=text)))
        printer.on_event(Event("end", text))
    out = capsys.readouterr().out
    assert "\\u001b[31mred" in out
    assert out.replace("\n", "").isprintable()
    assert len(out.splitlines()) == 3 * len(NASTY)


@given(st.text())
def test_code_is_one_line_of_code(text):
    code = as_code(text)
    assert code == "(empty)" or (code[0] == code[-1] == "`" and "`" not in code[1:-1])
    assert len(code.splitlines()) == 1
    assert len(code) <= 82


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1|cmd", "-", "@x", " =1", "\t=1", "\r=1", "\n=1", "\uff1d1"]
)
def test_no_cell_is_a_formula(text):
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1", "+1.5", "-2e-5", "3", "a = b", "", "e-mail"])
def test_other_cells_stay(text):
    assert as_cell(text) == text


@given(st.text(st.characters(exclude_characters="\0" if sys.version_info < (3, 11) else "")))
def test_a_cell_goes_through_a_file(text):
    file = io.StringIO(newline="")
    csv.writer(file).writerow([as_cell(text)])
    file.seek(0)
    [[read]] = csv.reader(file) if as_cell(text) else [[""]]
    assert read in (text, f"'{text}")
    assert not read or read[0] not in "=@\t\r\n"
