import copy
import json
import re

import pandas as pd
import pytest
from annotators import Labelling
from conftest import WORDS, WordTeacher, make_classifier, write_hard, write_text
from sklearn.exceptions import NotFittedError

from pgkd import PGKDClassifier
from pgkd.records import Example, Generation, Probe, Usage
from pgkd.reporting.sections.values import tabulate
from pgkd.samplers import UnguidedSampler
from pgkd.teachers import FunctionTeacher


class Sloppy(WordTeacher):
    """Adds to each answer what cannot be learnt."""

    def generate(self, requests):
        for g in super().generate(requests):
            extra = (Example("", "pin"), Example("a `b` | <b>c</b>\n# d \ud83d", "card"))
            yield Generation(g.request, g.examples + extra, {"unreadable answer": 2}, g.usage)


def fit(teacher, data, student, **params):
    defaults = {"max_cycles": 2, "samples_per_cycle": 24, "random_state": 0}
    return make_classifier(teacher, student, **{**defaults, **params}).fit(*data)


_FITTED = []


@pytest.fixture
def fitted(hard, student):
    if not _FITTED:
        routes = ("names", "write")
        _FITTED.append(fit(Sloppy(write=write_hard), hard, student, routes=routes))
    return copy.deepcopy(_FITTED[0])


@pytest.fixture
def report(fitted):
    return fitted.report()


def test_every_text_that_was_not_learnt_is_explained(fitted, report):
    lost = [t for t in fitted.synthetic_ if t.verdict != "accepted"]
    assert list(report.rejected) == lost
    assert all(t.reason for t in lost)
    with_text = [loss for loss in report.losses if loss.verdict != "not read"]
    assert sum(loss.n for loss in with_text) == len(lost)
    for step in fitted.history_:
        counts = {
            loss.reason: loss.n
            for loss in report.losses
            if loss.step == step.number and loss.verdict != "dropped"
        }
        assert counts == step.rejected
    table = pd.DataFrame(report.rejected)
    assert {"text", "label", "cycle", "reason", "verdict"} <= set(table.columns)


def test_the_markdown_counts_and_shows_them(report):
    text = str(report)
    assert text == report._repr_markdown_()
    assert not [line for line in text.splitlines() if line.count("|") > 10]  # as wide as a screen
    for loss in report.losses:
        assert f"**{loss.verdict}: {loss.reason}** (" in text
        assert f"{loss.n} in step {loss.step}" in text
    assert "In Python, `clf.report().rejected` has each of these" in text


def test_nothing_is_said_of_what_there_is_not(hard, student):
    """No bill without a teacher, and no list of texts that were not learnt if all were."""
    clf = make_classifier(None, student, routes=("names",), random_state=0).fit(*hard)
    text = str(clf.report())
    assert "All 3 texts beside the labelled ones are learnt." in text
    assert "rejected" not in text
    assert "dollars" not in text
    assert "requests" not in text


def test_the_title_tells_reports_apart(fitted, student, tmp_path):
    title = "Report: TfidfVectorizer + LogisticRegression, 24 labelled texts, Sloppy"
    assert str(fitted.report()).startswith(f"# {title}\n")
    assert f"<title>{title}</title>" in fitted.report().to_html()
    fitted.save(tmp_path / "model")
    assert PGKDClassifier.load(tmp_path / "model").report().title == title
    report = PGKDClassifier(student=student, class_names=list(WORDS)).fit().report()
    assert report.title == "Report: TfidfVectorizer + LogisticRegression, no labelled text"


def test_a_class_with_a_single_text_cannot_be_judged(hard, student):
    X, y = hard
    clf = make_classifier(None, student, routes=("names",), random_state=0)
    lone = clf.fit([*X, "a contract of law"], [*y, "legal"]).report()
    assert lone.lone_classes == ("legal",)
    assert "`legal` has a single labelled text. A student that is judged by it has learnt" in str(
        lone
    )
    assert not clf.fit(*hard).report().lone_classes
    gate = {"X_val": [*X, "a contract"], "y_val": [*y, "legal"]}
    few = ["my card", "my rate", "my pin", "the law"], ["card", "rate", "pin", "legal"]
    judged = clf.fit(*few, **gate).report()
    assert not judged.lone_classes  # whose text of the gate is none that is learnt


def test_what_a_teacher_wrote_is_no_markdown(report):
    line = next(line for line in str(report).splitlines() if "<b>" in line)
    assert line == "- `a 'b' | <b>c</b> # d \\ud83d` as `card`"
    str(report).encode()


def test_what_was_gained(report, fitted):
    comparison = report.comparison
    assert comparison is fitted.comparison_
    assert comparison.after > comparison.before
    assert comparison.before == fitted.history_[0].score
    assert comparison.after == fitted.history_[-1].score
    text = str(report)
    low, high = comparison.interval
    assert low < comparison.after - comparison.before < high
    assert f"`accuracy` is {comparison.after:.3f}" in text
    assert f"(95 %: {low:+.3f} to {high:+.3f})" in text
    assert "because `max_cycles` batches were bought" in text


def test_each_step_has_a_row(report, fitted):
    lines = str(report).splitlines()
    for step, name in zip(
        fitted.history_,
        ["labelled texts alone", "names of the classes", "teacher writes", "teacher writes"],
    ):
        row = next(line for line in lines if line.startswith(f"| {step.number} | {name} |"))
        assert f"| {step.score:.3f} |" in row


def test_columns_with_nothing_to_show_are_left_out():
    table = tabulate("", ("a", "b", "c"), (("x", None, None), ("y", None, "z")))
    assert (table.columns, table.rows) == (("a", "c"), (("x", None), ("y", "z")))


def test_each_route_is_summed_up(report, fitted):
    routes = {own.route: own for own in report.routes}
    assert set(routes) == {"names", "write"}
    assert routes["write"].usage == fitted.usage_
    assert routes["names"].usage == Usage()
    learnt = {t.text for t in fitted.synthetic_ if t.verdict == "accepted" and t.cycle > 1}
    assert routes["write"].n_learnt == len(learnt)
    assert report.n_labelled == 24
    total = sum(own.gain for own in report.routes)
    assert total == pytest.approx(report.comparison.after - report.comparison.before)


@pytest.fixture
def harmed(hard, student):
    return fit(WordTeacher(wrong=True, write=write_hard), hard, student, max_cycles=1)


def test_a_teacher_that_is_wrong(harmed):
    report = harmed.report()
    [route] = report.routes
    assert (route.route, route.n_learnt, route.gain) == ("write", 0, 0)
    text = str(report)
    [row] = [line for line in text.splitlines() if line.startswith("| 1 | teacher writes |")]
    step = harmed.history_[1]
    assert row.endswith(f"| {step.comparison.gain:+.3f} | not taken |")
    similarity = step.diversity.similarity
    assert f" | 24 | 24 | {similarity:.2f} | 330 | 0.0300 |" in text
    assert "Nothing was found to help" in text
    assert "**dropped: no gain out of fold** (" in text
    assert "Gain by class" not in text


def test_without_labelled_texts_nothing_vouches(student):
    clf = PGKDClassifier(student=student, class_names=list(WORDS)).fit()
    report = clf.report()
    assert report.comparison is None
    assert "**Nothing vouches for this student**" in str(report)
    assert "With 40 labelled texts" in str(report)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("no_teacher", "there is no teacher"),
        ("probe", "this teacher cannot help"),
        ("exhausted", "there is nothing that the teacher could be asked for"),
        ("patience", "the last batches brought no gain"),
        ("max_cycles", "`max_cycles` batches were bought"),
        ("budget", "the budget does not allow another request"),
        ("teacher_error", "the teacher failed"),
        ("error", "because of an error"),
        ("interrupted", "it was interrupted"),
    ],
)
def test_why_it_stopped(fitted, reason, words):
    fitted.stop_reason_ = reason
    [line] = [line for line in str(fitted.report()).splitlines() if "The run stopped" in line]
    assert words in line
    assert "_" not in line.replace("max_cycles", "")


def test_the_largest_gains_are_shown(report):
    assert "3 classes gained, 0 lost, 0 stayed the same" in str(report)
    first, second, third = report.gains
    assert first.gain > second.gain > third.gain
    row = f"| `{first.label}` | {first.before:.4f} | {first.after:.4f} | {first.gain:+.4f} | 8 |"
    assert row in str(report)


def test_classes_that_lost_are_shown(hard, student):
    teacher = WordTeacher(wrong=True, write=write_hard)
    kept = {"keep_all": True, "synthetic_weight": 1.0, "max_cycles": 1, "samples_per_cycle": 60}
    report = fit(teacher, hard, student, **kept).report()
    assert "0 classes gained, 3 lost" in str(report)
    last = report.gains[-1]
    assert last.gain < 0
    row = f"| `{last.label}` | {last.before:.4f} | {last.after:.4f} | {last.gain:+.4f} | 8 |"
    assert row in str(report)


def test_gain_by_class(data, student):
    X_val = [write_text(label, i) for i in range(300, 310) for label in ("card", "pin")]
    clf = fit_with_gate(data, student, X_val=X_val, y_val=["card", "pin"] * 10)
    gains = clf.report().gains
    assert {(g.label, g.support) for g in gains} == {("card", 10), ("pin", 10)}  # "rate" has none
    assert [g.gain for g in gains] == sorted((g.gain for g in gains), reverse=True)
    for gain in gains:
        assert gain.before == clf.history_[0].report.classes[gain.label].f1
        assert gain.after == clf.history_[-1].report.classes[gain.label].f1


def fit_with_gate(data, student, feedback="out_of_fold", **gate):
    clf = make_classifier(WordTeacher(), student, max_cycles=1, feedback=feedback, random_state=0)
    return clf.fit(*data, **gate)


def test_a_gate_that_was_shown_is_optimistic(data, student, tmp_path):
    X_val = [write_text(label, i) for i in range(300, 310) for label in WORDS]
    gate = {"X_val": X_val, "y_val": list(WORDS) * 10}
    assert "optimistic" not in str(fit_with_gate(data, student, **gate).report())
    clf = fit_with_gate(data, student, "validation", **gate)
    assert "**That is optimistic**" in str(clf.report())
    clf.save(tmp_path / "model")
    assert "**That is optimistic**" in str(PGKDClassifier.load(tmp_path / "model").report())


def test_diversity_beside_that_of_the_labelled_texts(fitted, report):
    assert report.labelled_diversity == fitted.labelled_diversity_
    assert f"(labelled texts: {report.labelled_diversity.similarity:.2f})" in str(report)
    assert report.steps[-1].diversity is not None


def test_a_dictionary_for_json(report, fitted):
    document = json.loads(json.dumps(report.to_dict()))
    assert document["comparison"]["after"] == fitted.comparison_.after
    assert len(document["texts"]) == len(fitted.synthetic_)
    assert document["steps"][2]["diversity"]["distinct_1"] > 0
    assert dict(document["steps"][1]["report"]["classes"]) == {
        label: {"precision": s.precision, "recall": s.recall, "f1": s.f1, "support": s.support}
        for label, s in fitted.history_[1].report.classes.items()
    }


def test_the_same_after_load(fitted, report, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model").report()
    assert str(loaded) == str(report)
    assert loaded.to_dict() == report.to_dict()


def test_a_callable_scoring_keeps_its_name(data, student, tmp_path):
    def my_score(estimator, X, y):
        return float((estimator.predict(X) == y).mean())

    clf = fit(WordTeacher(), data, student, scoring=my_score, max_cycles=1)
    clf.save(tmp_path / "model")
    assert "`my_score`" in str(PGKDClassifier.load(tmp_path / "model").report())


def test_names_of_strangers_are_no_markup(data, student):
    class Refusing(WordTeacher):
        def generate(self, requests):
            for g in super().generate(requests):
                yield Generation(g.request, g.examples, {"<b>own</b> **reason**": 2}, g.usage)

    scoring = lambda estimator, X, y: float((estimator.predict(X) == y).mean())  # noqa: E731
    report = fit(Refusing(), data, student, scoring=scoring, max_cycles=1).report()
    text = str(report)
    assert "**not read:** `<b>own</b> **reason**` (" in text
    assert "`<lambda>` is 1.000" in text
    assert "| &lt;lambda> after it |" in text
    assert "<" not in re.sub("`[^`]*`", "", text)
    assert "<b>own" not in report.to_html()


def test_refit_is_mentioned(fitted):
    assert "Since then" not in str(fitted.report())
    text = str(fitted.refit(lambda t: False).report())
    assert "**What to do:** test the student on labelled texts that it has not learnt" in text
    assert "before refit: accuracy" in fitted._repr_html_()
    assert f"on 0 of the {len(fitted.synthetic_)} texts beside the labelled ones" in text


def test_an_unknown_price(data, student):
    class Unpriced(WordTeacher):
        def generate(self, requests):
            for g in super().generate(requests):
                yield Generation(g.request, g.examples, usage=Usage(1, 5, 5, cost=None))

    clf = fit(Unpriced(), data, student, max_cycles=1)
    assert {t.cost for t in clf.synthetic_} == {None}
    assert "US dollars: unknown." in str(clf.report())


def test_the_bill(report, fitted):
    usage = fitted.usage_
    n = sum(text.verdict == "accepted" for text in fitted.synthetic_)
    assert (
        f"6 requests, 600 input tokens (0 of them cached), 60 output tokens, US dollars: 0.0600, "
        f"which is {1000 * usage.cost / n:.4f} for 1,000 accepted texts."
    ) in str(report)


def test_answers_that_were_kept_are_no_cost(data, student, tmp_path):
    def run():
        answer = json.dumps({label: [f"a new text on {label}"] for label in WORDS})
        teacher = FunctionTeacher(lambda messages: answer)
        return fit(teacher, data, student, max_cycles=1, samples_per_cycle=3, run_dir=tmp_path)

    first, second = run(), run()
    assert first.usage_.n_requests > 0 == second.usage_.n_requests
    assert second.history_[1].saved.n_requests == first.usage_.n_requests
    assert second.saved_usage_ == first.usage_
    kept = f"{first.usage_.n_requests} of the answers had been kept in `run_dir`"
    assert kept not in str(first.report())
    assert kept in str(second.report())
    n = first.usage_.n_requests
    assert f"for {n} requests, {n} of them kept from before" in str(second.report())


@pytest.mark.filterwarnings("ignore:The probe of the teacher says nothing")
def test_the_bill_has_all_that_was_asked(hard, student):
    """Also a probe that gave no label."""
    teacher = Labelling(lambda text, shortlist: "none of these", write=write_hard)
    clf = PGKDClassifier(teacher, student, max_cycles=1, routes=("label",), random_state=0)
    clf.fit(*hard, X_unlabeled=["a new text about the card", "another one"])
    assert clf.probe_ is None
    report = clf.report()
    asked = sum(own.usage.n_requests for own in report.routes)
    assert report.rest_of_bill.n_requests == clf.usage_.n_requests - asked > 10
    assert re.search(rf"\| probe \| {report.rest_of_bill.n_requests} \|", str(report))
    clf.stop_reason_ = "interrupted"  # whose answers under way are no step's either
    assert "| probe, unfinished step |" in str(clf.report())


def test_a_probe_is_part_of_it(fitted, tmp_path):
    assert "## What the teacher is good for" not in str(fitted.report())
    fitted.probe_ = Probe(40, 25, 20, 27, 9, 4, 0.5, True, Usage(40, 9000, 400, cost=0.25))
    text = str(fitted.report())
    assert (
        "On the 40 texts that your student is least sure of, the teacher is right on 62 % "
        "(47-76), the student on 50 %, both together on 68 %. It is worth asking."
    ) in text
    assert "labels and probabilities. That took 40 requests and 0.2500 US dollars. Where " in text
    document = json.loads(json.dumps(fitted.report().to_dict()))["probe"]
    assert (document["n_texts"], document["weight"]) == (40, 0.5)
    fitted.save(tmp_path / "model")
    assert PGKDClassifier.load(tmp_path / "model").probe_ == fitted.probe_


@pytest.mark.parametrize(
    ("probe", "useless", "words"),
    [
        (Probe(40, 0, 20, 20, 0, 20, 0.0), True, "It is not worth asking"),
        (Probe(40, 0, 2, 2, 0, 2, 0.0), True, "It is not worth asking"),
        (Probe(40, 10, 30, 30, 2, 22, 0.0), True, "It is not worth asking"),
        (Probe(40, 18, 20, 20, 9, 11, 0.0), False, "whether texts that it writes do remains"),
        (Probe(40, 18, 20, 24, 9, 11, 0.5), False, "its opinion adds to the student's"),
        (Probe(40, 9, 9, 9, 4, 4, 0.5), False, "puts no more of these answers right"),
        (Probe(40, 30, 20, 30, 15, 5, 1.0), False, "It is worth asking"),
    ],
)
def test_what_a_probe_says(probe, useless, words):
    assert probe.is_useless == useless
    assert words in probe.verdict


def test_before_fit(student):
    with pytest.raises(NotFittedError):
        PGKDClassifier(WordTeacher(), student).report()


# The rows of `synthetic_`


def test_rows_know_where_they_come_from(data, student):
    clf = fit(WordTeacher(), data, student, max_cycles=1)
    labels = dict(zip(*data))
    for row in clf.synthetic_:
        assert row.seed_texts
        assert {labels[text] for text in row.seed_texts} == {row.label}
    assert sum(t.cost for t in clf.synthetic_) == pytest.approx(clf.usage_.cost)
    table = pd.DataFrame(clf.synthetic_)
    assert " ".join(table.columns) == (
        "text label cycle request_id seed_texts model cost verdict reason source weight"
    )


def test_texts_of_an_answer_that_cannot_be_used_have_rows(data, student):
    answer = {"card": ["one new text on cards", "\ud83d"], "crad": ["a text of no class"]}
    answer |= {label: ["a text on " + label] for label in ("rate", "pin")}
    clf = fit(
        FunctionTeacher(lambda messages: json.dumps(answer)),
        data,
        student,
        max_cycles=1,
        samples_per_cycle=3,
        sampler=UnguidedSampler(classes_per_request=3),
    )
    rows = {t.text: t for t in clf.synthetic_}
    assert rows["one new text on cards"].model == "FunctionTeacher"
    assert rows["a text of no class"].reason == "unknown label"
    assert rows["a text of no class"].label == "crad"
    assert rows["\\ud83d"].reason == "malformed"
    step = clf.history_[1]
    assert step.n_generated == len(clf.synthetic_)
    n_rejected = sum(t.verdict == "rejected" for t in clf.synthetic_)
    assert sum(step.rejected.values()) == n_rejected


def test_classes_without_labelled_texts(data, student):
    """Nothing can judge their texts, so they are learnt; a long name is not cut."""
    pairs = [(text, label) for text, label in zip(*data) if label != "card"]
    X, y = zip(*pairs)

    class Renamed(WordTeacher):
        def generate(self, requests):
            for request in requests:
                examples = [
                    Example(write_text("card" if label == "card payment" else label, i), label)
                    for label, n in request.counts.items()
                    for i in range(500, 500 + 7 * n, 7)
                ]
                yield Generation(request, tuple(examples), usage=Usage(1, cost=0.0))

    descriptions = dict.fromkeys(["rate", "pin", "card payment"], "what customers ask")
    clf = make_classifier(
        Renamed(),
        student,
        max_cycles=2,
        samples_per_cycle=30,
        class_descriptions=descriptions,
        random_state=0,
    ).fit(X, y)
    rows = [t for t in clf.synthetic_ if t.label == "card payment" and t.verdict != "rejected"]
    assert {(t.verdict, t.seed_texts, t.weight) for t in rows} == {("accepted", (), 1.0)}
    assert clf.student_.classes_.tolist() == sorted(descriptions)
    assert clf.refit().predict([" ".join(WORDS["card"])]).tolist() == ["card payment"]
