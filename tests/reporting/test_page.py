import base64
import hashlib
import html
import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from conftest import WORDS, make_classifier
from reporting.made_up import HOSTILE, make_report
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.inputs.text import make_valid
from pgkd.records import Usage
from pgkd.reporting.page import Scale

VOID = {"meta", "input", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """Reads a page, and refuses what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def find(self, tag, **attrs):
        wanted = attrs.items()
        return [own for name, own in self.elements if name == tag and wanted <= own.items()]

    def read(self, tag):
        return [text for name, text in self.texts if name == tag]


@pytest.fixture(scope="module")
def report():
    return make_report()


@pytest.fixture(scope="module")
def page(report):
    return Page(report.to_html())


def test_it_loads_nothing_and_runs_its_own_script_only(page):
    for _, attrs in page.elements:
        for name in ("href", "src", "action", "srcset", "xlink:href"):
            assert attrs.get(name, "#").startswith("#"), attrs
        assert not [name for name in attrs if name.startswith("on")]
    [policy] = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        source = page.read(tag)[-1]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy["content"]
    assert policy["content"].startswith("default-src 'none'")
    assert "@import" not in page.read("style")[0]
    assert "url(" not in page.read("style")[0]


def test_what_others_wrote_is_text(page, report):
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"img", "b", "iframe"}
    assert len(page.find("script")) == 2
    shown = {text for tag, text in page.texts if tag == "bdi"}
    assert {own for own in HOSTILE if "\ud83d" not in own} <= shown  # as names of classes
    assert any("half an emoji \\ud83d" in text for text in shown)
    data = json.loads(page.read("script")[0])
    assert [row[0] for row in data["rows"]] == [make_valid(text.text) for text in report.texts]
    report.to_html().encode()


def test_the_texts_have_all_that_they_are_filtered_by(page, report):
    data = json.loads(page.read("script")[0])
    for row, text in zip(data["rows"], report.texts):
        label, verdict, reason, step, source = (
            names[i] for names, i in zip(data["names"], row[1:6])
        )
        assert (label, verdict) == (make_valid(text.label), text.verdict)
        assert step == str(text.cycle)
        assert reason == (text.reason or "")
        assert source == "teacher wrote it"


def test_the_page_says_what_the_markdown_says(report):
    """Both are written from the same sections: no figure is only in one, or another there."""
    markdown, page = str(report), html.unescape(re.sub("<[^>]*>", "", report.to_html()))
    figures = re.findall(r"[+-]?\d+\.\d{3,4}", markdown)
    assert len(figures) > 60
    assert [own for own in figures if own not in page] == []


def test_what_it_was_worth_is_seen_first(page, report):
    first = page.read("dd")[:4]
    assert first == ["0.500", "accuracy, the baseline", "0.700", "accuracy"]
    assert "+0.200" in page.read("dd")
    assert "hardly luck" in str(report)
    assert "see `max_cycles`" not in str(report)  # the last step was not taken


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "use this student. What it has learnt helps, and that is hardly luck"),
        ({"after": 0.53}, "do not count on the gain"),
        ({"n_texts": 3, "standard_error": 0.09}, "do not count on the gain"),
        ({"after": 0.501, "standard_error": 0.002}, "equally good, to within 1 point"),
        ({"after": 0.5}, "the true labels: the log loss falls by 0.200"),
        ({"after": 0.4, "log_loss_gain": -0.5}, "`clf.refit(lambda text: False)` trains"),
        ({"after": 0.5, "log_loss_gain": 0.0}, "keep the student of the labelled texts alone"),
    ],
)
def test_the_advice_follows_from_the_comparison(report, changes, words):
    changed = replace(report, comparison=replace(report.comparison, **changes))
    assert words in str(changed)


def test_headings_and_names_for_screen_readers(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.elements:
        for name in ("aria-labelledby", "for"):
            assert attrs.get(name, ids[0]) in ids
    assert {attrs["href"][1:] for attrs in page.find("a")} <= set(ids)
    assert len(page.find("svg", role="img")) == 6
    assert len(page.find("caption")) == len(page.find("table"))
    assert all("tabindex" in attrs for attrs in page.find("div", role="region"))


def test_no_matrix_of_many_classes(page):
    assert not page.find("div", **{"class": "scroll matrix"})


def test_a_matrix_of_few_classes_counts_every_text(report):
    few = make_report(n_classes=len(HOSTILE), n_texts=10)
    page = few.to_html()
    tables = re.findall(r'<div class="scroll matrix".*?</table>', page, re.S)
    assert len(tables) == 2
    for table, right in zip(tables, (5, 7)):
        counts = [int(n) for n in re.findall(r'<td class="shade-\d[^>]*>(\d+)', table)]
        assert sum(counts) == 10 * len(HOSTILE)
        assert counts[0] == right


def test_it_stays_small_and_quick():
    large = make_report(n_classes=500, n_texts=10_000)
    start = time.perf_counter()
    page = large.to_html()
    assert time.perf_counter() - start < 20
    assert len(page) < 2_500_000
    assert page.count("<tr>") < 50 + 2 * 500 + 100  # the texts are drawn a page at a time
    assert str(large).count("\n") < 300


def test_save(report, tmp_path):
    report.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report.to_html()
    report.save(str(tmp_path / "report.md"))
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == str(report)
    with pytest.raises(InvalidInputError, match=r"must end with \.html or \.md\. Got '.*report'"):
        report.save(tmp_path / "report")


def test_in_a_notebook_it_has_a_frame_of_its_own(report):
    frame = Page(report._repr_html_())
    (style, _), (tag, attrs) = frame.elements
    assert style == "style"
    assert (tag, attrs["sandbox"], attrs["srcdoc"]) == ("iframe", "allow-scripts", report.to_html())
    assert repr(report).startswith("Report(accuracy 0.500 -> 0.700, +0.200 (95 %: +0.141 to")
    assert len(repr(report)) < 200


def test_without_labelled_texts(student):
    report = PGKDClassifier(student=student, class_names=list(WORDS)).fit().report()
    page = Page(report.to_html())
    assert "Nothing vouches for this student" in page.read("strong")
    assert not page.find("svg")
    assert "not judged" in repr(report)


def test_several_labels_a_text(hard):
    X, y = hard
    sets = [[label, "late"] if i % 3 else [label] for i, label in enumerate(y)]
    student = make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression(C=100)))
    report = make_classifier(None, student, routes=("names",), random_state=0).fit(X, sets).report()
    assert report.confusions
    page = report.to_html()
    assert "Labels missed with another one given, out of fold" in page
    assert "scroll matrix" not in page  # a text is in several rows and columns


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 0.4], ["0", "0.1", "0.2", "0.3", "0.4"]),
        ([-0.03, 0.11], ["-0.05", "0", "0.05", "0.1", "0.15"]),
        ([7.0], ["6", "8"]),
        ([0.0], ["0", "1"]),
        ([0, 120_000], ["0", "50000", "100000", "150000"]),
    ],
)
def test_scale(values, ticks):
    scale = Scale(values, 0, 100)
    assert [text for text, _ in scale.ticks] == ticks
    assert [at for _, at in scale.ticks][:: len(ticks) - 1] == [0, 100]
    assert all(0 <= scale(value) <= 100 for value in values)


def test_a_route_has_the_interval_of_its_steps(report):
    routes = {own.route: own for own in report.routes}
    steps = report.steps
    [step] = [own for own in steps if own.route == "names"]
    assert routes["names"].interval == pytest.approx(step.comparison.interval)
    assert routes["names"].interval == pytest.approx(
        stats.t.interval(0.95, step.comparison.n_texts - 1, 0.1, 0.02)
    )
    assert routes["write"].standard_error == pytest.approx(0.02 * 2**0.5)
    assert routes["write"].gain_per_dollar == pytest.approx(0.1 / 0.5)
    assert routes["names"].gain_per_dollar is None  # it is free
    assert routes["label"].gain == 0  # not taken
    assert steps[4].comparison.after < steps[4].comparison.before


def test_an_unknown_price_has_no_gain_per_dollar(report):
    own = replace(report.routes[1], usage=Usage(1, 5, 5, cost=None))
    assert own.gain_per_dollar is None


def test_confusions_and_bins_are_those_of_the_run(hard, student, tmp_path):
    clf = make_classifier(None, student, routes=("names",), random_state=0).fit(*hard)
    report = clf.report()
    first, last = clf.history_[0].report, clf.history_[-1].report
    assert {(c.label, c.predicted): c.before for c in report.confusions if c.before} == dict(
        first.confusions
    )
    assert sum(c.after for c in report.confusions) == round((1 - last.accuracy) * 24)
    bins = clf.calibration_.bins_before
    assert sum(own.n_texts for own in bins) == 24
    gap = sum(own.n_texts / 24 * abs(own.accuracy - own.confidence) for own in bins)
    assert gap == pytest.approx(clf.calibration_.ece_before)
    clf.save(tmp_path / "model")
    assert PGKDClassifier.load(tmp_path / "model").report().to_html() == report.to_html()
