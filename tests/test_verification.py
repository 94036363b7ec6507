import numpy as np
import pytest
from annotators import Labelling, read_label
from conftest import WORDS, WordTeacher, write_text
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.records import Example, Generation, Usage
from pgkd.samplers import UncertaintySampler, UnguidedSampler
from pgkd.verification import REASON, WEIGHT


class HalfWrong(Labelling):
    """Writes every second text of another class than it says, and labels rightly."""

    def generate(self, requests):
        for generation in super().generate(requests):
            examples = []
            for i, example in enumerate(generation.examples):
                source = WRONG[example.label] if i % 2 else example.label
                examples.append(
                    Example(write_other(source, self.n_written * 100 + i), example.label)
                )
            yield Generation(generation.request, tuple(examples), usage=generation.usage)


WRONG = {"card": "rate", "rate": "pin", "pin": "card"}


def write_other(label, i):
    """A text like no other."""
    rng = np.random.default_rng(i)
    odd = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 20))
    return f"{odd} {rng.choice(WORDS[label])} {label}{i}"


def fit(teacher, student, data, X_unlabeled=None, **params):
    defaults = {
        "max_cycles": 1,
        "samples_per_cycle": 24,
        "sampler": UnguidedSampler(),
        "verification": "filter",
        "synthetic_weight": 1.0,
        "rollback": False,
        "random_state": 0,
    }
    clf = PGKDClassifier(teacher, student, **{**defaults, **params})
    return clf.fit(*data, X_unlabeled=X_unlabeled)


def is_right(text):
    return read_label(text.text) == text.label


def test_what_is_not_confirmed_is_rejected(student, data):
    teacher = HalfWrong()
    clf = fit(teacher, student, data)
    rejected = [t for t in clf.synthetic_ if t.reason == REASON]
    assert len(rejected) == clf.history_[1].rejected[REASON] > 8
    assert not any(map(is_right, rejected))
    assert all(t.verdict == "rejected" and t.weight == 0 for t in rejected)
    accepted = [t for t in clf.synthetic_ if t.verdict == "accepted"]
    assert len(accepted) == clf.history_[1].n_accepted > 8
    assert all(map(is_right, accepted))
    cycle = clf.history_[1]
    assert cycle.usage == clf.usage_
    assert cycle.usage.n_requests == len(teacher.requests) + len(teacher.annotations)
    assert cycle.usage.cost == pytest.approx(
        0.01 * len(teacher.requests) + 0.001 * len(teacher.annotations)
    )


def test_the_teacher_does_not_see_its_label(student, data):
    teacher = HalfWrong()
    clf = fit(teacher, student, data, n_candidates=2)
    given = {t.text: t.label for t in clf.synthetic_}
    places = []
    for request in teacher.annotations:
        assert request.id.startswith("1-v")
        for text, shortlist in zip(request.texts, request.shortlists):
            assert len(shortlist) == 2
            assert shortlist == tuple(sorted(shortlist))
            places.append(shortlist.index(given[text]))
    assert set(places) == {0, 1}
    assert sorted(teacher.asked()) == sorted(given)


def test_what_is_not_confirmed_weighs_less(student, data):
    clf = fit(HalfWrong(), student, data, verification="weight", synthetic_weight=0.5)
    learnt = [t for t in clf.synthetic_ if t.verdict == "accepted"]
    assert {(is_right(t), t.weight) for t in learnt} == {(True, 0.5), (False, 0.5 * WEIGHT)}


def test_a_text_without_an_answer_stays(student, data):
    class Refusing(HalfWrong):
        def annotate(self, requests):
            first, *rest = requests
            self.refused = first.texts
            yield Generation(first, usage=Usage(1), error="refused")
            yield from super().annotate(rest)

    teacher = Refusing()
    with pytest.warns(UserWarning, match="requests failed, the first one because: refused"):
        clf = fit(teacher, student, data, verification="filter", synthetic_weight="auto")
    unanswered = [t for t in clf.synthetic_ if t.text in teacher.refused]
    assert len(unanswered) == 5
    assert not any(t.reason == REASON for t in unanswered)


@pytest.mark.parametrize("error", [OSError("gone"), None])
def test_a_teacher_that_cannot_verify_loses_nothing(student, data, error):
    class Broken(HalfWrong):
        def annotate(self, requests):
            if error:
                raise error
            return [Generation(r, error="refused") for r in requests]

    with pytest.warns(UserWarning, match="The texts of cycle 1 are not verified"):
        clf = fit(Broken(), student, data)
    assert clf.stop_reason_ == "max_cycles"
    assert clf.history_[1].n_accepted > 0
    assert REASON not in clf.history_[1].rejected


def test_a_spent_budget_is_not_exceeded(student, data):
    teacher = HalfWrong()
    clf = fit(teacher, student, data, max_cost=0.005)
    assert teacher.annotations == []
    assert clf.history_[1].n_accepted > 0
    assert clf.stop_reason_ == "budget"


def test_texts_of_the_pool_are_not_verified(student, data):
    pool = [write_text(label, i) for i in range(100, 110) for label in WORDS]
    teacher = HalfWrong()
    sampler = UncertaintySampler(pool_share=0.5, generator=UnguidedSampler())
    clf = fit(teacher, student, data, pool, sampler=sampler)
    verified = {t for r in teacher.annotations if "-v" in r.id for t in r.texts}
    assert verified
    assert verified == {t.text for t in clf.synthetic_ if t.source == "generated"}


def test_texts_of_missing_classes_are_verified(student, data):
    X, y = zip(*[(text, label) for text, label in zip(*data) if label != "pin"])
    teacher = HalfWrong()
    descriptions = {label: label for label in WORDS}
    clf = fit(teacher, student, (X, y), class_descriptions=descriptions)
    first = [t for t in clf.synthetic_ if t.cycle == 0]
    assert {t.reason for t in first} == {None, REASON}
    assert all(is_right(t) == (t.verdict == "accepted") for t in first)
    assert clf.history_[0].rejected == {REASON: sum(t.reason == REASON for t in first)}
    assert all("pin" in s for r in teacher.annotations if r.id[0] == "0" for s in r.shortlists)
    assert sum(c.usage.n_requests for c in clf.history_) == clf.usage_.n_requests


def test_interrupted(student, data):
    """The texts that were written are entered once, and the answers about them are no texts."""

    class Interrupted(HalfWrong):
        def annotate(self, requests):
            yield next(iter(super().annotate(requests)))
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted"):
        clf = fit(Interrupted(), student, data)
    texts = [t.text for t in clf.synthetic_]
    assert len(texts) == len(set(texts)) == 24
    assert {t.reason for t in clf.synthetic_} == {"interrupted"}


def test_verification_makes_a_bad_writer_useful(student, data):
    X, y = zip(*[(write_text(label, i), label) for i in range(200, 240) for label in WORDS])

    class Bad(HalfWrong):
        def generate(self, requests):
            for g in super().generate(requests):
                swapped = [Example(e.text, "card") for e in g.examples]
                yield Generation(g.request, tuple(swapped), usage=g.usage)

    params = {"samples_per_cycle": 45, "refit_on_all": False}
    scores = [
        fit(Bad(), student, data, verification=how, **params).score(X, y)
        for how in (None, "weight", "filter")
    ]
    assert scores[0] < scores[1] <= scores[2]


def test_what_cannot_work_is_refused_before_anything_is_spent(student, data):
    teacher = WordTeacher()
    with pytest.raises(InvalidInputError, match="`verification='filter'` needs a teacher that lab"):
        fit(teacher, student, data)
    neighbours = make_pipeline(student[0], KNeighborsClassifier())
    teacher = Labelling()
    with pytest.raises(InvalidInputError, match='or `verification` is "weight"'):
        fit(teacher, neighbours, data, verification="weight")
    assert teacher.requests == []
    with pytest.raises(ValueError, match="'verification' parameter of PGKDClassifier"):
        fit(teacher, student, data, verification="maybe")


def test_any_type_of_label(student):
    X = [f"word{label} number{i}" for i in range(10) for label in (3, 7)]
    y = np.array([3, 7] * 10)

    class Numbers(Labelling):
        def generate(self, requests):
            for n, request in enumerate(requests):
                examples = [
                    Example(f"word{label if i % 2 else 10 - label} text{n}{label}{i}", label)
                    for label, wanted in request.counts.items()
                    for i in range(wanted)
                ]
                yield Generation(request, tuple(examples), usage=Usage(1))

    teacher = Numbers(lambda text, shortlist: int(text[4]))
    clf = fit(teacher, student, (X, y))
    assert {(t.reason == REASON, int(t.text[4]) == t.label) for t in clf.synthetic_} == {
        (True, False),
        (False, True),
    }
