"""What of a batch is learnt is judged by students that have not seen the labels they predict."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from pgkd.evaluation import GateScorer
from pgkd.learning import LabelledTexts, Learner
from pgkd.records import Example, SyntheticText
from pgkd.selection import Selector, Version

CLASSES = np.array(["a", "b"])


def write_row(example, seed_texts=(), source="generated"):
    return SyntheticText(
        example.text, example.label, 1, "1-1", "accepted", seed_texts=seed_texts, source=source
    )


def make_selector(train, *, out_of_fold=True, shown=None, synthetic_weight="auto", student=None):
    memory = make_pipeline(CountVectorizer(), KNeighborsClassifier(n_neighbors=1))
    learner = Learner(student or memory, CLASSES, train, seed=0)
    shown = train if out_of_fold else shown
    scorer = GateScorer("accuracy", CLASSES, shown.texts, shown.y)
    return Selector(
        learner,
        train,
        shown,
        scorer,
        out_of_fold=out_of_fold,
        synthetic_weight=synthetic_weight,
        seed=0,
    )


@pytest.fixture
def noise():
    """100 texts of which nothing can be learnt, and a batch of their near-copies, half wrong."""
    labels = np.random.default_rng(0).permutation(["a", "b"] * 50)
    train = LabelledTexts([f"w{i} x{i} y{i}" for i in range(100)], labels)
    other = {"a": "b", "b": "a"}
    batch = [Example(f"w{i} x{i} z{i}", str(label)) for i, label in enumerate(labels)]
    batch += [Example(f"w{i} x{i} v{i}", other[label]) for i, label in enumerate(labels)]
    return train, tuple(batch)


def test_a_filter_that_knows_the_answers_is_not_believed(noise):
    train, batch = noise
    selector = make_selector(train)
    student = selector.learner.fit(train, ())
    n_folds = len(selector.learner.folds)
    # The whole student takes the near-copies that agree with the labels it knows by heart. Texts
    # that were filtered so would give the labels away to the students of the folds.
    plausible = selector._find_plausible(student, batch)
    assert plausible == batch[:100]
    betrayed = selector.predict_out_of_fold(Version(plausible, (plausible,) * n_folds))
    assert selector.scorer.score(betrayed.probabilities) == 1.0
    nothing = selector.evaluate(Version((), ((),) * n_folds))
    filtered = selector._add_plausible(nothing, plausible, [batch] * n_folds)
    honest = selector.evaluate(filtered)
    assert 0.3 < selector.scorer.score(honest.probabilities) < 0.7


def test_a_class_that_a_fold_s_student_has_never_seen_is_not_implausible_to_it():
    train = LabelledTexts([f"w{i} xx" for i in range(9)] + ["yy"], np.array(["a"] * 9 + ["b"]))
    selector = make_selector(train)
    batch = tuple(Example(f"yy z{i}", "b") for i in range(3))
    blind = selector.learner.fit(LabelledTexts(["w1 xx", "xx"], np.array(["a", "a"])), ())
    assert selector._find_plausible(blind, batch) == batch


def test_what_was_bought_is_all_learnt_without_proof_against_it(noise):
    train, batch = noise
    selector = make_selector(train)
    version = Version((), ((),) * len(selector.learner.folds))
    assert selector.choose(version, (), None) is version
    rows = [write_row(batch[0])]
    one = selector.choose(version, rows, selector.learner.fit(train, ()))
    assert one.synthetic == batch[:1]
    assert one.fold_synthetic == (batch[:1],) * len(selector.learner.folds)


def test_a_fold_is_not_predicted_by_what_was_written_after_its_texts(noise):
    train, batch = noise  # nothing can be learnt, and each text is a near-copy of the one shown
    selector = make_selector(train)
    nothing = Version((), ((),) * len(selector.learner.folds))
    student = selector.learner.fit(train, ())
    rows = [write_row(e, seed_texts=(t,)) for e, t in zip(batch[:100], train.texts)]
    chosen = selector.evaluate(selector.choose(nothing, rows, student))
    assert chosen.synthetic == batch[:100]  # the student itself learns them
    for (_, fold), learnt in zip(selector.learner.folds, chosen.fold_synthetic):
        assert set(learnt) == set(batch[:100]) - {batch[i] for i in fold}
    assert 0.3 < selector.scorer.score(chosen.probabilities) < 0.7
    # Texts of the pool are real ones: the examples that were shown do not make them.
    pool = [write_row(e, (t,), "pool") for e, t in zip(batch[:100], train.texts)]
    assert selector._spread(pool) == [batch[:100]] * len(selector.learner.folds)


def test_wrong_labels_are_left_out_by_the_feedback_texts():
    rng = np.random.default_rng(0)

    def write(label):
        return " ".join([f"{label}{rng.integers(9)}", f"{label}{rng.integers(9)}"])

    labels = np.array(["a", "b"] * 40)
    train = LabelledTexts([write(label) for label in labels], labels)
    shown = LabelledTexts([write(label) for label in labels], labels)
    right = tuple(Example(write(label), label) for label in "ab" * 30)
    wrong = tuple(Example(write(label), {"a": "b", "b": "a"}[label]) for label in "ab" * 60)
    selector = make_selector(train, out_of_fold=False, shown=shown)
    student = selector.learner.fit(train, ())
    rows = [write_row(example) for example in right + wrong]
    chosen = selector.choose(Version((), ((),) * len(selector.learner.folds)), rows, student)
    assert chosen.synthetic == right
    assert chosen.student is not None


def test_a_batch_that_harms_at_every_weight_gets_none():
    rng = np.random.default_rng(0)

    def write(label):
        return " ".join(f"{label}{rng.integers(9)}" for _ in range(2))

    labels = np.array(["a", "b"] * 40)
    train = LabelledTexts([write(label) for label in labels], labels)
    unsure = make_pipeline(CountVectorizer(), LogisticRegression(C=0.01))  # all is plausible to it
    selector = make_selector(train, student=unsure)
    fitted = selector.learner.fit(train, ())
    known = Version((), ((),) * len(selector.learner.folds))
    wrong = [write_row(Example(write("a"), "b")) for _ in range(2000)]
    assert selector.choose(known, wrong, fitted).synthetic == ()
    right = [write_row(Example(write(label), label)) for label in "ab" * 10]
    assert len(selector.choose(known, right, fitted).synthetic) == 20
    # Of a class without a labelled text nothing can be told.
    selector.learner.knows = lambda example: False
    assert len(selector.choose(known, wrong, fitted).synthetic) == 2000


@pytest.mark.parametrize(("last", "n_learnt"), [(0.94, 1), (0.90, 0)])
def test_a_batch_is_given_up_only_if_it_harms_at_all_weights(noise, last, n_learnt, monkeypatch):
    """A weight at which it may do no harm need not be the one that is chosen."""
    train, batch = noise
    selector = make_selector(train, student=make_pipeline(CountVectorizer(), LogisticRegression()))
    scores = {1.0: 0.90, 0.3: 0.90, 0.1: last}

    def evaluate(version, start=None):
        score = scores[version.factor] if version.synthetic else 1.0
        return replace(version, probabilities=np.array([score]))

    monkeypatch.setattr(selector, "evaluate", evaluate)
    monkeypatch.setattr(selector.scorer, "score", lambda p: p[0])
    monkeypatch.setattr(selector.scorer, "standard_error", lambda a, b, rng: 0.05)
    known = Version((), ((),) * len(selector.learner.folds))
    fitted = selector.learner.fit(train, ())
    assert len(selector.choose(known, [write_row(batch[0])], fitted).synthetic) == n_learnt
