"""The loop, through the public estimator."""

import threading
import zlib

import numpy as np
import pytest
from conftest import WORDS, WordTeacher, write_hard, write_text
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from pgkd import Evidence, Logs, PGKDClassifier
from pgkd.exceptions import TeacherError
from pgkd.records import Comparison, Example, Generation, Usage
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

    monkeypatch.setattr("pgkd.loop.distillation.measure_texts", measure)
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


def test_the_weight_of_a_route_s_texts_is_never_lowered(student, hard):
    class BetterLater(WordTeacher):
        def generate(self, requests):
            is_first = not self.requests
            for g in super().generate(requests):
                labels = list(g.request.counts)
                texts = [
                    Example(e.text, labels[k % len(labels)] if is_first and k % 2 else e.label)
                    for k, e in enumerate(g.examples)
                ]
                yield Generation(g.request, tuple(texts), usage=g.usage)

    clf = fit(make_teacher(cls=BetterLater), student, hard, samples_per_cycle=36, max_cycles=4)
    factors = [step.factor for step in clf.history_[1:] if step.taken]
    assert factors == sorted(factors)
    assert factors[0] < factors[-1]


def test_a_student_without_weights_learns_all_alike(hard):
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
    kinds = [event.kind for event in recorder.events if event.kind != "progress"]
    assert kinds == ["begin", "step", *["generation"] * n_requests, "step", "end"]


def test_verbose_prints_a_line_a_step(student, hard, capsys):
    fit(make_teacher(), student, hard, max_cycles=1, verbose=1, routes=("names", "write"))
    lines = capsys.readouterr().out.splitlines()
    starts = ["labelled texts alone", "names of the classes", "asking the teacher: "]
    starts += ["teacher writes", "stopped because"]
    assert len(lines) == len(starts)
    assert all(map(str.startswith, lines, starts))
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


def test_to_be_less_sure_is_no_gain(hard):
    """The log loss of a student that is too sure of itself falls by any text that confuses it."""

    class Confused(Pipeline):
        """Learns the labelled texts alone, and is less sure the more others there are."""

        def fit(self, X, y, **params):
            own = [i for i, text in enumerate(X) if text in hard[0]]
            super().fit([X[i] for i in own], np.asarray(y)[own])
            self.is_confused = len(own) < len(X)
            return self

        def predict_proba(self, X):
            p = super().predict_proba(X) ** (0.2 if self.is_confused else 1)
            return p / p.sum(axis=1, keepdims=True)

    student = Confused([("words", TfidfVectorizer()), ("model", LogisticRegression(C=1000))])
    clf = fit(make_teacher(), student, hard, max_cycles=1)
    comparison = clf.history_[1].comparison
    assert comparison.after == comparison.before
    assert abs(comparison.log_loss_gain) < 0.02
    assert comparison.gain < 0.001


def test_what_is_hopeless_takes_few_trainings(student, hard):
    class Counted(type(student)):
        n_fits = 0

        def fit(self, X, y, **params):
            Counted.n_fits += 1
            return super().fit(X, y, **params)

    class Wrong(WordTeacher):
        def generate(self, requests):
            other = dict(zip(WORDS, [*WORDS][1:] + [*WORDS][:1]))
            for g in super().generate(requests):
                words = {k: " ".join(f"{k[0]}{i}{k[-1]}" for i in range(30)) for k in WORDS}
                texts = [Example(f"{words[other[e.label]]} {e.text}", e.label) for e in g.examples]
                yield Generation(g.request, tuple(texts), usage=g.usage)

    clf = fit(make_teacher(cls=Wrong), Counted(student.steps), hard, max_cycles=1)
    assert not clf.history_[1].taken
    # Five folds of the labelled texts; two of them at three weights each; in the end, the student.
    assert Counted.n_fits == 5 + 2 * 3 + 1


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


def test_a_scout_does_not_decide_for_the_student(student, hard):
    class Overwhelmed(type(student)):
        """Learns nothing but the labelled texts well."""

        def fit(self, X, y, **params):
            return super().fit(X, np.roll(y, 1) if len(X) > 24 else y, **params)

        def __sklearn_clone__(self):
            return Overwhelmed([(name, clone(step)) for name, step in self.steps])

    clf = fit(make_teacher(), Overwhelmed(student.steps), hard, evidence=Evidence(scout=student))
    assert any(step.taken for step in clf.history_[1:])  # the scout gained
    assert {text.verdict for text in clf.synthetic_} == {"dropped"}
    assert clf.comparison_.gain == 0
    plain = clone(student).fit(*hard)
    np.testing.assert_array_equal(clf.predict(hard[0]), plain.predict(hard[0]))


class Describing(WordTeacher):
    def generate(self, requests):
        for request in requests:
            if request.kind != "describe":
                yield from super().generate([request])
                continue
            self.requests.append(request)
            examples = []
            for label, n in request.counts.items():
                examples += [Example(f"All about a {label}.", label)]
                other = list(WORDS)[list(WORDS).index(label) - 1] if self.wrong else label
                for i in range(1, n):
                    words = " ".join(f"{other[0]}{k}{other[-1]}" for k in range(i, 30, 3))
                    examples.append(Example(words, label))
            yield Generation(request, tuple(examples), usage=Usage(1, 100, 10, cost=0.01))


@pytest.mark.parametrize("wrong", [False, True])
def test_descriptions_are_shown_to_the_teacher_if_they_helped(student, hard, wrong):
    teacher = Describing(wrong=wrong, write=write_hard)
    clf = fit(
        KeepsRequests(teacher),
        student,
        hard,
        routes=("describe", "write"),
        max_cycles=2,
        class_descriptions={"pin": "my own words", "card": "", "rate": ""},
    )
    assert [step.route for step in clf.history_] == ["labelled", "describe", "write"]
    assert {t.source for t in clf.synthetic_ if t.cycle == 1} == {"description"}
    assert clf.history_[1].taken == (not wrong)
    written = [request for request in teacher.requests if request.kind == "new"]
    shown = {k: v for request in written for k, v in request.class_descriptions.items()}
    assert shown["pin"] == "my own words"
    assert shown.get("rate", "") == ("" if wrong else "All about a rate.")


def test_a_sampler_is_told_what_was_bought_and_what_came_of_it(student, hard):
    states = []

    class Watching(PerformanceGuidedSampler):
        def propose(self, state, n_samples, rng):
            states.append(state)
            return super().propose(state, n_samples, rng)

    class Sparing(WordTeacher):
        def generate(self, requests):
            for g in super().generate(requests):
                yield Generation(g.request, g.examples[:1], usage=g.usage)

    evidence = Evidence(patience=9)
    clf = fit(make_teacher(cls=Sparing), student, hard, sampler=Watching(), evidence=evidence)
    assert [len(state.batches) for state in states] == [0, 1, 2]
    for batch, step in zip(states[-1].batches, clf.history_[1:]):
        assert sum(batch.requested.values()) == 24
        assert sum(batch.counts.values()) == step.n_accepted < 24
        assert batch.feedback == step.feedback_report
    learnt = sum(step.n_accepted for step in clf.history_[1:3])
    assert len(states[-1].synthetic) in (0, learnt)
    assert states[1].feedback.previous == (
        states[0].feedback.report if clf.history_[1].taken else None
    )


def test_of_a_class_without_a_labelled_text_nothing_says_what_its_texts_gain(student):
    """They are learnt, beside those of the others, which the evidence goes on to judge."""

    class Swaps(WordTeacher):
        """Two classes, and knows the third."""

        def generate(self, requests):
            other = {"card": "rate", "rate": "card", "pin": "pin"}
            for g in super().generate(requests):
                examples = tuple(Example(e.text, other[e.label]) for e in g.examples)
                yield Generation(g.request, examples, usage=g.usage)

    X = [write_hard(label, i) for i in range(40) for label in ("card", "rate")]
    clf = fit(
        make_teacher(cls=Swaps),
        student,
        (X, ["card", "rate"] * 40),
        class_descriptions={"card": "", "rate": "", "pin": "a code"},
        sampler=UnguidedSampler(classes_per_request=3),
    )
    verdicts = {label: {t.verdict for t in clf.synthetic_ if t.label == label} for label in WORDS}
    assert verdicts == {"card": {"dropped"}, "rate": {"dropped"}, "pin": {"accepted"}}
    assert "pin" in clf.predict([write_hard("pin", i) for i in range(700, 710)])


def compare(after, error, log_loss_gain=0.0, log_loss_error=0.1):
    return Comparison(
        "accuracy", 0.5, after, error, log_loss_gain, log_loss_error, correlation=0.0, n_texts=100
    )


def test_a_gain_is_believed_as_far_as_it_is_known():
    sure, unsure = compare(0.54, 0.003), compare(0.54, 0.05)
    assert 0 < unsure.gain < 0.01 < sure.gain < 0.04
    assert unsure.gain_error > sure.gain_error
    assert sure.interval == pytest.approx(stats.t.interval(0.95, 99, 0.04, 0.003))
    assert (
        compare(0.5, 0.0, log_loss_gain=0.3, log_loss_error=0.02).gain > 0.01
    )  # though no text has changed sides
    assert compare(0.52, 0.04, log_loss_gain=-0.3, log_loss_error=0.02).gain < 0
    assert not compare(0.5, 0.0, log_loss_error=0.0).taken


def test_a_mean_over_classes_counts_each_class_alike_in_the_log_loss():
    """Texts that favour the frequent class are a gain by accuracy, and a loss by macro F1."""
    rng = np.random.default_rng(0)
    y = np.array(["often"] * 60 + ["rarely"] * 20)
    words = {"often": ["red", "blue", "green"], "rarely": ["red", "blue", "grey"]}
    X = [" ".join(rng.choice(words[label], 3)) for label in y]
    logs = Logs([f"red blue n{i}" for i in range(30)], ["often"] * 30)
    gains = []
    for scoring in ("accuracy", "f1_macro"):
        clf = PGKDClassifier(
            student=make_pipeline(
                TfidfVectorizer(), LogisticRegression(C=0.1, class_weight="balanced")
            ),
            routes=(),
            scoring=scoring,
            evidence=Evidence(synthetic_weight=1.0),
            random_state=0,
        )
        gains.append(clf.fit(X, y, logs=logs).history_[1].comparison.log_loss_gain)
    assert gains[0] > 0 > gains[1]
