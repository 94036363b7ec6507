import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, get_scorer, log_loss

from pgkd.evaluation.report import make_predictions, make_report
from pgkd.evaluation.scoring import TextScorer
from pgkd.exceptions import InvalidInputError

CLASSES = np.array(["a", "b", "c"])
Y = np.array(["a", "a", "b", "b", "b"])  # none of class c
P = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0.0], [0.5, 0.2, 0.3], [0.6, 0.3, 0.1]])


def test_report_agrees_with_sklearn():
    report = make_report(Y, P, CLASSES)
    predicted = CLASSES[P.argmax(axis=1)]
    assert report.accuracy == accuracy_score(Y, predicted)
    assert report.f1_macro == pytest.approx(f1_score(Y, predicted, average="macro"))
    assert report.log_loss == pytest.approx(log_loss(Y, P, labels=CLASSES))
    assert list(report.classes) == ["a", "b", "c"]
    assert report.classes["b"].recall == pytest.approx(1 / 3)
    assert report.classes["c"].support == 0
    assert report.confusions == {("b", "a"): 2, ("a", "b"): 1}
    assert list(report.confusions) == [("b", "a"), ("a", "b")]


def test_predictions():
    predictions = make_predictions(list("vwxyz"), Y, P, CLASSES)
    wrong = [(p.text, p.predicted, p.confidence) for p in predictions if not p.correct]
    assert wrong == [("w", "b", 0.7), ("y", "a", 0.5), ("z", "a", 0.6)]


@pytest.mark.parametrize(
    ("scoring", "expected"),
    [
        ("accuracy", 0.4),
        ("neg_log_loss", -log_loss(Y, P, labels=CLASSES)),
        ("f1_macro", f1_score(Y, CLASSES[P.argmax(axis=1)], average="macro")),
        (lambda estimator, X, y: float(len("".join(X))), 5.0),  # X is texts
    ],
)
def test_scoring(scoring, expected):
    assert TextScorer(scoring, CLASSES, list("vwxyz"), Y).score(P) == pytest.approx(expected)


def test_standard_error_is_that_of_a_paired_difference():
    rng = np.random.RandomState(0)
    y = rng.choice(CLASSES, size=400)
    a = rng.dirichlet(np.ones(3), size=400)
    b = a.copy()
    b[:40] = rng.dirichlet(np.ones(3), size=40)
    scorer = TextScorer("neg_log_loss", CLASSES, [str(i) for i in range(400)], y)
    rows = np.arange(400), np.searchsorted(CLASSES, y)
    expected = np.std(np.log(a[rows]) - np.log(b[rows])) / np.sqrt(400)
    assert scorer.standard_error(a, b, rng, 500) == pytest.approx(expected, rel=0.15)
    assert scorer.standard_error(a, a, rng) == 0


@pytest.mark.parametrize(
    "scoring",
    ["roc_auc_ovr", "roc_auc_ovo_weighted", "average_precision", "f1_macro"],
)
def test_standard_error_of_scorers_that_want_every_class(scoring):
    """A resample may lack a class that the gate has one text of."""
    if scoring == "average_precision":
        pytest.importorskip("sklearn", minversion="1.8", reason="it has no such score of strings")
    rng = np.random.RandomState(0)
    y = np.array(["a"] * 10 + ["b"] * 9 + ["c"])
    a, b = rng.dirichlet(np.ones(3), size=(2, 20))
    scorer = TextScorer(scoring, CLASSES, [str(i) for i in range(20)], y)
    assert np.isfinite(scorer.score(a))
    assert 0 < scorer.standard_error(a, b, rng, 50) < 10


def test_the_mean_s_standard_error_is_the_bootstrap_s():
    rng = np.random.RandomState(0)
    y = rng.choice(CLASSES, size=300)
    a, b = rng.dirichlet(np.ones(3), size=(2, 300))
    texts = [str(i) for i in range(300)]
    mean, bootstrap = (
        TextScorer(scoring, CLASSES, texts, y) for scoring in ("accuracy", get_scorer("accuracy"))
    )
    assert mean.standard_error(a, b, rng) == pytest.approx(
        bootstrap.standard_error(a, b, rng, 400), rel=0.15
    )


def test_a_scorer_that_the_gate_is_too_small_for():
    P = np.full((3, 3), 1 / 3)
    scorer = TextScorer("roc_auc_ovr", CLASSES, list("xyz"), np.array(["a", "b", "b"]))
    with pytest.raises(
        InvalidInputError, match="scoring='roc_auc_ovr' .* on the .* labelled texts that decide"
    ):
        scorer.score(P)


def test_a_single_text_proves_nothing():
    for scoring in ("accuracy", "f1_macro"):
        scorer = TextScorer(scoring, CLASSES, ["x"], np.array(["a"]))
        a, b = np.array([[0.9, 0.1, 0.0]]), np.array([[0.1, 0.9, 0.0]])
        assert scorer.standard_error(a, b, np.random.RandomState(0)) == np.inf


def test_a_scorer_that_fails_on_resamples_tells_nothing():
    calls = []

    def scorer(estimator, X, y):
        calls.append(len(X))
        if len(set(X)) < len(X):
            raise ZeroDivisionError
        return 1.0

    gate = TextScorer(scorer, CLASSES, list("vwxyz"), Y)
    assert gate.score(P) == 1.0
    assert gate.standard_error(P, P[::-1], np.random.RandomState(0), 20) == np.inf
    assert len(calls) > 20


@pytest.mark.parametrize("scoring", ["f1_macro", "f1_micro"])
def test_the_counted_standard_error_is_that_of_sklearn_s_f1(scoring):
    rng = np.random.RandomState(0)
    y = rng.choice(CLASSES[:2], size=12)  # resamples lack classes, and predictions have others
    a, b = rng.dirichlet(np.ones(3), size=(2, 12))
    counted, bootstrap = (
        TextScorer(own, CLASSES, list("abcdefghijkl"), y) for own in (scoring, get_scorer(scoring))
    )
    assert counted.standard_error(a, b, np.random.RandomState(1)) == pytest.approx(
        bootstrap.standard_error(a, b, np.random.RandomState(1)), rel=1e-12
    )
