"""What is written by skops can be read again, and does no harm when it is read."""

import ast
import importlib
import inspect
import textwrap

import numpy as np
import pytest
import scipy.stats
import sklearn
import skops.io
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import FeatureAgglomeration
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.manifold import Isomap
from sklearn.metrics import DistanceMetric, cohen_kappa_score, make_scorer
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    LeavePOut,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, normalize
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators
from sklearn.utils.fixes import parse_version

from pgkd.exceptions import PersistenceError
from pgkd.students import _skops
from pgkd.students._trusted import TRUSTED

X = np.random.RandomState(0).rand(30, 4)
Y = (X[:, 0] > 0.5).astype(int)
LINEAR = LogisticRegression()


@pytest.mark.parametrize(
    "estimator",
    [
        AdaBoostClassifier(n_estimators=3),
        BaggingClassifier(n_estimators=3, max_features=2),
        CalibratedClassifierCV(LinearSVC(), cv=StratifiedKFold(2)),
        CalibratedClassifierCV(LinearSVC(), cv=2, method="isotonic"),
        CalibratedClassifierCV(LINEAR, cv=2, method="temperature"),
        DecisionTreeClassifier(),
        ExtraTreesClassifier(3),
        GaussianProcessClassifier(),
        GradientBoostingClassifier(n_estimators=3),
        GridSearchCV(LINEAR, {"C": [1, 2]}, scoring="f1_macro", cv=2),
        HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2),
        MLPClassifier((3,), max_iter=5),
        MLPClassifier((3,), max_iter=5, solver="sgd"),
        OneVsRestClassifier(SVC()),
        RandomForestClassifier(3),
        SGDClassifier(),
        StackingClassifier([("a", LINEAR), ("b", RandomForestClassifier(3))], cv=2),
        VotingClassifier([("a", LINEAR), ("b", DecisionTreeClassifier())]),
        make_pipeline(SelectKBest(k=2), SelectKBest(chi2, k=1), LINEAR),
        KNeighborsClassifier(),
        KNeighborsClassifier(algorithm="ball_tree", metric="minkowski", p=3, weights="distance"),
        RadiusNeighborsClassifier(5.0, algorithm="kd_tree", metric="manhattan"),
        BaggingClassifier(KNeighborsClassifier(), n_estimators=2, max_features=2),
        make_pipeline(Isomap(n_components=2), LINEAR),
        make_pipeline(FunctionTransformer(normalize), SVC(kernel=cosine_similarity)),
        make_pipeline(FeatureAgglomeration(2), LINEAR),
        GridSearchCV(
            LINEAR, {"C": [1, 2]}, scoring=make_scorer(cohen_kappa_score), cv=LeavePOut(1)
        ),
        GridSearchCV(LINEAR, {"C": [1, 2]}, cv=TimeSeriesSplit(2)),
        GridSearchCV(LINEAR, {"C": [1, 2]}, cv=[(np.arange(15), np.arange(15, 30))]),
        HalvingGridSearchCV(LINEAR, {"C": [1, 2]}, cv=2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_models_of_scikit_learn_need_not_be_named(tmp_path, estimator):
    if getattr(estimator, "method", None) == "temperature":
        pytest.importorskip("sklearn", minversion="1.8", reason="it has no such method")
    estimator.fit(X, Y)
    assert _skops.dump(estimator, tmp_path / "file") == []
    loaded = _skops.load(tmp_path / "file")
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))


@pytest.mark.parametrize("part", [np.memmap, scipy.stats.norm, print, np.load])
def test_what_could_do_harm_must_be_named(tmp_path, part):
    skops.io.dump(LogisticRegression(C=part), tmp_path / "file")
    with pytest.raises(PersistenceError, match="not trusted by default"):
        _skops.load(tmp_path / "file")


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_a_search_that_points_outside_of_its_texts_is_made_anew(tmp_path, algorithm):
    neighbours = KNeighborsClassifier(algorithm=algorithm, leaf_size=5).fit(X, Y)
    expected = neighbours.predict_proba(X)
    state = list(neighbours._tree.__getstate__())
    state[1] = state[1] + 10**6
    neighbours._tree.__setstate__(tuple(state))
    skops.io.dump(neighbours, tmp_path / "file")
    loaded = _skops.load(tmp_path / "file")
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    skops.io.dump(LogisticRegression(C=neighbours._tree), tmp_path / "file")
    with pytest.raises(ValueError, match="no part of an estimator"):
        _skops.load(tmp_path / "file")


def forge(tree, **changes):
    state = tree.__getstate__()
    for name, value in changes.items():
        if name in state:
            state[name] = value
        else:
            state["nodes"][name][0] = value
    tree.__setstate__(state)


@pytest.mark.parametrize(
    "changes", [{"feature": 10**6}, {"left_child": 10**6}, {"right_child": 0}, {"feature": -5}]
)
@pytest.mark.parametrize("cls", [RandomForestClassifier, GradientBoostingClassifier])
def test_a_tree_that_points_outside_of_it_is_refused(tmp_path, cls, changes):
    forest = cls(n_estimators=3).fit(X, Y)
    forge(np.ravel(forest.estimators_)[1].tree_, **changes)
    skops.io.dump(forest, tmp_path / "file")
    with pytest.raises(ValueError, match="nodes that point outside"):
        _skops.load(tmp_path / "file")


def test_a_tree_of_more_nodes_than_it_has_is_refused(tmp_path):
    tree = DecisionTreeClassifier().fit(X, Y)
    state = tree.tree_.__getstate__()
    tree.tree_.__setstate__({**state, "nodes": state["nodes"], "node_count": 0})
    skops.io.dump(tree, tmp_path / "file")
    with pytest.raises(ValueError, match="nodes that point outside"):
        _skops.load(tmp_path / "file")


def test_a_forest_of_fewer_features_than_its_trees_is_refused(tmp_path):
    forest = RandomForestClassifier(3, max_features=1, random_state=0).fit(X, Y)
    forest.n_features_in_ = 1
    skops.io.dump(forest, tmp_path / "file")
    with pytest.raises(ValueError, match="nodes that point outside"):
        _skops.load(tmp_path / "file")


def test_boosted_trees_and_lonely_ones_are_looked_at(tmp_path):
    boosted = HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=2).fit(X, Y)
    boosted._predictors[0][0].nodes["left"][0] = 10**6
    skops.io.dump(boosted, tmp_path / "file")
    with pytest.raises(ValueError, match="nodes that point outside"):
        _skops.load(tmp_path / "file")
    lonely = LogisticRegression(C=DecisionTreeClassifier().fit(X, Y).tree_)
    skops.io.dump(lonely, tmp_path / "file")
    with pytest.raises(ValueError, match="no part of an estimator"):
        _skops.load(tmp_path / "file")


#: What reads files, runs code or finds it by a name; the two that are there need a parameter that
#: `check_parts` refuses, and patterns are compiled and no code.
HARMFUL = {
    *("__import__", "attrgetter", "check_memory", "compile", "ctypes", "eval", "exec", "fromfile"),
    *("import_module", "joblib", "loads", "memmap", "methodcaller", "open", "pickle", "subprocess"),
    *("system", "urlopen"),
}
KNOWN = {"input": {"open", "compile"}, "memory": {"check_memory"}}


COMPILED = {
    *("sklearn.metrics._dist_metrics", "sklearn.neighbors._ball_tree"),
    *("sklearn.neighbors._kd_tree", "sklearn.tree._tree"),
}


def list_names(thing):
    """Return the names that a class or function of scikit-learn's uses, its bases' included."""
    parts = thing.__mro__ if isinstance(thing, type) else [thing]
    parts = [part for part in parts if part.__module__.startswith("sklearn")]
    names = set()
    for part in parts:
        # The base of all is; what is compiled, or made by `namedtuple`, has no source.
        is_made = part.__module__ in COMPILED or getattr(part, "__bases__", None) == (tuple,)
        if part is not BaseEstimator and not is_made:
            tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
            names |= {getattr(node, "id", getattr(node, "attr", None)) for node in ast.walk(tree)}
    return names


def find(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_what_is_trusted_reads_no_files_and_runs_no_code():
    """Also of the estimators that skops trusts by itself."""
    estimators = {f"{cls.__module__}.{cls.__name__}" for _, cls in all_estimators()}
    for name in TRUSTED | estimators:
        try:
            thing = find(name)
        except AttributeError:  # scikit-learn has got it since
            assert parse_version(sklearn.__version__) < parse_version("1.8"), name
            continue
        if not thing.__module__.startswith("sklearn"):
            assert name.startswith(("numpy.dtype", "numpy.mean", "scipy.sparse._cs")), name
            continue
        if not isinstance(thing, type):  # is called, with arrays
            owners = ("metrics", "feature_selection", "preprocessing._data")
            assert name.startswith(tuple(f"sklearn.{owner}." for owner in owners)), name
        params = getattr(thing, "_parameter_constraints", {})
        allowed = set().union(*(KNOWN[param] for param in KNOWN.keys() & params.keys()))
        assert not (list_names(thing) & HARMFUL) - allowed, name


def test_a_metric_with_numbers_of_its_own_is_refused(tmp_path):
    metric = DistanceMetric.get_metric("minkowski", p=3, w=np.ones(4))
    skops.io.dump(KNeighborsClassifier(metric=metric).fit(X, Y), tmp_path / "file")
    with pytest.raises(ValueError, match="name it instead"):
        _skops.load(tmp_path / "file")


def test_a_kernel_of_other_texts_is_refused(tmp_path):
    machine = SVC(kernel=cosine_similarity).fit(X, Y)
    machine.support_[0] = 10**6
    skops.io.dump(machine, tmp_path / "file")
    with pytest.raises(ValueError, match="point outside"):
        _skops.load(tmp_path / "file")
