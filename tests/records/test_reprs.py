"""What a person prints is short, whatever the run."""

from xml.etree import ElementTree

import pandas as pd
import pytest
from conftest import WordTeacher, make_classifier, write_hard

from pgkd import PGKDClassifier
from pgkd.loop.planning import Plan
from pgkd.records import Comparison, Records, Step, SyntheticText, Usage


@pytest.fixture
def clf(hard, student):
    clf = make_classifier(
        WordTeacher(write=write_hard), student, max_cycles=1, samples_per_cycle=24, random_state=0
    )
    return clf.fit(*hard)


def test_history_is_a_table(clf):
    header, *rows = repr(clf.history_).splitlines()
    assert header.split() == [
        "step",
        "route",
        "score",
        "gain",
        "expected",
        "gain",
        "weight",
        "texts",
        "US",
        "dollars",
    ]
    assert len(rows) == len(clf.history_) == 2
    assert rows[1].startswith("1     write     0.")
    comparison = clf.history_[1].comparison
    assert f"{comparison.difference}  {comparison.gain:+.3f} " in rows[1]
    not_taken = Step(2, "label", taken=False, factor=0.0, comparison=comparison)
    assert not_taken.row["weight"] == "not taken"
    assert len({line.rstrip().rfind("0.0") for line in rows}) == 1  # in columns
    assert max(map(len, rows)) < 110


def test_a_step_a_report_a_plan_and_a_bill_are_a_line(clf, hard):
    step = clf.history_[1]
    for value in (step, step.report, step.comparison, step.diversity, clf.usage_):
        assert "\n" not in repr(value)
        assert len(repr(value)) < 250
    assert repr(step).startswith("Step(step: 1, route: write, score: 0.")
    assert f"{len(clf.classes_)} classes" in repr(step.report)
    assert repr(clf.plan(*hard)).startswith("Plan(")
    assert str(clf.usage_) == (
        f"{clf.usage_.n_requests} requests, {clf.usage_.input_tokens} input tokens (0 of them "
        f"cached), {clf.usage_.output_tokens} output tokens, US dollars: {clf.usage_.cost:.4f}"
    )
    assert str(Usage(1, cost=None)).endswith("US dollars: unknown")


def test_a_plan_and_a_bill_are_tables_in_a_notebook():
    plan = ElementTree.fromstring(Plan((6, 1200), (9, 9), (1, 2), (0.5, 1.25))._repr_html_())
    assert [[cell.text for cell in row] for row in plan.iter("tr")] == [
        [None, "at least", "at most"],
        ["requests", "6", "1,200"],
        ["input tokens", "9", "9"],
        ["output tokens", "1", "2"],
        ["US dollars", "0.50", "1.25"],
    ]
    noted = Plan((0, 1), (0, 1), (0, 1), notes=("No key <yet>.",))._repr_html_()
    assert noted.endswith("<p>No key &lt;yet&gt;.</p>")
    bill = ElementTree.fromstring(Usage(2, 3000, 4, cost=None)._repr_html_())
    assert [cell.text for cell in bill.iter("td")] == ["2", "3,000", "0", "4", "unknown"]


def test_texts_are_a_table_of_some(clf):
    many = Records([SyntheticText(f"text {i}", "a", 1, "", verdict="accepted") for i in range(99)])
    lines = repr(many).splitlines()
    assert len(lines) == 22
    assert lines[11] == "... 79 more ..."
    assert "text 9 " in lines[10]
    assert "text 98" in lines[-1]
    assert repr(Records([])) == "[]"


def test_what_was_written_does_not_move_the_cursor():
    text = SyntheticText("a\x1b[31m\n\tb \ud83d \u202ec" + "d" * 99, "x", 1, "", verdict="accepted")
    _, row = repr(Records([text])).splitlines()
    assert "a\\x1b[31m b \\ud83d \\u202ec" in row
    assert len(row) < 100


def test_they_are_lists(clf, tmp_path):
    assert isinstance(clf.history_, list)
    assert clf.history_ == list(clf.history_)
    assert len(pd.DataFrame(clf.synthetic_)) == len(clf.synthetic_)
    clf.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    assert repr(loaded.history_) == repr(clf.history_)
    assert repr(loaded.synthetic_) == repr(clf.synthetic_)


def test_a_comparison_is_read_as_a_sentence():
    own = Comparison("accuracy", 0.5, 0.7, 0.05, 0.1, 0.1, 0.0, 80)
    text = "accuracy 0.500 -> 0.700, +0.200 (95 %: +0.100 to +0.300) on 80 labelled texts"
    assert str(own) == text
    assert "gain: +0.200 (95 %" in repr(Step(1, "write", comparison=own))


def test_the_lists_of_a_report_are_tables(clf):
    report = clf.report()
    header, *rows = repr(report.gains).splitlines()
    assert header.split() == ["label", "before", "after", "support"]
    assert len(rows) == len(report.gains) == 3
    assert rows[0].split()[1] == f"{report.gains[0].before:.3f}"
    assert repr(report.rejected).startswith(("step  text", "[]"))
    assert repr(report.routes).splitlines()[1].startswith("write  ")


def test_a_notebook_shows_tables_that_hold_what_strangers_wrote(clf):
    texts = [
        SyntheticText(f"<b>{'long ' * 30}{i}</b>", "a\x1b&", 1, "", verdict="x") for i in range(99)
    ]
    table = Records(texts)._repr_html_()
    root = ElementTree.fromstring(table)
    assert [cell.text for cell in root.iter("th")][:3] == ["step", "text", "label"]
    rows = [[cell.text for cell in row.iter("td")] for row in root.iter("tr")]
    assert len(rows) == 1 + 20 + 1
    assert rows[1][1] == texts[0].text  # whole, and no markup
    assert rows[1][2] == "a\\x1b&"
    assert rows[11] == ["... 79 more ..."]
    assert Records()._repr_html_() == "[]"
    assert len(repr(clf.calibration_)) < 300
