"""The loop, through the public estimator."""

import threading

import numpy as np
import pytest
from conftest import WORDS, WordTeacher, write_text
from sklearn.base import BaseEstimator, clone

from pgkd import PGKDClassifier
from pgkd.exceptions import TeacherError
from pgkd.gating import Judge
from pgkd.records import Example, Generation, Usage
from pgkd.samplers import PerformanceGuidedSampler, UnguidedSampler


def fit(teacher, student, data, **params):
    defaults = {"max_cycles": 3, "samples_per_cycle": 12, "random_state": 0}
    return PGKDClassifier(teacher, student, **{**defaults, **params}).fit(*data)


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


def test_learns(student, data):
    clf = fit(WordTeacher(), student, data)
    assert clf.n_cycles_ == 3
    assert clf.best_cycle_ > 0
    assert clf.history_[clf.best_cycle_].gate_score > clf.history_[0].gate_score
    # Not the best of many, which is partly luck.
    assert clf.best_cycle_ == max(cycle.number for cycle in clf.history_ if cycle.kept)
    assert clf.score(*data) > 0.9
    assert [cycle.number for cycle in clf.history_] == [0, 1, 2, 3]
    assert clf.usage_.n_requests == sum(c.usage.n_requests for c in clf.history_) > 0
    assert clf.usage_.cost == pytest.approx(0.01 * clf.usage_.n_requests)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy", "f1_macro"])
def test_wrong_labels_do_no_harm(student, data, scoring):
    held_out = [(write_text(label, i), label) for i in range(200, 240) for label in WORDS]
    X, y = zip(*held_out)
    baseline = clone(student).fit(*data).score(X, y)
    clf = fit(WordTeacher(wrong=True), student, data, samples_per_cycle=40, scoring=scoring)
    assert clf.score(X, y) >= baseline - 0.02
    if clf.best_cycle_:
        assert clf.choice_.last_score > clf.choice_.baseline_score + clf.choice_.standard_error
    given_up = [not c.kept or "harmful batch" in c.rejected for c in clf.history_[1:]]
    assert any(up or c.synthetic_weight == 0.1 for up, c in zip(given_up, clf.history_[1:]))
    assert {t.verdict for t in clf.synthetic_ if t.cycle > clf.best_cycle_} <= {
        "rolled back",
        "rejected",
    }


class HalfWrong(WordTeacher):
    """Every second text has the next class's label."""

    def generate(self, requests):
        wrong = WordTeacher(wrong=True)
        for a, b in zip(super().generate(requests), wrong.generate(requests)):
            yield Generation(a.request, a.examples[::2] + b.examples[1::2], usage=a.usage)


def test_implausible_labels_are_left_out_where_that_is_better(student, data):
    # A student that commits itself: of one that is unsure everywhere, every label is plausible.
    student.set_params(logisticregression__C=100)
    clf = fit(HalfWrong(), student, data, samples_per_cycle=60, max_cycles=2)
    implausible = [t for t in clf.synthetic_ if t.reason == "implausible label"]
    accepted = [t for t in clf.synthetic_ if t.verdict == "accepted"]
    counts = [cycle.rejected.get("implausible label", 0) for cycle in clf.history_]
    assert len(implausible) == sum(counts) > 10
    assert not any(text.text.split()[-1].startswith(text.label) for text in implausible)
    assert sum(text.text.split()[-1].startswith(text.label) for text in accepted) > 30


@pytest.mark.parametrize(
    ("feedback", "gate_shown"),
    [("out_of_fold", False), ("holdout", False), ("train", False), ("validation", True)],
)
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
        feedback=feedback,
        random_state=0,
    ).fit(X, y, X_val=X_val, y_val=y_val)
    shown = shown_texts(teacher.requests)
    assert bool(shown & set(X_val)) == gate_shown
    assert shown <= set(X) | set(X_val)


def test_own_gate_is_never_shown(student, data):
    """Without X_val: no more texts reach the teacher than the training split has."""
    teacher = WordTeacher()
    sampler = PerformanceGuidedSampler(n_hard_negatives=50, n_samples=50, n_examples=50)
    fit(KeepsRequests(teacher), student, data, sampler=sampler, max_cycles=2)
    assert len(shown_texts(teacher.requests)) <= 48  # of 60


def test_out_of_fold_evidence_is_honest(student):
    """Texts with random labels: out of fold they are got wrong, on the training texts right."""
    rng = np.random.default_rng(0)
    X = [f"w{i} v{i}" for i in range(60)]
    y = rng.choice(["a", "b"], size=60).tolist()
    reports = {}
    for feedback in ("out_of_fold", "train"):
        clf = PGKDClassifier(
            NothingTeacher(), student, max_cycles=1, feedback=feedback, random_state=0
        ).fit(X, y)
        reports[feedback] = clf.history_[1].feedback_report.accuracy
    assert reports["out_of_fold"] < 0.75 < reports["train"]


class NothingTeacher(BaseEstimator):
    def generate(self, requests):
        for request in requests:
            yield Generation(request, usage=Usage(1))


def test_patience(student, data):
    clf = fit(NothingTeacher(), student, data, max_cycles=10, patience=2)
    assert clf.stop_reason_ == "patience"
    assert (clf.n_cycles_, clf.best_cycle_) == (2, 0)


def test_max_cost(student, data):
    clf = fit(WordTeacher(), student, data, max_cycles=10, max_cost=0.03, patience=10)
    assert clf.stop_reason_ == "budget"
    assert clf.usage_.cost == pytest.approx(0.03)


def test_budget_without_known_cost(student, data):
    class Free(WordTeacher):
        def generate(self, requests):
            for generation in super().generate(requests):
                yield Generation(generation.request, generation.examples, usage=Usage(cost=None))

    with pytest.warns(UserWarning, match="does not say what its answers cost"):
        clf = fit(Free(), student, data, max_cycles=5, max_cost=1.0)
    assert clf.stop_reason_ == "budget"
    assert clf.n_cycles_ == 1


def test_a_teacher_that_cannot_be_copied(student, data):
    class Client(WordTeacher):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    assert fit(Client(), student, data).best_cycle_ > 0


def test_zero_cycles_is_the_baseline(student, data):
    clf = fit(WordTeacher(), student, data, max_cycles=0)
    baseline = clone(student).fit(*data)  # refit on all texts, gate included
    np.testing.assert_allclose(clf.predict_proba(data[0]), baseline.predict_proba(data[0]))
    assert clf.usage_ == Usage()


def test_without_refit_the_student_has_not_seen_the_gate(student, data):
    refitted = fit(WordTeacher(), student, data, max_cycles=0)
    plain = fit(WordTeacher(), student, data, max_cycles=0, refit_on_all=False)
    n_words = [len(c.student_[0].vocabulary_) for c in (refitted, plain)]
    assert n_words[0] > n_words[1]


def test_accepted_texts_are_those_the_student_has_learnt(student, data):
    clf = fit(WordTeacher(), student, data)
    learnt = [t.text for t in clf.synthetic_ if t.verdict == "accepted"]
    vocabulary = clf.student_[0].vocabulary_
    assert all(text.split()[-1] in vocabulary for text in learnt)
    unused = [t.text for t in clf.synthetic_ if t.verdict != "accepted"]
    assert not any(text.split()[-1] in vocabulary for text in unused)


def test_teacher_that_fails_at_once(student, data):
    class Broken(BaseEstimator):
        def generate(self, requests):
            raise OSError("no route")

    with pytest.raises(TeacherError, match=r"Broken raised OSError\('no route'\)"):
        fit(Broken(), student, data)


def test_a_cycle_is_kept_if_its_log_loss_is_better(student, data, monkeypatch):
    def falling(estimator, X, y):
        return -estimator.predict_proba(X).max(axis=1).mean()

    monkeypatch.setattr(Judge, "_standard_error", lambda self, a, b: 0.0)
    clf = fit(WordTeacher(), student, data, scoring=falling, synthetic_weight=1.0)
    scores = [cycle.gate_score for cycle in clf.history_]
    assert scores[1] < scores[0]
    assert clf.history_[1].kept
    monkeypatch.setattr(Judge, "_is_log_loss_better", lambda *_, **__: False)
    clf = fit(WordTeacher(), student, data, scoring=falling, synthetic_weight=1.0, max_cycles=1)
    assert "and the log loss is no better" in clf.history_[1].reason


def test_log_loss_decides_although_the_score_fell_a_little(student, data, monkeypatch):
    def falling(estimator, X, y):
        return -estimator.predict_proba(X).max(axis=1).mean()

    monkeypatch.setattr(Judge, "_standard_error", lambda self, a, b: 1.0)
    clf = fit(WordTeacher(), student, data, scoring=falling, synthetic_weight=1.0)
    assert clf.choice_.last_score < clf.choice_.baseline_score
    assert (clf.choice_.taken, clf.choice_.rule) == (True, "log loss")


@pytest.mark.parametrize("wrong", [False, True])
def test_log_loss_decides_where_the_score_cannot_tell(student, data, wrong):
    clf = fit(WordTeacher(wrong=wrong), student, data, scoring=lambda estimator, X, y: 0.5)
    assert clf.choice_.taken == (not wrong)
    assert clf.choice_.rule == ("one standard error" if wrong else "log loss")
    assert (clf.best_cycle_ == 0) == wrong
    assert ("loss, of which few texts tell more" in str(clf.report())) == (not wrong)


def test_an_interruption_finds_the_run_before_a_cycle_or_after_it(student, data, monkeypatch):
    measured = []

    def measure(learnt):
        measured.append(learnt)
        if len(measured) == 3:  # the baseline's, the first cycle's, the second's
            raise KeyboardInterrupt

    monkeypatch.setattr("pgkd.distillation._measure", measure)
    with pytest.warns(UserWarning, match="Interrupted"):
        clf = fit(WordTeacher(), student, data)
    assert clf.n_cycles_ == clf.best_cycle_ == 1
    texts = [text.text for text in clf.synthetic_]
    assert len(texts) == len(set(texts))
    assert {t.verdict for t in clf.synthetic_ if t.cycle == 2} == {"rolled back"}


def test_a_teacher_that_keeps_no_count_loses_nothing(student, data):
    class Frail(type(student)):
        n_fits = 0

        def fit(self, X, y, **params):
            Frail.n_fits += 1
            if Frail.n_fits > 8:
                raise MemoryError
            return super().fit(X, y, **params)

    class Uncounted(WordTeacher):
        def generate(self, requests):
            return (Generation(g.request, g.examples) for g in super().generate(requests))

    frail = Frail(student.steps)
    with pytest.warns(UserWarning, match="MemoryError"):
        clf = fit(Uncounted(), frail, data, feedback="holdout", refit_on_all=False)
    assert clf.stop_reason_ == "error"
    assert clf.synthetic_


def test_teacher_that_fails_later_keeps_the_best(student, data):
    class Tiring(WordTeacher):
        def generate(self, requests):
            if self.requests:
                raise OSError("gone")
            yield from super().generate(requests)

    with pytest.warns(UserWarning, match=r"The teacher failed: Tiring raised OSError.*cycle 1, is"):
        clf = fit(Tiring(), student, data, max_cycles=5)
    assert clf.stop_reason_ == "teacher_error"
    assert clf.best_cycle_ == 1
    assert clf.score(*data) > 0.9


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


def test_interrupt_keeps_the_best(student, data):
    class Interrupted(WordTeacher):
        def generate(self, requests):
            if self.requests:
                raise KeyboardInterrupt
            yield from super().generate(requests)

    with pytest.warns(UserWarning, match="Interrupted"):
        clf = fit(Interrupted(), student, data, max_cycles=5)
    assert clf.stop_reason_ == "interrupted"
    assert clf.score(*data) > 0.9


def test_same_seed_same_result_in_any_order_of_answers(student, data):
    class Backwards(WordTeacher):
        def generate(self, requests):
            yield from reversed(list(super().generate(requests)))

    probabilities = [
        fit(teacher, student, data).predict_proba(data[0])
        for teacher in (WordTeacher(), WordTeacher(), Backwards())
    ]
    np.testing.assert_array_equal(probabilities[0], probabilities[1])
    np.testing.assert_allclose(probabilities[0], probabilities[2], atol=1e-9)


def test_unguided_sampler_spares_the_evaluation(student, data):
    clf = fit(WordTeacher(), student, data, sampler=UnguidedSampler())
    assert all(cycle.feedback_report is None for cycle in clf.history_)
    assert clf.best_cycle_ > 0


def test_synthetic_weight(student, data):
    half = fit(
        WordTeacher(), student, data, max_cycles=1, synthetic_weight=1e-9, refit_on_all=False
    )
    whole = fit(WordTeacher(), student, data, max_cycles=0, refit_on_all=False)
    # Nearly without weight: the texts only add words to the vocabulary.
    assert (half.predict(data[0]) == whole.predict(data[0])).all()


def test_counts_and_events(student, data):
    class Sloppy(WordTeacher):
        def generate(self, requests):
            for generation in super().generate(requests):
                extra = (Example("", "pin"), Example(data[0][0], "card"), Example("x y", "?"))
                yield Generation(
                    generation.request,
                    generation.examples + extra,
                    {"malformed": 2},
                    generation.usage,
                )

    recorder = Recorder()
    clf = fit(Sloppy(), student, data, max_cycles=1, callbacks=[recorder])
    cycle = clf.history_[1]
    n_requests = cycle.usage.n_requests
    assert cycle.rejected["malformed"] == 2 * n_requests
    assert cycle.rejected["empty"] == cycle.rejected["unknown label"] == n_requests
    rejected_texts = sum(cycle.rejected.values()) - cycle.rejected["malformed"]
    assert cycle.n_generated == cycle.n_accepted + rejected_texts == len(clf.synthetic_)
    kinds = [event.kind for event in recorder.events]
    assert kinds == ["cycle", *["generation"] * n_requests, "cycle", "end"]


def test_verbose_prints_a_line_a_cycle(student, data, capsys):
    fit(WordTeacher(), student, data, max_cycles=1, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["baseline", "cycle 1", "stopped"]
    fit(WordTeacher(), student, data, max_cycles=1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("sizes", [[1, 2], [2, 2], [1, 1, 1, 5], [3] * 50, [1] * 30 + [2] * 30])
def test_small_and_many_classes(student, sizes):
    y = np.repeat(np.arange(len(sizes)), sizes)
    X = [f"word{label} number{i}" for i, label in enumerate(y)]
    clf = PGKDClassifier(
        NothingTeacher(), student, max_cycles=1, validation_fraction=0.3, random_state=0
    ).fit(X, y)
    assert clf.predict_proba(X).shape == (len(X), len(sizes))


def test_500_classes(student):
    y = np.arange(1000) % 500
    X = [f"word{label} number{i}" for i, label in enumerate(y)]
    clf = PGKDClassifier(NothingTeacher(), student, max_cycles=1, random_state=0).fit(X, y)
    assert len(clf.classes_) == 500
    assert max(len(r) for r in [clf.history_[1].feedback_report.classes]) == 500


def test_a_batch_that_harms_is_seen_and_explained(student, data):
    batches = []

    class Looks(UnguidedSampler):
        def propose(self, state, n_samples, rng):
            batches[:] = state.batches
            return super().propose(state, n_samples, rng)

    student = clone(student).set_params(logisticregression__C=0.1)  # nothing is implausible to it
    teacher = WordTeacher(wrong=True)
    clf = fit(teacher, student, data, samples_per_cycle=60, sampler=Looks(), rollback=False)
    cycle = next(cycle for cycle in clf.history_ if "harmful batch" in cycle.rejected)
    assert (cycle.kept, cycle.n_accepted) == (True, 0)
    texts = [text for text in clf.synthetic_ if text.cycle == cycle.number]
    given_up = [text for text in texts if text.reason == "harmful batch"]
    assert {(text.verdict, text.weight) for text in given_up} == {("rejected", 0.0)}
    assert cycle.rejected["harmful batch"] == len(given_up) > 0
    assert "than without the whole batch" in str(clf.report())
    row = str(clf.report()).split(f"\n| {cycle.number} |")[1].splitlines()[0]
    assert "| not learnt |" in row
    # It does not look as if the teacher had run out of texts.
    assert sum(batches[cycle.number - 1].counts.values()) == len(given_up)
