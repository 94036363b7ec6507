"""What of a batch is learnt is judged by students that have not seen the labels they predict."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from pgkd.evaluation import GateScorer
from pgkd.learning import LabelledTexts, Learner
from pgkd.records import Example
from pgkd.selection import Selector, Version

CLASSES = np.array(["a", "b"])


def make_selector(train, *, out_of_fold=True, shown=None, synthetic_weight="auto"):
    memory = make_pipeline(CountVectorizer(), KNeighborsClassifier(n_neighbors=1))
    learner = Learner(memory, CLASSES, train, seed=0)
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
    filtered = selector._add_plausible(Version((), ((),) * n_folds), batch, plausible)
    honest = selector.evaluate(filtered)
    assert 0.3 < selector.scorer.score(honest.probabilities) < 0.7


def test_what_was_bought_is_all_learnt_without_proof_against_it(noise):
    train, batch = noise
    selector = make_selector(train)
    version = Version((), ((),) * len(selector.learner.folds))
    assert selector.choose(version, (), None) is version
    one = selector.choose(version, batch[:1], selector.learner.fit(train, ()))
    assert one.synthetic == batch[:1]
    assert one.fold_synthetic == (batch[:1],) * len(selector.learner.folds)


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
    chosen = selector.choose(Version((), ()), right + wrong, student)
    assert chosen.synthetic == right
    assert chosen.student is not None
