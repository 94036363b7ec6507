"""No label where the student is not sure enough, and a threshold that keeps its promise."""

import numpy as np
import pytest
from conftest import make_classifier
from sklearn.exceptions import NotFittedError

from pgkd import PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.export.withholding import withhold
from pgkd.models.abstention import choose_threshold


def choose(is_right, top=None, min_accuracy=0.9, confidence=0.95):
    """Of texts in the order of falling confidence."""
    is_right = np.array(is_right, dtype=bool)
    top = np.linspace(1, 0.3, len(is_right)) if top is None else np.array(top)
    return choose_threshold(
        top, is_right, min_accuracy=min_accuracy, confidence=confidence, on_gate=False
    )


@pytest.mark.parametrize(
    ("n_right_of_each_quarter", "coverage"),
    [
        ([40, 40, 40, 40], 1),
        ([40, 40, 40, 30], 0.75),
        ([40, 40, 20, 20], 0.5),
        ([40, 38, 35, 36], 0.5),  # 149 of 160 have p = 0.106, 113 of 120 p = 0.087
    ],
)
def test_thresholds_by_hand(n_right_of_each_quarter, coverage):
    is_right = np.concatenate([np.arange(40) < n for n in n_right_of_each_quarter])
    found = choose(is_right)
    assert found.coverage.value == coverage
    kept = np.linspace(1, 0.3, 160) >= found.threshold
    assert kept.mean() == coverage
    assert found.accuracy.value == is_right[kept].mean()
    assert found.accuracy.low > 0.9
    assert (found.threshold == 0) == (coverage == 1)
    assert found.accuracy_of_all.value == is_right.mean()


def test_ties_stay_together():
    found = choose([True] * 100 + [False] * 20, top=[0.9] * 60 + [0.8] * 40 + [0.4] * 20)
    assert (found.threshold, found.coverage.value) == (pytest.approx(0.6), 100 / 120)


def test_rounding_changes_no_decision():
    """In another batch, or exported, a text's probability is another in the seventh digit."""
    top = np.linspace(1, 0.3, 160)
    found = choose([True] * 80 + [False] * 80, top=top)
    for shift in (-1e-6, 1e-6):
        assert np.mean(top + shift >= found.threshold) == found.coverage.value == 0.5


def test_nothing_can_be_shown():
    with pytest.raises(InvalidInputError, match="28 of 28 texts rightly.*least 29 texts"):
        choose([True] * 28)
    assert choose([True] * 29).coverage.value == 1
    with pytest.raises(InvalidInputError, match="60 of 80 .*the 20 that it is surest of, 0"):
        choose([False] * 20 + [True] * 60, top=[0.9] * 20 + [0.5] * 60)


def test_the_promise_is_kept():
    """A student that is right in 90 % wherever it is sure is hardly ever found to be better."""
    rng = np.random.default_rng(0)
    n_found = 0
    for _ in range(300):
        try:
            n_found += choose(rng.random(200) < 0.9).n_texts == 200
        except InvalidInputError:
            continue
    assert 1 <= n_found <= 0.06 * 300  # 0.05, and the chance of 300 draws


@pytest.mark.parametrize(
    ("labels", "label", "expected"),
    [
        (["card", "pin"], "not sure at all", ["card", "not sure at all"]),
        (["card", "pin"], -1, ["card", -1]),
        ([3, 1], -1, [3, -1]),
        ([True, False], "unsure", [True, "unsure"]),
        ([True, False], -1, [True, -1]),
    ],
)
def test_labels_keep_their_type(labels, label, expected):
    found = withhold(np.array(labels), np.array([False, True]), label).tolist()
    assert found == expected
    assert [type(x) for x in found] == [type(x) for x in expected]


@pytest.fixture
def clf(teacher, student, data):
    clf = make_classifier(
        teacher,
        student,
        max_cycles=1,
        samples_per_cycle=6,
        validation_fraction=0.5,
        random_state=0,
    )
    return clf.fit(*data)


ODD = ["my card", "who knows", "the pin code"]


def test_classifier(clf):
    assert (clf.threshold_, clf.abstention_) == (None, None)
    assert clf.fit_threshold(min_accuracy=0.8) is clf
    assert clf.abstention_.on_gate
    assert clf.abstention_.n_texts == 30
    clf.abstention_ = choose([True] * 60 + [False] * 20, top=[0.7] * 60 + [0.5] * 20)
    assert clf.threshold_ == 0.6
    assert clf.abstains(ODD).tolist() == [False, True, False]
    assert clf.predict(ODD, abstain_label="unsure").tolist() == ["card", "unsure", "pin"]
    assert clf.predict(ODD, -1).tolist() == ["card", -1, "pin"]
    assert "unsure" not in clf.predict(ODD)
    assert clf.predict([], abstain_label="unsure").tolist() == []
    assert list(clf.predict_iter(iter(ODD), window_size=2, abstain_label=-1)) == ["card", -1, "pin"]
    assert str(clf.abstention_) in str(clf.report())


def test_in_words(clf, data):
    """The gate has also chosen what is learnt; other texts have not."""
    text = str(clf.fit_threshold(min_accuracy=0.8).abstention_)
    assert "on 30 labelled texts, which have also chosen what it learns: 100.0 % (" in text
    assert "Asked for: more than 80 %, with 95 % confidence." in text
    text = str(clf.fit_threshold(*data, min_accuracy=0.9).abstention_)
    assert "on 60 texts: 100.0 % (" in text


def test_texts_of_ones_own(clf, data):
    clf.fit_threshold(*data, min_accuracy=0.9, confidence=0.9)
    assert not clf.abstention_.on_gate
    assert clf.abstention_.n_texts == 60


def test_saved(clf, data, tmp_path):
    clf.fit_threshold(min_accuracy=0.8).save(tmp_path / "model")
    again = PGKDClassifier.load(tmp_path / "model")
    assert again.abstention_ == clf.abstention_
    assert (again.abstains(ODD) == clf.abstains(ODD)).all()
    with pytest.raises(InvalidInputError, match="gone after `load`"):
        again.fit_threshold()
    assert again.fit_threshold(*data).abstention_.n_texts == 60


def test_refit_makes_another_student(clf):
    clf.fit_threshold(min_accuracy=0.8).refit()
    assert clf.threshold_ is None
    with pytest.raises(InvalidInputError, match="tell nothing after `refit`"):
        clf.fit_threshold()


def test_what_cannot_work(clf, data):
    with pytest.raises(InvalidInputError, match="call `fit_threshold`"):
        clf.predict(ODD, abstain_label="unsure")
    with pytest.raises(InvalidInputError, match="call `fit_threshold`"):
        clf.abstains(ODD)
    with pytest.raises(
        InvalidInputError, match=r"`min_accuracy` must be a float in \(0, 1\). Got 95"
    ):
        clf.fit_threshold(min_accuracy=95)
    with pytest.raises(InvalidInputError, match="`confidence` must be"):
        clf.fit_threshold(confidence=1)
    with pytest.raises(InvalidInputError, match="y is None"):
        clf.fit_threshold(data[0])
    with pytest.raises(InvalidInputError, match=r"classes \['card', .*Got none of them.* e.g. 0:"):
        clf.fit_threshold(data[0], np.arange(len(data[0])) % 3)
    clf.fit_threshold(min_accuracy=0.8)
    with pytest.raises(InvalidInputError, match="none of the classes. Got 'pin'.*'unsure'"):
        clf.predict(ODD, abstain_label="pin")
    with pytest.raises(InvalidInputError, match=r"one str, int or bool. Got \['unsure'\]"):
        clf.predict(ODD, abstain_label=["unsure"])
    with pytest.raises(NotFittedError):
        PGKDClassifier().fit_threshold()


def test_any_number_of_texts(clf):
    """A window at a time; the message counts from the first text."""
    n_read = 0

    def read():
        nonlocal n_read
        while True:
            n_read += 1
            yield ODD[n_read % 3]

    stream = clf.predict_iter(read(), window_size=4)
    assert n_read == 0
    assert next(stream) == clf.predict(ODD[1:2])[0]
    assert n_read == 4
    stream = clf.predict_iter(["a", "b", None], window_size=2)
    assert len([next(stream), next(stream)]) == 2
    with pytest.raises(InvalidInputError, match=r"X\[2:3\] must be.*Got None at position 0"):
        next(stream)
    for texts, message in [
        ("my card", "a single str"),
        (3, "a single int"),
        ({"text": "my card"}, "a dict instead: pass its text column"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            clf.predict_iter(texts)
    with pytest.raises(InvalidInputError, match="`window_size` must be an int of 1 or more. Got 0"):
        clf.predict_iter(ODD, window_size=0)
