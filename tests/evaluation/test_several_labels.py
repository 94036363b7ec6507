"""Reports, gate scores and thresholds of texts with several labels, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, get_scorer, hamming_loss, log_loss, make_scorer

from pgkd.evaluation.label_thresholds import choose_label_thresholds
from pgkd.evaluation.report import make_predictions, make_report
from pgkd.evaluation.scoring import TextScorer
from pgkd.exceptions import InvalidInputError
from pgkd.inputs.labels import to_array, to_sets

CLASSES = np.array(["b", "a", "c"])  # the columns of a matrix are in any order
TRUE = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 0]])
P = np.array([[0.9, 0.2, 0.1], [0.8, 0.3, 0.2], [0.6, 0.4, 0.1], [0.1, 0.2, 0.3], [0.2, 0.7, 0.1]])
Y = to_array(to_sets(TRUE, CLASSES), CLASSES)
GIVEN = (P > 0.5).astype(int)


def draw(n=200, k=4, seed=0):
    rng = np.random.RandomState(seed)
    true = rng.rand(n, k) < [0.5, 0.3, 0.2, 0.1]
    noise = rng.normal(0, 1, (2, n, k))
    a, b = (1 / (1 + np.exp(-(2 * true - 1.5 + e))) for e in noise)
    classes = np.array(list("abcd"))
    return a, b, true.astype(int), to_array(to_sets(true, classes), classes), classes


def test_report_agrees_with_sklearn():
    report = make_report(Y, P, CLASSES)
    assert report.accuracy == 0.6 == (TRUE == GIVEN).all(axis=1).mean()
    assert report.n_texts == 5
    assert report.f1_micro == pytest.approx(f1_score(TRUE, GIVEN, average="micro"))
    assert list(report.classes) == ["b", "a", "c"]
    assert report.classes["c"].support == 0
    of_each = f1_score(TRUE, GIVEN, average=None, zero_division=0)
    assert [score.f1 for score in report.classes.values()] == pytest.approx(of_each)
    assert report.f1_macro == pytest.approx(of_each[:2].mean())  # of those that have a text
    losses = [log_loss(TRUE[:, c], P[:, c], labels=[0, 1]) for c in range(3)]
    assert report.log_loss == pytest.approx(sum(losses))
    assert report.confusions == {("a", "b"): 1}  # missed, and the other given wrongly


def test_predictions_say_how_sure_the_mistake_is():
    predictions = make_predictions(list("vwxyz"), Y, P, CLASSES)
    assert [(p.predicted, p.correct) for p in predictions] == [
        (("b",), True),
        (("b",), False),
        (("b",), False),
        ((), True),
        (("a",), True),
    ]
    # The least sure of right decisions, the surest of wrong ones.
    assert [p.confidence for p in predictions] == pytest.approx([0.8, 0.7, 0.6, 0.7, 0.7])


@pytest.mark.parametrize(
    "scoring",
    ["accuracy", "f1_macro", "f1_micro", "f1_samples", "f1_weighted", "jaccard_samples"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")  # "c" is nowhere
def test_scoring_is_sklearn_s(scoring):
    score = get_scorer(scoring)._score_func(TRUE, GIVEN, **get_scorer(scoring)._kwargs)
    assert TextScorer(scoring, CLASSES, list("vwxyz"), Y).score(P) == pytest.approx(score)


def test_log_loss_and_ranking_scores():
    a, _, true, y, classes = draw()
    texts = list(map(str, range(200)))
    report = make_report(y, a, classes)
    scorer = TextScorer("neg_log_loss", classes, texts, y)
    assert scorer.score(a) == pytest.approx(-report.log_loss)
    roc = TextScorer("roc_auc", classes, texts, y)
    assert roc.score(a) == pytest.approx(get_scorer("roc_auc")._score_func(true, a))
    two = TextScorer("roc_auc", classes[:2], texts, to_array(to_sets(true[:, :2], classes[:2]), 0))
    assert two.score(a[:, :2]) == pytest.approx(
        get_scorer("roc_auc")._score_func(true[:, :2], a[:, :2])
    )


def test_a_callable_gets_indicator_matrices():
    def scorer(estimator, X, y):
        assert (y == TRUE).all()
        return -hamming_loss(y, estimator.predict(X))

    gate = TextScorer(scorer, CLASSES, list("vwxyz"), Y)
    assert gate.score(P) == pytest.approx(-3 / 15)
    with pytest.raises(InvalidInputError, match="scoring='f1' cannot be computed.*multilabel"):
        TextScorer("f1", CLASSES, list("vwxyz"), Y).score(P)


@pytest.mark.parametrize("scoring", ["accuracy", "f1_samples", "f1_macro", "f1_micro"])
def test_the_fast_standard_errors_are_the_bootstrap_s(scoring):
    a, b, _, y, classes = draw()
    texts = list(map(str, range(200)))
    scorers = (TextScorer(s, classes, texts, y) for s in (scoring, get_scorer(scoring)))
    fast, slow = (s.standard_error(a, b, np.random.RandomState(1)) for s in scorers)
    assert fast == pytest.approx(slow, rel=1e-9 if scoring in ("f1_macro", "f1_micro") else 0.15)
    scorer = TextScorer(scoring, classes, texts, y)
    assert scorer.standard_error(a, a, np.random.RandomState(0)) == 0


def test_thresholds_are_chosen_where_they_are_measured_to_help():
    a, _, true, y, classes = draw(400)
    timid = a * [0.4, 1, 0.4, 0.4]  # never sure of three labels
    texts = list(map(str, range(400)))
    scorer = TextScorer("f1_macro", classes, texts, y)
    thresholds = choose_label_thresholds(scorer, timid, seed=0)
    assert (thresholds[[0, 2, 3]] < 0.45).all()
    before, after = (
        f1_score(true, timid > t, average="macro", zero_division=0) for t in (0.5, thresholds)
    )
    assert after > before + 0.1
    same = make_scorer(f1_score, average="macro", zero_division=0)
    again = choose_label_thresholds(TextScorer(same, classes, texts, y), timid, seed=0)
    assert (again == thresholds).all()


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc", "accuracy", "f1_macro"])
def test_thresholds_stay_where_nothing_is_measured(scoring):
    rng = np.random.RandomState(0)
    true = rng.rand(60, 4) < 0.3
    classes = np.array(list("abcd"))
    y = to_array(to_sets(true, classes), classes)
    p = np.where(true, 0.9, 0.1)  # right already
    scorer = TextScorer(scoring, classes, list(map(str, range(60))), y)
    assert (choose_label_thresholds(scorer, p, seed=0) == 0.5).all()
    tiny = TextScorer(scoring, classes, ["x"] * 4, y[:4])
    assert (choose_label_thresholds(tiny, p[:4], seed=0) == 0.5).all()
