"""How the loop trains students of scikit-learn's."""

import numpy as np
import pytest
import threadpoolctl
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pgkd.exceptions import InvalidInputError
from pgkd.students.any_student import check_takes_several, fit_quietly, train

X = ["aa bb", "aa cc", "dd ee", "dd ff"] * 3
Y = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 1]] * 3)
WEIGHTS = np.array([1.0, 0.2, 0.5, 1.0] * 3)


@pytest.mark.filterwarnings("ignore:Label 2 is present in all training examples")
def test_weights_reach_each_classifier_and_leave_nothing_behind():
    """As by scikit-learn's own routing; the student has no more than a plain fit would leave."""
    features = TfidfVectorizer().fit_transform(X)
    student = OneVsRestClassifier(LogisticRegression())
    fit_quietly(student, features, Y, {"sample_weight": WEIGHTS})
    with config_context(enable_metadata_routing=True):
        routed = OneVsRestClassifier(LogisticRegression().set_fit_request(sample_weight=True))
        routed.fit(features, Y, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(student.predict_proba(features), routed.predict_proba(features))
    plain = OneVsRestClassifier(LogisticRegression()).fit(features, Y)
    assert vars(student).keys() == vars(plain).keys()
    for own, other in zip(student.estimators_, plain.estimators_):
        assert (type(own), vars(own).keys()) == (type(other), vars(other).keys())
    assert vars(student.estimator) == vars(plain.estimator)


@pytest.mark.parametrize(
    "student",
    [
        OneVsRestClassifier(make_pipeline(TfidfVectorizer(), LogisticRegression())),
        make_pipeline(
            TfidfVectorizer(),
            make_pipeline(
                StandardScaler(with_mean=False), OneVsRestClassifier(LogisticRegression())
            ),
        ),
    ],
)
@pytest.mark.parametrize("routing", [True, False])
def test_weights_find_their_way_through_pipelines(student, routing):
    with config_context(enable_metadata_routing=routing):
        found = [train(student, X, Y, w, 0).predict_proba(X) for w in (None, WEIGHTS)]
    assert not np.allclose(*found)


@pytest.mark.parametrize("cls", [LogisticRegression, MultinomialNB])
def test_a_student_of_one_label_a_text_is_refused_where_there_are_several(cls):
    student = make_pipeline(TfidfVectorizer(), cls())
    with pytest.raises(InvalidInputError, match=rf"pass OneVsRestClassifier\({cls.__name__}"):
        train(student, X, Y, None, 0)
    one = LogisticRegression()
    for last in (OneVsRestClassifier(one), MultiOutputClassifier(one), ClassifierChain(one)):
        check_takes_several(make_pipeline(TfidfVectorizer(), last))
    check_takes_several(KNeighborsClassifier())


class _SeesThreads(BaseEstimator):
    """A step of a pipeline that takes down how many threads a product of matrices may have."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        pools = threadpoolctl.threadpool_info()
        seen.append({pool["num_threads"] for pool in pools if pool["user_api"] == "blas"})
        return np.zeros((len(X), 1))


seen = []


@pytest.mark.parametrize(("n_texts", "n_threads"), [(10, 1), (10_001, 2)])
def test_few_texts_are_learnt_in_one_thread(n_texts, n_threads):
    """Several wait for each other; what comes after has as many as before."""
    student = make_pipeline(_SeesThreads(), LogisticRegression())
    seen.clear()
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        student = train(student, ["a b"] * n_texts, np.arange(n_texts) % 2, None, 0)
        student.predict(["a b"])
    assert seen[0] == {n_threads}
    assert seen[1] == {2}
