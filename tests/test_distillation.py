"""The loop, through the public estimator."""

import threading
import zlib

import numpy as np
import pytest
from conftest import WORDS, WordTeacher, write_hard, write_text
from sklearn.base import BaseEstimator, clone

from pgkd import Evidence, PGKDClassifier
from pgkd.exceptions import TeacherError
from pgkd.records import Example, Generation, Usage
from pgkd.samplers import PerformanceGuidedSampler, UnguidedSampler


def fit(teacher, student, data, **params):
    defaults = {"max_cycles": 3, "samples_per_cycle": 24, "random_state": 0, "routes": ("write",)}
    return PGKDClassifier(teacher, student, **{**defaults, **params}).fit(*data)


def make_teacher(wrong=False, cls=WordTeacher):
    return cls(wrong=wrong, write=write_hard)


def shown_texts(requests):
    return {
        item.text
        for request in requests
        for item in (*request.examples, *request.hard_negatives, *request.correct, *request.wrong)
    }


class Recorder:
    def __init__(self):
        self.events = []

    def on_event(self, event):
        self.events.append(event)


class KeepsRequests(BaseEstimator):
    """Passes on what a teacher does, and shows it to the test: `fit` clones teachers."""

    def __init__(self, teacher):
        self.teacher = teacher

    def generate(self, requests):
        return self.teacher.generate(requests)

    def __sklearn_clone__(self):
        return self


def test_learns(student, hard, hard_test):
    clf = fit(make_teacher(), student, hard)
    assert clf.n_cycles_ == 3
    assert clf.score(*hard_test) > clone(student).fit(*hard).score(*hard_test) + 0.1
    assert clf.comparison_.after > clf.comparison_.before
    assert [step.number for step in clf.history_] == [0, 1, 2, 3]
    assert [step.route for step in clf.history_] == ["labelled", "write", "write", "write"]
    assert clf.usage_.n_requests == sum(step.usage.n_requests for step in clf.history_) > 0
    assert clf.usage_.cost == pytest.approx(0.01 * clf.usage_.n_requests)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy", "f1_macro"])
def test_wrong_labels_do_no_harm(student, hard, hard_test, scoring):
    baseline = clone(student).fit(*hard).score(*hard_test)
    losses = []
    for seed in range(3):
        clf = fit(make_teacher(wrong=True), student, hard, scoring=scoring, random_state=seed)
        losses.append(baseline - clf.score(*hard_test))
    assert np.mean(losses) < 0.02
    assert any(text.verdict == "dropped" for text in clf.synthetic_)
    assert {t.reason for t in clf.synthetic_ if t.verdict == "dropped"} == {"no gain out of fold"}


def test_texts_that_were_not_taken_are_tried_again_with_the_next_ones(student, hard, hard_test):
    class BadStart(WordTeacher):
        def generate(self, requests):
            self.wrong = not self.requests
            yield from super().generate(requests)

    clf = fit(make_teacher(cls=BadStart), student, hard, samples_per_cycle=12, max_cycles=5)
    assert not clf.history_[1].taken
    assert clf.history_[-1].taken
    learnt = {text.cycle for text in clf.synthetic_ if text.verdict == "accepted"}
    assert learnt >= {1, 2}  # nothing that was bought is given up before the end


@pytest.mark.parametrize(("feedback", "gate_shown"), [("out_of_fold", False), ("validation", True)])
def test_gate_is_not_shown_unless_asked_for(student, data, feedback, gate_shown):
    X, y = data
    X_val = [write_text(label, i) for i in range(300, 310) for label in WORDS]
    y_val = list(WORDS) * 10
    sampler = PerformanceGuidedSampler(n_hard_negatives=50, n_samples=50, n_examples=50)
    teacher = WordTeacher()
    PGKDClassifier(
        KeepsRequests(teacher),
        student,
        sampler,
        max_cycles=2,
        samples_per_cycle=12,
        evidence=Evidence(feedback=feedback),
        random_state=0,
    ).fit(X, y, X_val=X_val, y_val=y_val)
    shown = shown_texts(teacher.requests)
    assert bool(shown & set(X_val)) == gate_shown
    assert shown <= set(X) | set(X_val)


def test_own_gate_is_never_shown(student, data):
    """Without X_val: no more texts reach the teacher than the training split has."""
    teacher = WordTeacher()
    sampler = PerformanceGuidedSampler(n_hard_negatives=50, n_samples=50, n_examples=50)
    evidence = Evidence(validation_fraction=0.2)
    clf = fit(KeepsRequests(teacher), student, data, sampler=sampler, evidence=evidence)
    assert len(shown_texts(teacher.requests)) <= 48  # of 60
    assert clf.comparison_.n_texts == 12


def test_without_a_gate_every_text_decides(student, data):
    clf = fit(WordTeacher(), student, data, max_cycles=1)
    assert clf.comparison_.n_texts == clf.history_[0].report.n_texts == 60


def test_out_of_fold_evidence_is_honest(student):
    """Texts with random labels: out of fold they are got wrong."""
    rng = np.random.default_rng(0)
    X = [f"w{i} v{i}" for i in range(60)]
    y = rng.choice(["a", "b"], size=60).tolist()
    clf = fit(NothingTeacher(), student, (X, y), max_cycles=1)
    assert clf.history_[0].report.accuracy < 0.75 < clf.score(X, y)


def test_a_text_is_not_judged_by_a_student_that_learnt_what_was_written_after_it(student):
    """A teacher that repeats what it was shown, word by word, gains nothing by it."""

    class Parrot(BaseEstimator):
        def generate(self, requests):
            for request in requests:
                shown = {e.text: e.label for e in request.examples}
                for p in (*request.hard_negatives, *request.wrong, *request.correct):
                    shown[p.text] = p.label
                # The word that tells it, among others: no copy to the curator.
                examples = [
                    Example(f"{text.split()[0]} {zlib.crc32(text.encode()):x}", label)
                    for text, label in shown.items()
                ]
                yield Generation(request, tuple(examples), usage=Usage(1))

    rng = np.random.default_rng(1)
    X = [f"word{i} thing{i} other{i}" for i in range(60)]
    y = rng.choice(["a", "b"], size=60).tolist()
    clf = fit(Parrot(), student, (X, y), evidence=Evidence(keep_all=True))
    assert sum(text.verdict == "accepted" for text in clf.synthetic_) >= 8
    assert clf.comparison_.after < 0.6  # had their judges learnt them, it would be 1


class NothingTeacher(BaseEstimator):
    def generate(self, requests):
        for request in requests:
            yield Generation(request, usage=Usage(1))


def test_patience(student, data):
    clf = fit(NothingTeacher(), student, data, max_cycles=10, evidence=Evidence(patience=3))
    assert clf.stop_reason_ == "patience"
    assert clf.n_cycles_ == 3
    assert clf.synthetic_ == []


def test_max_cost(student, hard):
    evidence = Evidence(patience=10)
    clf = fit(make_teacher(), student, hard, max_cycles=10, max_cost=0.05, evidence=evidence)
    assert clf.stop_reason_ == "budget"
    assert clf.usage_.cost == pytest.approx(0.05)


def test_budget_without_known_cost(student, data):
    class Free(WordTeacher):
        def generate(self, requests):
            for generation in super().generate(requests):
                yield Generation(generation.request, generation.examples, usage=Usage(cost=None))

    with pytest.warns(UserWarning, match="does not say what its answers cost"):
        clf = fit(Free(), student, data, max_cycles=5, max_cost=1.0)
    assert clf.stop_reason_ == "budget"
    assert clf.n_cycles_ == 1


def test_a_teacher_that_cannot_be_copied(student, hard):
    class Client(WordTeacher):
        def __init__(self):
            super().__init__(write=write_hard)
            self.lock = threading.Lock()

    assert any(step.taken for step in fit(Client(), student, hard).history_[1:])


@pytest.mark.parametrize("teacher", [None, WordTeacher()])
def test_without_routes_it_is_the_plain_student(student, data, teacher):
    clf = fit(teacher, student, data, max_cycles=0, routes=())
    plain = clone(student).fit(*data)
    np.testing.assert_array_equal(clf.student_.predict_proba(data[0]), plain.predict_proba(data[0]))
    assert clf.usage_ == Usage()
    assert clf.comparison_.after == clf.comparison_.before


def test_accepted_texts_are_those_the_student_has_learnt(student, hard):
    clf = fit(make_teacher(), student, hard)
    learnt = [t.text for t in clf.synthetic_ if t.verdict == "accepted"]
    vocabulary = clf.student_[0].vocabulary_
    assert learnt
    assert all(text.split()[-1] in vocabulary for text in learnt)
    unused = [t.text for t in clf.synthetic_ if t.verdict != "accepted"]
    assert not any(text.split()[-1] in vocabulary for text in unused)


def test_teacher_that_fails_at_once(student, data):
    class Broken(BaseEstimator):
        def generate(self, requests):
            raise OSError("no route")

    with pytest.raises(TeacherError, match=r"Broken raised OSError\('no route'\)"):
        fit(Broken(), student, data)


def test_an_interruption_finds_the_run_before_a_step_or_after_it(student, hard, monkeypatch):
    measured = []

    def measure(learnt):
        measured.append(learnt)
        if len(measured) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("pgkd.distillation._measure", measure)
    with pytest.warns(UserWarning, match="Interrupted"):
        clf = fit(make_teacher(), student, hard)
    assert clf.n_cycles_ == 1
    assert clf.stop_reason_ == "interrupted"
    texts = [(text.text, text.verdict) for text in clf.synthetic_]
    assert len(texts) == len(set(texts))


def test_a_student_that_fails_later_loses_nothing(student, hard):
    class Frail(type(student)):
        n_fits = 0

        def fit(self, X, y, **params):
            Frail.n_fits += 1
            if Frail.n_fits == 25:
                raise MemoryError
            return super().fit(X, y, **params)

    class Uncounted(WordTeacher):
        def generate(self, requests):
            return (Generation(g.request, g.examples) for g in super().generate(requests))

    with pytest.warns(UserWarning, match="MemoryError"):
        clf = fit(make_teacher(cls=Uncounted), Frail(student.steps), hard, max_cycles=9)
    assert clf.stop_reason_ == "error"
    assert clf.synthetic_


def test_teacher_that_fails_later_keeps_what_helped(student, hard, hard_test):
    class Tiring(WordTeacher):
        def generate(self, requests):
            if self.requests:
                raise OSError("gone")
            yield from super().generate(requests)

    with pytest.warns(UserWarning, match=r"The teacher failed: Tiring raised OSError.*by step 1"):
        clf = fit(make_teacher(cls=Tiring), student, hard, max_cycles=5, samples_per_cycle=60)
    assert clf.stop_reason_ == "teacher_error"
    assert clf.n_cycles_ == 1
    assert clf.score(*hard_test) > clone(student).fit(*hard).score(*hard_test)


def test_teacher_that_fails_halfway_loses_nothing(student, data):
    class Cut(WordTeacher):
        def generate(self, requests):
            yield next(iter(super().generate(requests)))
            raise OSError("cut")

    with pytest.warns(UserWarning, match="after 1 answers, which are used"):
        clf = fit(Cut(), student, data, max_cycles=1)
    assert clf.history_[1].n_accepted > 0


def test_requests_that_all_fail(student, data):
    class Refusing(BaseEstimator):
        def generate(self, requests):
            for request in requests:
                yield Generation(request, error="too long")

    with pytest.raises(TeacherError, match="requests failed, the first one because: too long"):
        fit(Refusing(), student, data)


def test_interrupt_keeps_what_helped(student, hard):
    class Interrupted(WordTeacher):
        def generate(self, requests):
            if self.requests:
                raise KeyboardInterrupt
            yield from super().generate(requests)

    with pytest.warns(UserWarning, match="Interrupted"):
        clf = fit(make_teacher(cls=Interrupted), student, hard, samples_per_cycle=60)
    assert clf.stop_reason_ == "interrupted"
    assert clf.history_[-1].taken


def test_same_seed_same_result_in_any_order_of_answers(student, hard):
    class Backwards(WordTeacher):
        def generate(self, requests):
            yield from reversed(list(super().generate(requests)))

    probabilities = [
        fit(make_teacher(cls=cls), student, hard).predict_proba(hard[0])
        for cls in (WordTeacher, WordTeacher, Backwards)
    ]
    np.testing.assert_array_equal(probabilities[0], probabilities[1])
    np.testing.assert_allclose(probabilities[0], probabilities[2], atol=1e-9)


def test_unguided_sampler_spares_the_report(student, hard):
    clf = fit(make_teacher(), student, hard, sampler=UnguidedSampler())
    assert all(step.feedback_report is None for step in clf.history_)
    assert any(step.taken for step in clf.history_[1:])


def test_synthetic_weight(student, hard):
    evidence = Evidence(synthetic_weight=0.25, keep_all=True)
    clf = fit(make_teacher(), student, hard, max_cycles=1, evidence=evidence)
    assert {t.weight for t in clf.synthetic_ if t.verdict == "accepted"} == {0.25}
    assert clf.history_[1].factor == 0.25


def test_a_weight_is_chosen(student, hard):
    clf = fit(make_teacher(), student, hard)
    factors = {step.factor for step in clf.history_[1:] if step.taken}
    assert factors <= {1.0, 0.3, 0.1}
    assert {t.weight for t in clf.synthetic_ if t.verdict == "accepted"} == factors
    assert len(factors) == 1  # that of a route's first texts is kept


def test_a_student_without_weights_learns_all_alike(hard):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    student = make_pipeline(TfidfVectorizer(), KNeighborsClassifier(1))
    clf = fit(make_teacher(), student, hard, evidence=Evidence(keep_all=True))
    assert {t.weight for t in clf.synthetic_ if t.verdict == "accepted"} == {1.0}


def test_counts_and_events(student, hard):
    class Sloppy(WordTeacher):
        def generate(self, requests):
            for generation in super().generate(requests):
                extra = (Example("", "pin"), Example(hard[0][0], "card"), Example("x y", "?"))
                yield Generation(
                    generation.request,
                    generation.examples + extra,
                    {"malformed": 2},
                    generation.usage,
                )

    recorder = Recorder()
    clf = fit(make_teacher(cls=Sloppy), student, hard, max_cycles=1, callbacks=[recorder])
    step = clf.history_[1]
    n_requests = step.usage.n_requests
    assert step.rejected["malformed"] == 2 * n_requests
    assert step.rejected["empty"] == step.rejected["unknown label"] == n_requests
    rejected_texts = sum(step.rejected.values()) - step.rejected["malformed"]
    assert step.n_generated == step.n_accepted + rejected_texts == len(clf.synthetic_)
    kinds = [event.kind for event in recorder.events]
    assert kinds == ["step", *["generation"] * n_requests, "step", "end"]


def test_verbose_prints_a_line_a_step(student, hard, capsys):
    fit(make_teacher(), student, hard, max_cycles=1, verbose=1, routes=("names", "write"))
    lines = capsys.readouterr().out.splitlines()
    starts = ["labelled texts alone", "names of the classes", "teacher writes", "stopped"]
    assert [line.split(":")[0] for line in lines] == starts
    assert "out of fold" in lines[0]
    fit(make_teacher(), student, hard, max_cycles=1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("sizes", [[1, 2], [2, 2], [1, 1, 1, 5], [3] * 50, [1] * 30 + [2] * 30])
def test_small_and_many_classes(student, sizes):
    y = np.repeat(np.arange(len(sizes)), sizes)
    X = [f"word{label} number{i}" for i, label in enumerate(y)]
    clf = fit(NothingTeacher(), student, (X, y), max_cycles=1)
    assert clf.predict_proba(X).shape == (len(X), len(sizes))


def test_500_classes(student):
    y = np.arange(1000) % 500
    X = [f"word{label} number{i}" for i, label in enumerate(y)]
    clf = fit(NothingTeacher(), student, (X, y), max_cycles=1)
    assert len(clf.classes_) == 500
    assert len(clf.history_[1].feedback_report.classes) == 500


def test_a_scout_takes_the_place_of_a_student_that_is_dear_to_train(student, hard, hard_test):
    class Dear(type(student)):
        n_fits = 0

        def fit(self, X, y, **params):
            Dear.n_fits += 1
            return super().fit(X, y, **params)

    clf = fit(make_teacher(), Dear(student.steps), hard, evidence=Evidence(scout=clone(student)))
    assert isinstance(clf.student_, Dear)
    assert Dear.n_fits <= 11  # out of fold, with and without what the scout has learnt; the last
    assert clf.score(*hard_test) > clone(student).fit(*hard).score(*hard_test) + 0.1
