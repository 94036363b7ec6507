"""`X_unlabeled`: the student teaches itself, and the teacher labels instead of writing."""

import zlib

import numpy as np
import pytest
from annotators import Labelling, read_label
from conftest import FILLERS, WORDS, WordTeacher, write_hard
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from pgkd import Evidence, PGKDClassifier, UnlabeledTexts
from pgkd.exceptions import AnnotatorError, InvalidInputError
from pgkd.loop.outcome import settle
from pgkd.loop.training_set import Part, TrainingSet
from pgkd.records import Generation, SyntheticText, Usage
from pgkd.samplers import UncertaintySampler

STUDENT = make_pipeline(TfidfVectorizer(), LogisticRegression())
ROWS = [(write_hard(label, i), label) for i in range(100, 140) for label in WORDS]
POOL, TRUTH = [text for text, _ in ROWS], [label for _, label in ROWS]


@pytest.fixture
def teacher():
    return Labelling(write=write_hard)


def classifier(teacher, **params):
    defaults = {"max_cycles": 3, "samples_per_cycle": 20, "random_state": 0, "routes": ("label",)}
    return PGKDClassifier(teacher, STUDENT, **(defaults | params))


def asked_of_pool(teacher):
    return [text for text in teacher.asked() if text in set(POOL)]


def test_learns_from_the_pool(teacher, hard, hard_test):
    clf = classifier(teacher).fit(*hard, X_unlabeled=POOL)
    texts = asked_of_pool(teacher)
    assert len(texts) == len(set(texts)) == 60
    assert {t.source for t in clf.synthetic_} == {"pool"}
    best = {}
    for text in clf.synthetic_:
        best[text.text] = max(best.get(text.text, text), text, key=lambda t: t.weight)
    assert np.mean([t.label == read_label(t.text) for t in best.values()]) > 0.9
    assert clf.score(*hard_test) > clone(STUDENT).fit(*hard).score(*hard_test)


def test_the_probe_asks_first_about_texts_of_which_the_student_is_unsure(teacher, hard):
    clf = classifier(teacher).fit(*hard, X_unlabeled=POOL)
    probed = [r for r in teacher.annotations if r.id.startswith("0-p")]
    assert teacher.annotations[: len(probed)] == probed
    assert {text for r in probed for text in r.texts} <= set(hard[0])
    assert clf.probe_.n_texts == 24
    assert clf.probe_.teacher_accuracy == 1
    assert clf.probe_.student_accuracy == clf.history_[0].report.accuracy
    assert clf.probe_.weight > 0
    assert "100 %" in clf.probe_.verdict
    assert "It is worth asking" in clf.probe_.verdict
    assert clf.probe_.verdict in str(clf.report())


def test_a_teacher_that_cannot_help_costs_cents(hard, capsys):
    def wrongly(text, shortlist):
        return next(label for label in shortlist if label != read_label(text))

    teacher = Labelling(wrongly, write=write_hard)
    clf = classifier(teacher, routes=("label", "write"), verbose=1).fit(*hard, X_unlabeled=POOL)
    assert clf.stop_reason_ == "probe"
    assert clf.n_cycles_ == 0
    assert not asked_of_pool(teacher)
    out = capsys.readouterr().out
    assert f"asking the teacher: {clf.usage_.n_requests} requests" in out  # those of the probe
    assert "It is not worth asking" in out


def test_the_probe_is_about_the_texts_of_which_the_student_is_least_sure(data):
    """Those that have a word of each class."""
    X, y = data
    odd = {"card rate pin": "card", "post euro code": "rate", "delivery dollar digits": "pin"}
    known = Labelling(lambda text, shortlist: odd.get(text) or read_label(text))
    clf = classifier(known, evidence=Evidence(probe_size=3), max_cycles=1)
    with pytest.warns(UserWarning, match="3 of its answers"):  # too few to say anything
        clf.fit([*X[:30], *odd, *X[30:]], [*y[:30], *odd.values(), *y[30:]], X_unlabeled=POOL)
    probed = [r for r in known.annotations if r.id.startswith("0-p")]
    assert {text for r in probed for text in r.texts} == set(odd)


def test_a_teacher_that_labels_nothing_is_not_judged_by_it(hard):
    silent = Labelling(lambda text, shortlist: "none of these", write=write_hard)
    with pytest.warns(UserWarning, match=r"says nothing: it gave no label.*goes on and buys"):
        clf = classifier(silent, routes=("label", "write")).fit(*hard, X_unlabeled=POOL)
    assert clf.probe_ is None
    assert "write" in {step.route for step in clf.history_}


def test_labels_that_add_nothing_are_not_bought_but_texts_are(hard):
    def guess(text, shortlist):
        return shortlist[zlib.crc32(f"0{text}".encode()) % len(shortlist)]

    teacher = Labelling(guess, write=write_hard)
    clf = classifier(teacher, routes=("label", "write")).fit(*hard, X_unlabeled=POOL)
    assert clf.probe_.weight == 0
    assert "Its labels add nothing; whether texts that it writes do" in clf.probe_.verdict
    assert not asked_of_pool(teacher)
    assert [step.route for step in clf.history_[1:]] == ["write"] * 3


def test_the_probe_takes_a_twentieth_of_the_budget(hard):
    class Priced(Labelling):
        def render(self, request):
            return []

        def expect(self, messages, schema):
            return Usage(1, 100, 10, cost=None)

        def cost(self, usage):
            return 0.001

    teacher = Priced(write=write_hard)
    classifier(teacher, max_cost=0.2).fit(*hard, X_unlabeled=POOL)
    assert sum(r.id.startswith("0-p") for r in teacher.annotations) == 10


def test_an_opinion_has_weights(hard):
    """Unsure labels are learnt as such: the rows of a text share out at most its weight."""
    clf = classifier(Labelling(write=write_hard), evidence=Evidence(keep_all=True))
    clf.fit(*hard, X_unlabeled=POOL)
    weights = {}
    for text in clf.synthetic_:
        weights[text.text] = weights.get(text.text, 0) + text.weight
    assert max(weights.values()) <= 1 + 1e-9


def test_self_training_needs_no_teacher(hard, hard_test):
    student = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    clf = PGKDClassifier(student=student, routes=("unlabelled",), random_state=0)
    clf.fit(*hard, X_unlabeled=POOL)
    assert clf.stop_reason_ == "no_teacher"
    assert clf.history_[1].route == "unlabelled"
    assert {t.source for t in clf.synthetic_} == {"unlabelled"}
    assert {t.text for t in clf.synthetic_} == set(POOL)  # each with a weight of its own
    assert len({t.weight for t in clf.synthetic_}) > 20
    assert [step.route for step in clf.history_] == ["labelled", "unlabelled"]
    baseline = clone(student).fit(*hard).score(*hard_test)
    assert clf.score(*hard_test) >= baseline - 0.02


def test_the_teacher_s_label_takes_the_place_of_the_student_s_own(hard):
    clf = classifier(
        Labelling(write=write_hard),
        routes=("unlabelled", "label"),
        max_cycles=1,
        samples_per_cycle=60,
        evidence=Evidence(keep_all=True),
    ).fit(*hard, X_unlabeled=POOL)
    sources = {"unlabelled": set(), "pool": set()}
    for text in clf.synthetic_:
        if text.verdict == "accepted":
            sources[text.source].add(text.text)
    assert len(sources["pool"]) == 60
    assert sources["unlabelled"]
    assert not sources["pool"] & sources["unlabelled"]
    given_up = {t.text for t in clf.synthetic_ if t.reason == "labelled anew"}
    assert given_up & sources["pool"]


def test_texts_of_the_gate_are_not_asked_about(teacher, data):
    X, y = data
    gate = [text.upper() + "!" for text in X[:12]]
    clf = classifier(teacher, max_cycles=9)
    clf.fit(X[12:], y[12:], X_val=X[:12], y_val=y[:12], X_unlabeled=gate + X[20:30] + POOL[:30] * 2)
    texts = [t for r in teacher.annotations if not r.id.startswith("0-p") for t in r.texts]
    assert len(texts) == len(set(texts))
    assert set(texts) <= set(POOL[:30])
    assert set(teacher.asked()).isdisjoint(X[:12])


def test_cross_validation_leaves_the_pool_alone(teacher, hard):
    X, y = hard
    pool = POOL[: len(X)]  # as many as X has, which scikit-learn would cut to the fold
    params = {"X_unlabeled": UnlabeledTexts(pool)}
    clf = classifier(teacher, max_cycles=1, samples_per_cycle=len(X))
    cross_val_score(clf, X, y, cv=2, params=params, error_score="raise")
    # Cut to the fold, each text would be asked about once at most.
    assert len(asked_of_pool(teacher)) == 2 * len(X)


def test_a_teacher_that_cannot_annotate_writes(hard):
    clf = classifier(WordTeacher(write=write_hard), routes=("label", "write"))
    clf.fit(*hard, X_unlabeled=POOL)
    assert clf.probe_ is None
    assert {step.route for step in clf.history_[1:]} == {"write"}


def test_bad_pool(teacher, data):
    with pytest.raises(InvalidInputError, match="X_unlabeled must be a list"):
        classifier(teacher).fit(*data, X_unlabeled="a text")
    with pytest.raises(InvalidInputError, match="None at position 1"):
        classifier(teacher).fit(*data, X_unlabeled=UnlabeledTexts(["a", None]))


def test_a_request_that_fails_loses_its_text_only(hard):
    class Failing(Labelling):
        def annotate(self, requests):
            if requests[0].id.startswith("0-p"):
                yield from super().annotate(requests)
                return
            first, *rest = requests
            yield Generation(first, usage=Usage(1), error="refused")
            yield from super().annotate(rest)

    clf = classifier(Failing(write=write_hard), max_cycles=1)
    with pytest.warns(UserWarning, match="1 of 20 requests failed"):
        clf.fit(*hard, X_unlabeled=np.array(POOL))
    assert len({text.text for text in clf.synthetic_}) == 19


def test_texts_that_cannot_be_labelled_are_lost_once_and_alone(hard):
    class Picky(Labelling):
        def annotate(self, requests):
            for generation in super().annotate(requests):
                if generation.request.texts[0].startswith("odd"):
                    raise AnnotatorError(f"cannot read {generation.request.texts[0]}")
                yield generation

    odd = [f"odd xx{i}" for i in range(6)]
    picky = Picky(write=write_hard)
    sampler = UncertaintySampler(strategy="margin")  # which asks about these first
    with pytest.warns(UserWarning, match="cannot read odd"):
        clf = classifier(picky, sampler=sampler).fit(*hard, X_unlabeled=odd + POOL)
    assert clf.n_cycles_ == 3
    assert any(text.verdict == "accepted" for text in clf.synthetic_)
    assert clf.synthetic_
    assert not any(text.text.startswith("odd") for text in clf.synthetic_)


def test_copies_of_known_texts_are_not_paid_for(teacher, hard):
    near = [text + "!" for text in hard[0][:5]]
    classifier(teacher, max_cycles=1).fit(*hard, X_unlabeled=near + POOL[:30])
    assert set(teacher.asked()).isdisjoint(near)


def test_grid_search_over_the_sampler(teacher, hard):
    clf = classifier(teacher, sampler=UncertaintySampler(strategy="random"))
    clf.set_params(sampler__strategy="entropy")
    assert clf.fit(*hard, X_unlabeled=POOL).sampler.strategy == "entropy"


def test_the_budget_goes_where_a_token_gains_most(hard):
    """Labels that are all right, and written texts that are all wrong."""

    class TwoFaced(Labelling):
        def generate(self, requests):
            self.wrong = True
            yield from super().generate(requests)

    clf = classifier(
        TwoFaced(write=write_hard), routes=("label", "write"), max_cycles=5, samples_per_cycle=24
    ).fit(*hard, X_unlabeled=POOL)
    bought = [step.route for step in clf.history_[1:]]
    assert bought[:2] == ["label", "write"]
    assert bought.count("label") > bought.count("write")
    routes = {own.route: own for own in clf.report().routes}
    assert routes["label"].gain > 0
    assert routes["write"].n_learnt == 0


def test_a_later_route_may_gain_more(hard):
    """Texts without a label that have no word of a class, and written ones that are right."""
    rng = np.random.default_rng(0)
    pool = [" ".join([*rng.choice(FILLERS, 3), f"zz{i}"]) for i in range(60)]
    teacher = Labelling(
        lambda text, s: s[0] if text in pool else read_label(text), write=write_hard
    )
    clf = classifier(teacher, routes=("label", "write"), max_cycles=5, samples_per_cycle=24)
    clf.fit(*hard, X_unlabeled=pool)
    assert [step.route for step in clf.history_[1:]] == ["label", *["write"] * 4]


def test_a_text_is_labelled_anew_by_a_later_step_alone():
    def make(label, cycle):
        return SyntheticText("x", label, cycle, "", cost=0.0, verdict="accepted")

    current = TrainingSet({"unlabelled": Part((make("a", 2),), factor=0.1)})
    settled = settle([make("b", 1), make("a", 2), make("b", 4)], current)
    assert [text.reason for text in settled] == ["labelled anew", None, "no gain out of fold"]
    assert [text.weight for text in settled] == [0.0, 0.1, 0.0]
