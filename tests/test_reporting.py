import copy
import json
import sys
from dataclasses import replace

import pandas as pd
import pytest
from conftest import WORDS, WordTeacher, write_text
from sklearn.exceptions import NotFittedError

from pgkd import PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.records import Audit, ClassAudit, Example, Generation, Usage
from pgkd.samplers import UnguidedSampler
from pgkd.teachers import FunctionTeacher


class Sloppy(WordTeacher):
    """Adds to each answer what cannot be learnt."""

    def generate(self, requests):
        for g in super().generate(requests):
            extra = (Example("", "pin"), Example("a `b` | <b>c</b>\n# d \ud83d", "card"))
            yield Generation(g.request, g.examples + extra, {"unreadable answer": 2}, g.usage)


def fit(teacher, data, student, **params):
    quick = {"max_cycles": 2, "feedback": "train", "synthetic_weight": 1.0}
    defaults = {**quick, "samples_per_cycle": 12, "random_state": 0}
    return PGKDClassifier(teacher, student, **{**defaults, **params}).fit(*data)


_FITTED = []


@pytest.fixture
def fitted(data, student):
    if not _FITTED:
        _FITTED.append(fit(Sloppy(), data, student))
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
    for cycle in fitted.history_:
        counts = {
            loss.reason: loss.n
            for loss in report.losses
            if loss.cycle == cycle.number and loss.verdict != "rolled back"
        }
        assert counts == cycle.rejected
    table = pd.DataFrame(report.rejected)
    assert {"text", "label", "cycle", "reason", "verdict"} <= set(table.columns)


def test_the_markdown_counts_and_shows_them(report):
    text = str(report)
    assert text == report._repr_markdown_()
    for loss in report.losses:
        assert f"**{loss.verdict}: {loss.reason}** (" in text
        assert f"{loss.n} in cycle {loss.cycle}" in text
    assert "more in `report.rejected`" in text


def test_what_a_teacher_wrote_is_no_markdown(report):
    line = next(line for line in str(report).splitlines() if "<b>" in line)
    assert line == "- `a 'b' | <b>c</b> # d \\ud83d` as `card`"
    str(report).encode()


def test_a_student_that_is_better(report, fitted):
    choice = report.choice
    assert choice is fitted.choice_
    assert choice.taken
    assert choice.last_score - choice.baseline_score > choice.standard_error
    assert (choice.scoring, choice.rule) == ("neg_log_loss", "one standard error")
    assert choice.last_report == fitted.history_[fitted.best_cycle_].gate_report
    text = str(report)
    assert f"returned the student of cycle {fitted.best_cycle_}: by the one-standard-error" in text
    for number in (choice.baseline_score, choice.last_score, choice.standard_error):
        assert f"| {number:.4f} |" in text
    assert "because `max_cycles` were done" in text


def test_a_student_that_is_not_told_from_luck(fitted):
    """What is returned is what the choice says."""
    fitted.choice_ = replace(fitted.choice_, standard_error=9.0, taken=False)
    fitted.best_cycle_ = 0
    text = str(fitted.report())
    assert "`fit` returned the baseline: by the one-standard-error rule" in text
    assert "kept, but not in the student returned" in text


def test_a_teacher_that_is_wrong(data, student):
    clf = fit(WordTeacher(wrong=True), data, student, samples_per_cycle=60, max_cycles=1)
    text = str(clf.report())
    assert "`fit` returned the baseline: no cycle led to a student" in text
    assert f"rolled back: {clf.history_[1].reason}" in text
    assert f"**rolled back: {clf.history_[1].reason}** (" in text
    assert "Gain by class" not in text


def test_without_rollback(data, student):
    clf = fit(WordTeacher(wrong=True), data, student, rollback=False, max_cycles=1)
    assert clf.choice_.rule == "last student"
    assert "returned the student of cycle 1: with `rollback=False`" in str(clf.report())


def test_gain_by_class(data, student):
    X_val = [write_text(label, i) for i in range(300, 310) for label in ("card", "pin")]
    clf = PGKDClassifier(
        WordTeacher(), student, max_cycles=1, samples_per_cycle=12, feedback="train", random_state=0
    ).fit(*data, X_val=X_val, y_val=["card", "pin"] * 10)
    gains = clf.report().gains
    assert {(g.label, g.support) for g in gains} == {("card", 10), ("pin", 10)}  # "rate" has none
    assert [g.gain for g in gains] == sorted((g.gain for g in gains), reverse=True)
    for gain in gains:
        assert gain.baseline == clf.choice_.baseline_report.classes[gain.label].f1
        assert gain.best == clf.choice_.last_report.classes[gain.label].f1


@pytest.mark.parametrize(
    ("feedback", "statement"),
    [
        ("out_of_fold", "The gate was never shown"),
        ("holdout", "The gate was never shown"),
        ("train", "so that the score flatters it"),
        ("validation", "**the gate texts themselves. The gate scores are optimistic**"),
    ],
)
def test_optimism(data, student, feedback, statement):
    clf = fit(WordTeacher(), data, student, feedback=feedback)
    report = clf.report()
    assert statement in str(report)
    assert ("optimistic" in str(report)) == (feedback == "validation")
    # Cycle 1 showed the baseline, cycle 2 the student of cycle 1.
    assert [o.student for o in report.optimism] == [0, 1]
    assert [o.gate_score for o in report.optimism] == [c.gate_score for c in clf.history_[:2]]
    for optimism, cycle in zip(report.optimism, clf.history_[1:]):
        assert optimism.feedback_score == cycle.feedback_score
        assert cycle.feedback_score == pytest.approx(-cycle.feedback_report.log_loss)
        if feedback == "validation":
            assert optimism.difference == 0
    if feedback == "train":
        assert all(o.difference > 0 for o in report.optimism)


def test_optimism_is_that_of_the_student_that_was_shown(data, student):
    """After a cycle that was rolled back, the same student is shown again."""
    clf = fit(WordTeacher(wrong=True), data, student, samples_per_cycle=60)
    assert [c.kept for c in clf.history_] == [True, False, False]
    [optimism] = clf.report().optimism
    assert (optimism.student, optimism.gate_score) == (0, clf.history_[0].gate_score)


def test_a_sampler_without_feedback(data, student):
    clf = fit(WordTeacher(), data, student, sampler=UnguidedSampler(), max_cycles=1)
    assert clf.report().optimism == ()
    assert "Nothing of the student's performance." in str(clf.report())


def test_diversity_beside_that_of_the_labelled_texts(fitted, report):
    assert report.labelled_diversity == fitted.labelled_diversity_
    row = next(line for line in str(report).splitlines() if line.startswith("| labelled texts"))
    assert f"{report.labelled_diversity.similarity:.2f}" in row
    label, alike = max(report.labelled_diversity.classes.items(), key=lambda item: item[1][3])
    assert f"| `{label}` ({alike.similarity:.2f}) |" in row
    assert [cycle.diversity is None for cycle in report.cycles] == [True, False, False]


def test_a_dictionary_for_json(report, fitted):
    document = json.loads(json.dumps(report.to_dict()))
    assert document["choice"]["last_score"] == fitted.choice_.last_score
    assert len(document["rejected"]) == len(report.rejected)
    assert document["cycles"][1]["diversity"]["distinct_1"] > 0
    assert dict(document["cycles"][1]["gate_report"]["classes"]) == {
        label: {"precision": s.precision, "recall": s.recall, "f1": s.f1, "support": s.support}
        for label, s in fitted.history_[1].gate_report.classes.items()
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


def test_refit_is_mentioned(fitted):
    assert "Since then" not in str(fitted.report())
    text = str(fitted.refit(lambda t: False).report())
    assert f"on 0 of the {len(fitted.synthetic_)} generated texts" in text


def test_an_unknown_price(data, student):
    class Unpriced(WordTeacher):
        def generate(self, requests):
            for g in super().generate(requests):
                yield Generation(g.request, g.examples, usage=Usage(1, 5, 5, cost=None))

    clf = fit(Unpriced(), data, student, max_cycles=1)
    assert {t.cost for t in clf.synthetic_} == {None}
    assert "US dollars: unknown." in str(clf.report())


def test_an_audit_is_part_of_it(fitted):
    assert "## Audit" not in str(fitted.report())
    classes = {"card": ClassAudit(4, 0.25, 0.75), "pin": ClassAudit(4, 1.0, 0.5)}
    fitted.audit_ = Audit(
        n_texts=8,
        teacher_accuracy=0.625,
        teacher_accuracy_unaided=0.5,
        self_agreement=0.75,
        student_accuracy=0.625,
        n_mistakes=3,
        n_corrected=2,
        n_spoilt=2,
        advantage=(-0.2, 0.7),
        classes=classes,
        settled=frozenset({"card"}),
        trust={"card": 0.4, "pin": 0.8},
        usage=Usage(cost=0.25),
    )
    _, text = str(fitted.report()).split("## Audit")
    assert fitted.audit_.verdict in text
    assert "labels 62% right" in text
    assert "Among all classes, without examples: 50%" in text
    assert "75% the same label. It took 0.2500 US dollars." in text
    assert "since the student is better there: `card`." in text
    assert "least (`audit_.trust`): `card` 0.40, `pin` 0.80." in text
    document = json.loads(json.dumps(fitted.report().to_dict()))["audit"]
    assert (document["trust"], document["settled"]) == ({"card": 0.4, "pin": 0.8}, ["card"])
    assert document["classes"]["card"]["teacher_accuracy"] == 0.25


def test_before_fit(student):
    with pytest.raises(NotFittedError):
        PGKDClassifier(WordTeacher(), student).report()


def test_saved_by_an_earlier_pgkd(fitted):
    fitted.choice_ = None
    with pytest.raises(InvalidInputError, match="saved by an earlier pgkd"):
        fitted.report()


def test_plot(report, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    ax = report.plot()
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert list(lines["gate"]) == [c.gate_score for c in report.cycles if c.kept]
    assert list(lines["shown to the teacher"]) == [o.feedback_score for o in report.optimism]
    assert report.plot(ax) is ax
    matplotlib.pyplot.close(ax.figure)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pgkd\[plot\]"):
        report.plot()


# The rows of `synthetic_`


def test_rows_know_where_they_come_from(data, student):
    teacher = WordTeacher()
    clf = fit(teacher, data, student, max_cycles=1)
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
    cycle = clf.history_[1]
    assert cycle.n_generated == len(clf.synthetic_)
    n_rejected = sum(t.verdict == "rejected" for t in clf.synthetic_)
    assert sum(cycle.rejected.values()) == n_rejected


def test_classes_without_labelled_texts(data, student):
    """Their texts, of cycle 0, have rows; a long name is not cut."""
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

    descriptions = dict.fromkeys(["rate", "pin", "card payment"], "...")
    clf = PGKDClassifier(
        Renamed(),
        student,
        max_cycles=1,
        samples_per_cycle=6,
        feedback="train",
        class_descriptions=descriptions,
        random_state=0,
    ).fit(X, y)
    rows = [t for t in clf.synthetic_ if t.cycle == 0]
    assert {(t.label, t.seed_texts) for t in rows} == {("card payment", ())}
    assert clf.history_[0].n_requested == len(rows) == clf.history_[0].n_generated
    assert clf.student_.classes_.tolist() == sorted(descriptions)
    assert clf.refit().predict([" ".join(WORDS["card"])]).tolist() == ["card payment"]
