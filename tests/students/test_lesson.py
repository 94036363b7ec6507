import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.labels import indicate
from pgkd.students._lesson import Lesson, check_soft_labels, weigh_classes

CLASSES = np.array(["a", "b", "c"])
LABELS = np.array(["a", "c", "a", "b", "a"])
PROBABILITIES = np.random.default_rng(0).dirichlet(np.ones(3), 5)


def make_lesson(targets=None, weights=(1, 1, 1, 1, 1)):
    targets = indicate(LABELS, CLASSES).astype(float) if targets is None else targets
    return Lesson(list("12345"), targets, np.array(weights, dtype=float))


def test_loss_is_the_log_loss():
    weights = np.array([1, 2, 0, 1, 3])
    expected = log_loss(LABELS, PROBABILITIES, sample_weight=weights)
    assert make_lesson(weights=weights).measure_loss(PROBABILITIES) == pytest.approx(expected)
    certain = indicate(LABELS, CLASSES).astype(float)
    assert make_lesson().measure_loss(certain) == pytest.approx(0, abs=1e-12)
    two_wrong = make_lesson().measure_loss(certain[::-1])  # finite all the same
    assert two_wrong == pytest.approx(-0.4 * np.log(np.finfo(float).eps))


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 3.0, "b": np.float32(0.5)}, {}])
def test_class_weights_of_labels_are_sample_weights(class_weight):
    weighed = weigh_classes(make_lesson(), class_weight, CLASSES)
    factors = dict.fromkeys("abc", 1.0) | class_weight if class_weight != "balanced" else "balanced"
    np.testing.assert_allclose(weighed.weights, compute_sample_weight(factors, LABELS))
    np.testing.assert_array_equal(weighed.targets, make_lesson().targets)


def test_balanced_means_the_weights():
    """A class whose texts weigh little gets as much in all as the others."""
    weighed = weigh_classes(make_lesson(weights=(0.1, 1, 0.1, 1, 0.1)), "balanced", CLASSES)
    totals = weighed.weights @ weighed.targets
    np.testing.assert_allclose(totals, totals[0])


def test_class_weights_of_soft_labels():
    """The loss is that in which each class's part is multiplied."""
    targets = np.random.default_rng(1).dirichlet(np.ones(3), 5)
    factors = np.array([2.0, 1.0, 0.0])
    weighed = weigh_classes(make_lesson(targets), dict(zip("abc", factors)), CLASSES)
    losses = -(targets * factors * np.log(PROBABILITIES)).sum(axis=1)
    found = -(weighed.targets * np.log(PROBABILITIES)).sum(axis=1) * weighed.weights
    np.testing.assert_allclose(found, losses)
    np.testing.assert_allclose(weighed.targets.sum(axis=1), 1)


def test_odd_class_weights():
    with pytest.warns(UserWarning, match="1 label.s. that y has not, e.g. 'd'"):
        weighed = weigh_classes(make_lesson(), {"d": 5.0}, CLASSES)
    assert weighed.weights.tolist() == [1] * 5
    for wrong in (-1.0, "2", np.nan):
        with pytest.raises(InvalidInputError, match=r"`class_weight`.*\[0, inf\). Got .* for 'a'"):
            weigh_classes(make_lesson(), {"a": wrong}, CLASSES)
    with pytest.raises(InvalidInputError, match="No text has a weight"):
        weigh_classes(make_lesson(), dict.fromkeys("abc", 0.0), CLASSES)
    lonely = make_lesson(indicate("aaaaa", CLASSES).astype(float))  # b and c: no text
    assert np.isfinite(weigh_classes(lonely, "balanced", CLASSES).weights).all()


@pytest.mark.parametrize(
    ("soft_labels", "message"),
    [
        (np.ones((4, 3)) / 3, r"Got shape \(4, 3\)"),
        (np.ones((5, 2)) / 2, r"of shape \(5, 3\).*Got shape \(5, 2\)"),
        (np.ones((5, 3)), r"Got \[1.0, 1.0, 1.0\] in row 0"),
        ([[0.5, 0.5, 0]] * 4 + [[1.5, -0.5, 0]], "in row 4"),
        ([[np.nan, 0.5, 0.5]] * 5, "in row 0"),
        ([["a"] * 3] * 5, "could not convert"),
    ],
)
def test_bad_soft_labels(soft_labels, message):
    with pytest.raises(InvalidInputError, match=message):
        check_soft_labels(soft_labels, LABELS, CLASSES)


def test_soft_labels_sum_to_one():
    given = np.array([[0.2, 0.3, 0.5002]] * 5)
    np.testing.assert_allclose(check_soft_labels(given, LABELS, CLASSES).sum(axis=1), 1, rtol=1e-12)
    assert given[0, 2] == 0.5002


def test_soft_labels_go_by_the_names_of_their_columns():
    given = np.full((len(LABELS), len(CLASSES)), 1 / len(CLASSES))
    given[:, 0], given[:, 1] = 2 / len(CLASSES), 0
    turned = pd.DataFrame(given[:, ::-1], columns=CLASSES[::-1])
    np.testing.assert_allclose(check_soft_labels(turned, LABELS, CLASSES), given)
    with pytest.raises(InvalidInputError, match="Got columns"):
        check_soft_labels(turned.rename(columns={CLASSES[0]: "other"}), LABELS, CLASSES)
    unnamed = pd.DataFrame(given)
    np.testing.assert_allclose(check_soft_labels(unnamed, LABELS, CLASSES), given)
