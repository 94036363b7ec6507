"""The scikit-learn contract, in three layers.

1. The data-free checks, called on the estimator and on every component.
2. All of ``check_estimator``, through an adapter that writes rows of numbers as texts.
3. The tools of scikit-learn that users put around a classifier.
"""

import json
import pickle

import joblib
import numpy as np
import pytest
import sklearn
from conftest import WordTeacher, write_hard
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_score,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks as checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from pgkd import Evidence, PGKDClassifier
from pgkd.callbacks import (
    JSONLinesCallback,
    MLflowCallback,
    PrintProgress,
    TensorBoardCallback,
    WandbCallback,
)
from pgkd.records import Example, Generation
from pgkd.samplers import PerformanceGuidedSampler, UncertaintySampler, UnguidedSampler
from pgkd.students import EmbeddingStudent, TransformerStudent
from pgkd.teachers import (
    AnthropicTeacher,
    BedrockTeacher,
    CachedTeacher,
    FunctionTeacher,
    LLMTeacher,
    OpenAITeacher,
)
from pgkd.testing import PoolTeacher, ScriptedTeacher

ESTIMATOR = PGKDClassifier(WordTeacher(), make_pipeline(TfidfVectorizer(), LogisticRegression()))
COMPONENTS = [
    Evidence(),
    UncertaintySampler(),
    PerformanceGuidedSampler(),
    UnguidedSampler(),
    EmbeddingStudent(),
    TransformerStudent(),
    LLMTeacher(),
    OpenAITeacher("m", api_key="sk-1"),
    AnthropicTeacher("m", api_key="sk-1"),
    BedrockTeacher("m", api_key="sk-1"),
    FunctionTeacher(str),
    CachedTeacher(LLMTeacher(), "a.sqlite"),
    ScriptedTeacher(["a"]),
    PoolTeacher(["a"], ["b"]),
    PrintProgress(),
    JSONLinesCallback("run.jsonl"),
    MLflowCallback(),
    WandbCallback(),
    TensorBoardCallback("runs"),
]


def named(estimator):
    return type(estimator).__name__, estimator


# 1. Without data


@pytest.mark.parametrize(
    "check",
    [
        checks.check_estimator_cloneable,
        checks.check_no_attributes_set_in_init,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_estimator_repr,
    ],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize(
    "estimator", [ESTIMATOR, *COMPONENTS], ids=lambda estimator: type(estimator).__name__
)
def test_data_free(check, estimator):
    teachers = (OpenAITeacher, AnthropicTeacher, BedrockTeacher)
    if isinstance(estimator, teachers) and check is checks.check_set_params:
        pytest.skip("sets api_key to odd types, which are not keys")
    check(*named(clone(estimator)))


@pytest.mark.parametrize(
    "check",
    [
        checks.check_parameters_default_constructible,
        checks.check_do_not_raise_errors_in_init_or_set_params,
        checks.check_valid_tag_types,
        checks.check_mixin_order,
        checks.check_estimator_tags_renamed,
    ],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize("cls", [PGKDClassifier, EmbeddingStudent, TransformerStudent])
def test_data_free_estimators(check, cls):
    check(cls.__name__, cls())


def test_tags():
    tags = ESTIMATOR.__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array


# 2. check_estimator, through an adapter


def write_rows(X):
    return [json.dumps(row) for row in np.asarray(X, dtype=float).tolist()]


def read_rows(texts):
    return np.array([json.loads(text) for text in texts])


class JitterTeacher(BaseEstimator):
    """Writes rows next to those it is shown."""

    def generate(self, requests):
        for request in requests:
            rng = np.random.default_rng(len(request.examples))
            examples = tuple(
                Example(write_rows([np.add(json.loads(e.text), rng.normal(0, 0.01))])[0], e.label)
                for e in request.examples
            )
            yield Generation(request, examples)


class NumericPGKD(PGKDClassifier):
    """Takes rows of numbers, as check_estimator gives them, and hands them on as texts."""

    def __init__(self, max_cycles=1, random_state=0):
        super().__init__(
            JitterTeacher(),
            make_pipeline(FunctionTransformer(read_rows), LogisticRegression()),
            routes=("write",),  # the name of a class is no row of numbers
            max_cycles=max_cycles,
            samples_per_cycle=4,
            random_state=random_state,
        )

    def fit(self, X, y, sample_weight=None):
        X, y = validate_data(self, X, y)
        return super().fit(write_rows(X), y, sample_weight)

    def predict_proba(self, X):
        sklearn.utils.validation.check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return super().predict_proba(write_rows(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.input_tags.two_d_array = True
        tags.classifier_tags.multi_label = False  # see NumericSets
        return tags


class NumericSets(NumericPGKD):
    """The same with several labels a text."""

    def __init__(self, max_cycles=1, random_state=0):
        super().__init__(max_cycles, random_state)
        self.student = make_pipeline(
            FunctionTransformer(read_rows), OneVsRestClassifier(LogisticRegression())
        )
        self.class_names = list("abcde")  # of the five columns that the checks have

    def fit(self, X, y, sample_weight=None):
        X = validate_data(self, X)
        return PGKDClassifier.fit(self, write_rows(X), y, sample_weight)


EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "repeated texts decide in their fold as often "
    "as they stand there, weighted ones once: what is taken may differ",
}


@parametrize_with_checks([NumericPGKD()], expected_failed_checks=lambda estimator: EXPECTED)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "check",
    [
        checks.check_classifiers_multilabel_representation_invariance,
        checks.check_classifiers_multilabel_output_format_predict,
        checks.check_classifiers_multilabel_output_format_predict_proba,
    ],
    ids=lambda check: check.__name__,
)
def test_several_labels_a_text(check):
    check("NumericSets", NumericSets())


# 3. What users put around it


def with_pool(clf):
    return clf.set_params(teacher=PoolTeacher(["pin x"], [1]))


@pytest.fixture
def clf(teacher, student):
    return PGKDClassifier(
        teacher,
        student,
        max_cycles=1,
        samples_per_cycle=6,
        evidence=Evidence(probe_size=0),  # the teachers here know none of the labelled texts
        random_state=0,
    )


def test_clone_and_nested_parameters(clf):
    copy = clone(clf).set_params(
        student__logisticregression__C=7, sampler=UnguidedSampler(n_examples=1)
    )
    assert copy.get_params()["student__logisticregression__C"] == 7
    assert copy.get_params()["sampler__n_examples"] == 1
    assert clf.student[-1].C == 1


def test_parameters_of_the_evidence_can_be_searched(clf, hard):
    """A wrong teacher does harm only where all is kept: the search finds that out."""
    clf = clf.set_params(
        teacher=WordTeacher(wrong=True, write=write_hard),
        routes=("write",),
        samples_per_cycle=60,
        evidence=Evidence(probe_size=0, synthetic_weight=1.0),
    )
    search = GridSearchCV(clf, {"evidence__keep_all": [True, False]}, cv=3, error_score="raise")
    search.fit(*hard)
    assert search.best_params_ == {"evidence__keep_all": False}
    assert search.best_estimator_.evidence.keep_all is False
    assert clf.evidence.keep_all is False


def test_components_are_left_as_they_were(clf, data):
    clf.fit(*data)
    assert not hasattr(clf.student[-1], "coef_")
    assert clf.student_ is not clf.student


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search(clf, data, n_jobs):
    search = GridSearchCV(
        clf.set_params(teacher=PoolTeacher(["pin code x", "card y"], ["pin", "card"])),
        {"student__logisticregression__C": [1e-4, 10]},
        cv=3,
        n_jobs=n_jobs,
        error_score="raise",
    ).fit(*data)
    assert search.best_params_ == {"student__logisticregression__C": 10}
    assert search.predict(["my pin code"]).tolist() == ["pin"]


def test_pipeline(clf, data):
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    assert make_pipeline(lower, clf).fit(*data).score(*data) > 0.9


def test_validation_data_through_cross_validation(clf, data):
    """Fit parameters of another length than X pass through cross-validation unsliced."""
    params = {"X_val": data[0][:12], "y_val": data[1][:12]}
    with pytest.warns(UserWarning, match="texts of X are in X_val as well"):
        scores = cross_val_score(clf, *data, cv=3, params=params)
    assert scores.mean() > 0.8


@pytest.mark.parametrize(
    "wrap",
    [
        lambda clf: CalibratedClassifierCV(clf, cv=2),
        # These two turn labels into numbers before the classifier, and so the teacher, sees them.
        lambda clf: VotingClassifier([("a", with_pool(clf)), ("b", clf)], voting="soft"),
        lambda clf: StackingClassifier([("a", with_pool(clf))], cv=2),
        lambda clf: OneVsRestClassifier(with_pool(clf)),
    ],
    ids=["calibrated", "voting", "stacking", "one-vs-rest"],
)
def test_meta_estimators(wrap, clf, data):
    model = wrap(clf).fit(*data)
    assert model.score(*data) > 0.9
    assert model.predict_proba(data[0][:2]).shape == (2, 3)


def test_thresholds_learning_curve_and_halving(clf, data):
    X, y = data[0], [label == "pin" for label in data[1]]
    clf = clf.set_params(teacher=PoolTeacher(["pin x"], [True]))
    assert TunedThresholdClassifierCV(clf, cv=2).fit(X, y).score(X, y) > 0.8
    _, _, scores = learning_curve(clf, X, y, train_sizes=[0.5, 1.0], cv=2, error_score="raise")
    assert scores.shape == (2, 2)
    grid = {"student__logisticregression__C": [0.1, 10]}
    search = HalvingGridSearchCV(
        clf, grid, cv=2, min_resources=20, error_score="raise", random_state=0
    )
    assert search.fit(X, y).score(X, y) > 0.8


def test_metadata_routing(clf, data):
    with sklearn.config_context(enable_metadata_routing=True):
        routed = clone(clf).set_fit_request(sample_weight=True)
        scores = cross_val_score(
            routed.set_score_request(sample_weight=False),
            *data,
            cv=2,
            params={"sample_weight": np.ones(len(data[1]))},
        )
    assert scores.mean() > 0.8


def test_sample_weight_reaches_the_student(clf, data):
    X, y = data
    weight = np.where(np.array(y) == "pin", 50.0, 1.0)
    plain, weighted = clone(clf).fit(X, y), clone(clf).fit(X, y, sample_weight=weight)
    unknown = ["nothing known here"]
    assert weighted.predict_proba(unknown)[0, 1] > plain.predict_proba(unknown)[0, 1] + 0.2


@pytest.mark.parametrize("copy", [lambda m: pickle.loads(pickle.dumps(m)), None])
def test_pickle(clf, data, copy, tmp_path):
    clf.fit(*data)
    if copy is None:
        joblib.dump(clf, tmp_path / "model")
        restored = joblib.load(tmp_path / "model")
    else:
        restored = copy(clf)
    np.testing.assert_array_equal(clf.predict_proba(data[0]), restored.predict_proba(data[0]))
    assert restored.history_ == clf.history_


def test_a_failed_fit_stays_unfitted(clf, data):
    class Broken(BaseEstimator):
        def generate(self, requests):
            raise OSError

    clf.set_params(teacher=Broken())
    with pytest.raises(RuntimeError):
        clf.fit(*data)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        clf.predict(data[0])


def test_same_seed_same_probabilities(clf, data):
    head = LogisticRegression(solver="saga", max_iter=1000)  # which draws
    clf.set_params(random_state=3, student=make_pipeline(TfidfVectorizer(), head))
    first = clone(clf).fit(*data).predict_proba(data[0])
    second = clone(clf).fit(*data).predict_proba(data[0])
    np.testing.assert_array_equal(first, second)
