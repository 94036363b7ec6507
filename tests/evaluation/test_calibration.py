"""Calibrated probabilities say how often the student is right, and change no label."""

import joblib
import numpy as np
import pytest
from conftest import make_classifier
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV

from pgkd import PGKDClassifier
from pgkd.evaluation.calibration import (
    MIN_TEXTS,
    _Gaps,
    apply_temperature,
    calibrate,
    fit_temperature,
)
from pgkd.inputs.labelled import LabelledTexts


def draw(n, temperature, n_classes=4, seed=0):
    """Probabilities that are calibrated once their logits are divided by `temperature`."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, n_classes))
    true = softmax(logits, axis=1)
    codes = (rng.random((n, 1)) > true.cumsum(axis=1)).sum(axis=1)
    return softmax(logits * temperature, axis=1), codes


def make_gate(codes):
    return LabelledTexts([f"text {i}" for i in range(len(codes))], np.array(list("abcd"))[codes])


def calibrate_drawn(n, temperature):
    probabilities, codes = draw(n, temperature)
    return calibrate(make_gate(codes), probabilities, np.array(list("abcd")), seed=0)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_temperature_is_found(temperature):
    probabilities, codes = draw(3000, temperature)
    assert fit_temperature(probabilities, codes) == pytest.approx(temperature, rel=0.1)


class Known(ClassifierMixin, BaseEstimator):
    """Its inputs are its probabilities."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return self.classes_[X.argmax(axis=1)]


def test_temperature_is_that_of_sklearn_where_texts_are_many():
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator
    probabilities, codes = draw(2000, 2.0)
    sklearn = CalibratedClassifierCV(
        frozen(Known().fit(probabilities, codes)), method="temperature"
    )
    try:
        sklearn.fit(probabilities, codes)
    except ValueError:
        pytest.skip("scikit-learn has temperature scaling since 1.8")
    ours = apply_temperature(probabilities, fit_temperature(probabilities, codes))
    np.testing.assert_allclose(ours, sklearn.predict_proba(probabilities), atol=2e-3)


def test_few_texts_say_little():
    """On a gate without a mistake the likelihood alone would ask for temperature 0."""
    probabilities = np.tile([0.6, 0.4], (20, 1))
    temperatures = [fit_temperature(probabilities[:n], np.zeros(n, dtype=int)) for n in (0, 1, 20)]
    assert temperatures[0] == pytest.approx(1, abs=1e-3)
    assert 0.7 < temperatures[1] < 1
    assert 0.1 < temperatures[2] < 0.5


def test_a_class_that_cannot_be_predicted_tells_nothing():
    probabilities, codes = draw(200, 2.0)
    more = np.vstack([probabilities, [[1, 0, 0, 0]]])
    expected = fit_temperature(probabilities, codes)
    assert fit_temperature(more, np.append(codes, 3)) == pytest.approx(expected)
    assert apply_temperature(more, 2.0)[-1].tolist() == [1, 0, 0, 0]


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(any), min_size=1),
    st.floats(0.05, 20),
)
def test_no_label_changes(rows, temperature):
    probabilities = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    scaled = apply_temperature(probabilities, temperature)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    chosen = scaled[np.arange(len(rows)), probabilities.argmax(axis=1)]
    assert (chosen == scaled.max(axis=1)).all()


def test_temperature_1_is_left_alone():
    probabilities, _ = draw(5, 1.0)
    assert apply_temperature(probabilities, 1.0) is probabilities


@pytest.mark.parametrize("temperature", [0.3, 3.0])
def test_what_betters_the_log_loss_is_taken(temperature):
    calibration = calibrate_drawn(300, temperature)
    assert calibration.temperature == calibration.fitted == pytest.approx(temperature, rel=0.3)
    gain = calibration.log_loss_before - calibration.log_loss_after
    assert gain > calibration.standard_error > 0
    low, high = calibration.ece_reduction[1:]
    assert 0 < low < calibration.ece_before - calibration.ece_after < high
    assert 0 < calibration.ece_by_chance < calibration.ece_before
    assert ("too sure" in str(calibration)) == (temperature > 1)


def test_what_cannot_be_told_from_luck_is_not():
    calibration = calibrate_drawn(100, 1.0)
    assert calibration.temperature == 1.0 != calibration.fitted
    assert "the student's own" in str(calibration)


def test_the_measured_texts_had_no_part_in_the_temperature():
    """A temperature fitted on them would never raise their log loss; here it does."""
    losses = [calibrate_drawn(n, 1.0) for n in (25, 35, 50)]
    assert any(one.log_loss_after > one.log_loss_before for one in losses)


def test_too_few_texts():
    assert calibrate_drawn(MIN_TEXTS - 1, 3.0) is None
    assert calibrate_drawn(MIN_TEXTS, 3.0) is not None
    probabilities, codes = draw(MIN_TEXTS, 3.0)
    copies = LabelledTexts(["a", "A"] * (MIN_TEXTS // 2), np.array(list("abcd"))[codes])
    assert calibrate(copies, probabilities, np.array(list("abcd")), seed=0) is None


def test_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.95, 0.05], [0.55, 0.45], [0.3, 0.7]])
    gaps = _Gaps(probabilities, np.array([0, 1, 1, 1]))  # bins 13, 14, 8 and 10 of 15
    expected = (abs(0.9 - 1) + 0.95 + 0.55 + abs(0.7 - 1)) / 4
    assert gaps.measure() == pytest.approx(expected)
    sure = _Gaps(np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 1]))
    assert sure.measure() == pytest.approx(0.25)


@pytest.fixture
def clf(teacher, student):
    return make_classifier(
        teacher,
        student,
        max_cycles=1,
        samples_per_cycle=6,
        validation_fraction=0.5,
        random_state=0,
    )


def test_classifier(clf, data):
    """A regularised TF-IDF pipeline is not sure enough of itself."""
    clf.fit(*data)
    assert clf.temperature_ == clf.calibration_.temperature < 0.8
    assert clf.calibration_.n_texts == 30
    own = clf.student_.predict_proba(data[0])
    np.testing.assert_allclose(
        clf.predict_proba(data[0]), apply_temperature(own, clf.temperature_), atol=1e-12
    )
    raw = clone(clf).set_params(evidence__calibrate=False).fit(*data)
    assert (raw.temperature_, raw.calibration_) == (1.0, None)
    assert (raw.predict_proba(data[0]) == own).all()
    assert (raw.predict(data[0]) == clf.predict(data[0])).all()


@pytest.mark.parametrize(("n", "is_calibrated"), [(18, False), (21, True)])
def test_it_takes_20_labelled_texts(student, data, n, is_calibrated):
    X, y = data
    clf = make_classifier(None, student, random_state=0).fit(X[:n], y[:n])
    assert (clf.calibration_ is not None) == is_calibrated
    assert ("for want of 20 labelled texts" in str(clf.report())) == (not is_calibrated)


def test_report(clf, data):
    report = clf.fit(*data).report()
    assert report.calibration == clf.calibration_
    assert f"with temperature {clf.temperature_:.3g}" in str(report)
    assert f"| {clf.calibration_.ece_before:.4f} | {clf.calibration_.ece_after:.4f} |" in str(
        report
    )
    assert report.to_dict()["calibration"]["temperature"] == clf.temperature_
    assert "not calibrated" in str(clf.set_params(evidence__calibrate=False).fit(*data).report())


def test_saved_and_pickled(clf, data, tmp_path):
    expected = clf.fit(*data).predict_proba(data[0])
    clf.save(tmp_path / "model")
    joblib.dump(clf, tmp_path / "pickle")
    for again in (PGKDClassifier.load(tmp_path / "model"), joblib.load(tmp_path / "pickle")):
        assert (again.predict_proba(data[0]) == expected).all()
        assert again.calibration_ == clf.calibration_
        assert str(again.report()) == str(clf.report())


def test_the_temperature_stays_with_refit(clf, data):
    temperature = clf.fit(*data).temperature_
    assert clf.refit().temperature_ == temperature
