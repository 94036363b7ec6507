import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from annotators import Labelling, read_label
from conftest import WORDS, WordTeacher, write_text
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.audit import compare_by_class, difference_interval, measure_trust
from pgkd.exceptions import InvalidInputError, TeacherError
from pgkd.records import Audit, Generation, SyntheticText, Usage
from pgkd.samplers import UnguidedSampler

STUDENT = make_pipeline(TfidfVectorizer(), LogisticRegression())
#: Texts that tell the student nothing.
NOISE = [f"w{i} v{i} {label}{i}" for i in range(20) for label in WORDS]


def fit(teacher, data, **params):
    defaults = {
        "max_cycles": 0,
        "samples_per_cycle": 6,
        "audit_size": 30,
        "sampler": UnguidedSampler(),
        "random_state": 0,
    }
    validation = params.pop("validation", {})
    return PGKDClassifier(teacher, STUDENT, **{**defaults, **params}).fit(*data, **validation)


def next_label(text, shortlist):
    return {"card": "rate", "rate": "pin", "pin": "card"}[read_label(text)]


def test_a_teacher_that_knows_what_the_student_does_not(data):
    teacher = Labelling()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = fit(teacher, (NOISE, data[1]))
    audit = clf.audit_
    assert (audit.n_texts, audit.teacher_accuracy, audit.self_agreement) == (30, 1.0, 1.0)
    assert audit.teacher_accuracy_unaided is None  # there are fewer classes than candidates
    assert audit.student_accuracy < 0.7
    assert audit.n_corrected == audit.n_mistakes == round(30 * (1 - audit.student_accuracy))
    assert audit.settled == frozenset()
    assert audit.is_teacher_better
    assert audit.verdict.startswith("This teacher labels better than the student where")
    assert list(audit.classes) == ["card", "pin", "rate"]
    assert {c.n_texts for c in audit.classes.values()} == {10}
    assert np.mean([c.student_accuracy for c in audit.classes.values()]) == pytest.approx(
        audit.student_accuracy
    )


def test_a_teacher_that_is_worse_than_the_student(data):
    seen = []

    class Looks(UnguidedSampler):
        def propose(self, state, n_samples, rng):
            seen.append(state.settled)
            return super().propose(state, n_samples, rng)

    with pytest.warns(UserWarning, match="This teacher cannot label better .* expect little") as w:
        clf = fit(Labelling(next_label), data, max_cycles=1, sampler=Looks())
    audit = clf.audit_
    assert (audit.teacher_accuracy, audit.self_agreement) == (0.0, 1.0)
    assert audit.n_spoilt == round(30 * audit.student_accuracy) > 20
    assert audit.advantage[0] < -0.5
    assert seen == [audit.settled] == [frozenset(WORDS)]
    assert any(str(warning.message) == audit.verdict for warning in w)
    assert clf.n_cycles_ == 1  # writing is easier than labelling
    assert sum((c.usage for c in clf.history_), audit.usage).n_requests == clf.usage_.n_requests
    assert audit.usage.n_requests == 2 * 6


@pytest.mark.parametrize("feedback", ["out_of_fold", "holdout", "validation", "train"])
def test_gate_texts_are_not_audited(data, feedback):
    X_val = [write_text(label, i) for i in range(300, 310) for label in WORDS]
    teacher = Labelling()
    validation = {"X_val": X_val, "y_val": list(WORDS) * 10}
    fit(teacher, data, audit_size=500, feedback=feedback, validation=validation)
    n = Counter(teacher.asked())
    assert set(n) <= set(data[0])
    assert set(n.values()) == {2}
    shown = {e.text for request in teacher.annotations for e in request.examples}
    assert shown <= set(data[0])
    assert len(n) == (60 if feedback != "holdout" else 48)


def test_own_gate_is_not_audited(data):
    teacher = Labelling()
    clf = fit(teacher, data, audit_size=500)
    assert clf.audit_.n_texts == len(set(teacher.asked())) == 48  # of 60


def test_three_answers_for_each_text(data):
    teacher = Labelling()
    clf = fit(teacher, data, n_candidates=2)
    rounds = {
        prefix: [r for r in teacher.annotations if r.id.startswith(f"0-{prefix}")]
        for prefix in "abc"
    }
    texts = {prefix: [t for r in rs for t in r.texts] for prefix, rs in rounds.items()}
    assert sorted(texts["a"]) == sorted(texts["b"]) == sorted(texts["c"])
    assert texts["a"] != texts["b"]
    shortlists = [
        {t: s for r in rs for t, s in zip(r.texts, r.shortlists)} for rs in rounds.values()
    ]
    assert shortlists[0] == shortlists[1]
    assert {len(s) for s in shortlists[0].values()} == {2}
    assert set(shortlists[2].values()) == {("card", "pin", "rate")}
    assert all(r.examples for r in rounds["a"])
    assert not any(r.examples for r in rounds["c"])
    assert clf.audit_.teacher_accuracy_unaided == 1.0


def test_a_teacher_that_does_not_agree_with_itself(data):
    rng = np.random.default_rng(0)
    teacher = Labelling(lambda text, shortlist: rng.choice(shortlist))
    with pytest.warns(UserWarning, match="expect little"):
        audit = fit(teacher, data, audit_size=48).audit_
    assert 0.1 < audit.self_agreement < 0.6


def test_few_texts_are_of_different_classes(data):
    with pytest.warns(UserWarning, match="cannot be told from 3 texts: a larger `audit_size` may"):
        audit = fit(Labelling(), data, audit_size=3).audit_
    assert {label: c.n_texts for label, c in audit.classes.items()} == dict.fromkeys(WORDS, 1)
    assert audit.settled == frozenset()  # one text settles nothing


def test_the_same_text_twice(data):
    X, y = data
    once = fit(Labelling(), data, audit_size=500).audit_
    twice = fit(Labelling(), ([*X, X[0], X[1]], [*y, y[0], y[1]]), audit_size=500).audit_
    assert 0 < once.n_texts <= twice.n_texts <= len(X) + 2
    assert sum(c.n_texts for c in twice.classes.values()) == twice.n_texts


def test_nothing_is_audited_unless_asked_for(data):
    teacher = Labelling()
    clf = fit(teacher, data, audit_size=0)
    assert clf.audit_ is None
    assert teacher.annotations == []


def test_what_cannot_work_is_refused_before_anything_is_spent(data):
    teacher = WordTeacher()
    with pytest.raises(
        InvalidInputError, match="`audit_size=30` needs a teacher that labels texts"
    ):
        fit(teacher, data)
    assert teacher.requests == []
    with pytest.raises(ValueError, match="'n_candidates' parameter of PGKDClassifier"):
        fit(Labelling(), data, n_candidates=1)


def test_answers_that_cannot_be_used(data):
    class Refusing(Labelling):
        def annotate(self, requests):
            for request in requests:
                yield Generation(request, usage=Usage(1), error="refused")

    with pytest.raises(TeacherError, match="All 12 requests failed"):
        fit(Refusing(), data)

    class Rambling(Labelling):
        def annotate(self, requests):
            for request in requests:
                yield Generation(request, rejected={"unreadable answer": 1}, usage=Usage(1))

    with pytest.warns(UserWarning, match="answers to the audit could not be read"):
        clf = fit(Rambling(), data, max_cycles=1)
    assert clf.audit_ is None
    assert clf.n_cycles_ == 1


def test_requests_that_fail_are_not_held_against_the_teacher(data):
    class Moody(Labelling):
        def annotate(self, requests):
            for i, generation in enumerate(super().annotate(requests)):
                yield generation if i else Generation(generation.request, error="too long")

    with pytest.warns(UserWarning, match="1 of 12 requests failed"):
        audit = fit(Moody(), data).audit_
    assert (audit.n_texts, audit.teacher_accuracy) == (25, 1.0)


def test_a_budget_that_ends_with_the_audit(data):
    teacher = Labelling()
    with pytest.warns(UserWarning, match="cannot be told from 20 texts"):
        clf = fit(teacher, data, max_cost=0.0035, max_cycles=3)
    assert clf.stop_reason_ == "budget"
    assert clf.audit_.n_texts == 20
    assert clf.audit_.self_agreement is None
    assert clf.n_cycles_ == 0


def test_ctrl_c_gives_the_baseline(data):
    class Interrupted(Labelling):
        def annotate(self, requests):
            yield next(iter(super().annotate(requests)))
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted"):
        clf = fit(Interrupted(), data, max_cycles=3)
    assert clf.stop_reason_ == "interrupted"
    assert clf.synthetic_ == []
    assert clf.score(*data) > 0.8


def test_the_student_is_not_trained_twice_for_it(data, monkeypatch):
    class Counted(BaseEstimator):
        n = 0

        def fit(self, X, y):
            Counted.n += 1
            self.model_ = STUDENT.fit(X, y)
            self.classes_ = self.model_.classes_
            return self

        def predict_proba(self, X):
            return self.model_.predict_proba(X)

    counts = []
    for size in (0, 12):
        Counted.n = 0
        PGKDClassifier(Labelling(), Counted(), max_cycles=1, audit_size=size, random_state=0).fit(
            *data
        )
        counts.append(Counted.n)
    assert counts[0] == counts[1]


def test_saved_and_loaded(data, tmp_path):
    with pytest.warns(UserWarning, match="expect little"):
        clf = fit(Labelling(next_label), data)
    clf.save(tmp_path / "model")
    loaded = PGKDClassifier.load(tmp_path / "model")
    assert loaded.audit_ == clf.audit_
    assert loaded.audit_.settled == frozenset(WORDS)
    assert loaded.get_params()["audit_size"] == 30


def test_printed_and_shown_to_callbacks(data, capsys):
    events = []

    class Keep:
        def on_event(self, event):
            events.append(event)

    clf = fit(Labelling(), (NOISE, data[1]), verbose=1, callbacks=[Keep()])
    [event] = [event for event in events if event.kind == "audit"]
    assert event.value is clf.audit_
    assert f"audit: {clf.audit_.verdict}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("student_only", "teacher_only", "settled"),
    [(0, 0, False), (1, 0, False), (2, 0, True), (3, 1, False), (4, 1, True), (0, 5, False)],
)
def test_a_class_is_settled_by_more_than_a_standard_error(student_only, teacher_only, settled):
    student = np.array([True] * student_only + [False] * teacher_only + [True, False])
    teacher = np.array([False] * student_only + [True] * teacher_only + [True, False])
    y = ["a"] * len(student)
    classes, found = compare_by_class(("a", "b"), y, teacher, student)
    assert found == (frozenset("a") if settled else frozenset())
    assert list(classes) == ["a"]
    assert classes["a"].student_accuracy == student.mean()


def test_interval():
    # Newcombe (1998), table II, has the 95 % intervals; those of 90 % lie within them.
    for counts, (low, high) in [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
    ]:
        found = difference_interval(*counts)
        assert low < found[0] < counts[0] / counts[1] - counts[2] / counts[3] <= found[1] <= high
        assert found[0] - low < 0.1
    assert difference_interval(0, 0, 5, 50)[0] < 0 < difference_interval(0, 0, 5, 50)[1]


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (
            (10, 6, 4),
            "labels better than the student where the student is unsure. It corrects 6 of",
        ),
        ((10, 3, 22), "cannot label better than the student does: expect little. It corrects 3 of"),
        ((10, 2, 4), "cannot be told from 50 texts: a larger `audit_size` may. It corrects 2 of"),
        ((10, 0, 0), "cannot label better than the student does: expect little"),
        ((0, 0, 3), "cannot label better than the student does: expect little"),
        ((0, 0, 0), "cannot be told from 50 texts"),  # where there is no mistake to correct
    ],
)
def test_verdict(counts, verdict):
    n_mistakes, n_corrected, n_spoilt = counts
    advantage = difference_interval(n_corrected, n_mistakes, n_spoilt, 50 - n_mistakes)
    audit = Audit(50, 0.5, None, None, 0.8, n_mistakes, n_corrected, n_spoilt, advantage, {})
    assert verdict in audit.verdict
    assert f"spoils {n_spoilt} of its {50 - n_mistakes} right answers." in audit.verdict


def test_trust_is_drawn_to_that_of_all_labels():
    y = ["a"] * 6 + ["b"] * 4
    given = ["a"] * 3 + ["b"] * 3 + ["b"] * 3 + [None]
    trust = measure_trust(["a", "b", "c"], y, given)
    overall = (6 + 1) / (9 + 2)
    assert trust == pytest.approx(
        {"a": (3 + 2 * overall) / 5, "b": (3 + 2 * overall) / 8, "c": overall}
    )
    assert measure_trust(["a"], ["a"], [None]) == {"a": 0.5}  # nothing is known
    # Nothing is known of a class without an audited text either.
    assert measure_trust(["a", "b"], ["a", "a"], ["a", "b"]) == pytest.approx(
        {"a": (1 + 2 * 0.5) / 3, "b": 0.5}
    )


def test_trust_in_the_labels_of_a_text():
    def write(label):
        return SyntheticText("x", label, 1, "1-1", "accepted")

    audit = Audit(1, 1.0, None, None, 1.0, 0, 0, 0, (0.0, 0.0), {}, trust={"a": 0.5, "b": 0.9})
    weights = [audit.weigh(write(label)) for label in ("a", ("a", "b"), ())]
    assert weights == pytest.approx([0.5, 0.7, 1])


def test_the_audit_weighs_what_the_teacher_writes(data):
    """It takes half of the class "card" for "pin"."""

    def confuse(text, shortlist):
        label = read_label(text)
        return "pin" if label == "card" and len(text) % 2 else label

    clf = fit(
        Labelling(confuse), data, max_cycles=1, synthetic_weight=1.0, rollback=False, audit_size=60
    )
    trust = clf.audit_.trust
    assert trust["pin"] < 0.8 < trust["rate"]
    learnt = [t for t in clf.synthetic_ if t.verdict == "accepted"]
    assert {t.label for t in learnt} == set(WORDS)
    assert all(t.weight == pytest.approx(trust[t.label]) for t in learnt)
    # What is not learnt keeps the trust in it, if it is learnt after all.
    rejected = replace(learnt[0], verdict="rolled back", weight=0.0)
    assert clf._weigh(rejected) == pytest.approx(trust[rejected.label])
    harmful = replace(rejected, reason="harmful batch")
    assert clf._weigh(harmful) == pytest.approx(0.1 * trust[rejected.label])


def test_a_student_without_weights_learns_what_the_audit_distrusts(data):
    student = make_pipeline(TfidfVectorizer(), KNeighborsClassifier(3))
    clf = PGKDClassifier(Labelling(), student, max_cycles=1, audit_size=30, random_state=0)
    clf.fit(*data)
    assert {t.weight for t in clf.synthetic_} <= {0.0, 1.0}
