"""Which types of scikit-learn's are read from a file without being named by the user.

skops trusts the public estimators. These are the parts that they are made of. Each was read: it
holds numbers and parts that are on a list as well, and neither making it nor setting its state does
anything else. It is a list because a rule would not do: among the classes of NumPy and SciPy,
``numpy.memmap`` writes to files, and ``rv_generic`` of ``scipy.stats`` runs code that it was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn import metrics
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS
from sklearn.neighbors import BallTree, KDTree
from sklearn.tree import BaseDecisionTree
from sklearn.tree._tree import Tree

_TYPES = {
    "numpy": ["dtype", "mean"],
    "scipy.sparse._csc": ["csc_array", "csc_matrix"],
    "scipy.sparse._csr": ["csr_array", "csr_matrix"],
    "sklearn.calibration": ["_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling"],
    "sklearn.ensemble._hist_gradient_boosting.predictor": ["TreePredictor"],
    "sklearn.gaussian_process._gpc": ["_BinaryGaussianProcessClassifierLaplace"],
    "sklearn.gaussian_process.kernels": [
        *("CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation"),
        *("Hyperparameter", "Matern", "PairwiseKernel", "Product", "RBF", "RationalQuadratic"),
        *("Sum", "WhiteKernel"),
    ],
    "sklearn.metrics._dist_metrics": [
        *("ChebyshevDistance64", "EuclideanDistance64", "ManhattanDistance64"),
        "MinkowskiDistance64",
    ],
    "sklearn.metrics._scorer": ["_CurveScorer", "_PassthroughScorer", "_Scorer"],
    "sklearn.model_selection._split": [
        *("GroupKFold", "GroupShuffleSplit", "KFold", "LeaveOneGroupOut", "LeaveOneOut"),
        *("LeavePGroupsOut", "LeavePOut", "PredefinedSplit", "RepeatedKFold", "ShuffleSplit"),
        *("RepeatedStratifiedKFold", "StratifiedGroupKFold", "StratifiedKFold"),
        *("StratifiedShuffleSplit", "TimeSeriesSplit", "_CVIterableWrapper"),
    ],
    "sklearn.model_selection._search_successive_halving": [
        *("HalvingGridSearchCV", "HalvingRandomSearchCV"),
    ],
    "sklearn.multiclass": ["_ConstantPredictor"],
    "sklearn.neighbors._ball_tree": ["BallTree"],  # made anew when it is read
    "sklearn.neighbors._kd_tree": ["KDTree"],
    "sklearn.neural_network._stochastic_optimizers": ["AdamOptimizer", "SGDOptimizer"],
    "sklearn.tree._tree": ["Tree"],
    "sklearn.utils._bunch": ["Bunch"],
    # Functions of arrays, which return arrays or a score.
    "sklearn.feature_selection._mutual_info": ["mutual_info_classif"],
    "sklearn.feature_selection._univariate_selection": ["chi2", "f_classif"],
    "sklearn.preprocessing._data": ["binarize", "maxabs_scale", "normalize"],
}
_FUNCTIONS = [
    *(get_scorer(name)._score_func for name in get_scorer_names()),
    *(getattr(metrics, name) for name in metrics.__all__ if name.endswith(("_loss", "_score"))),
    *PAIRWISE_KERNEL_FUNCTIONS.values(),
]

#: Names of types, as skops has them.
TRUSTED = frozenset(f"{module}.{name}" for module, names in _TYPES.items() for name in names) | {
    f"{function.__module__}.{function.__name__}" for function in _FUNCTIONS
}


def walk(part: Any) -> Iterator[Any]:
    """Yield an object and, once each, all that is in it."""
    seen: dict[int, Any] = {}  # which keeps them, so that none gets the id of another one
    left = [part]
    while left:
        part = left.pop()
        if part is None or isinstance(part, (str, bytes, bool, int, float, np.generic, type)):
            continue
        if id(part) in seen:
            continue
        seen[id(part)] = part
        yield part
        if isinstance(part, dict):
            left.extend(part.values())
        elif isinstance(part, (list, tuple, set, frozenset)):
            left.extend(part)
        elif isinstance(part, np.ndarray) and part.dtype == object:
            left.extend(np.asarray(part).ravel().tolist())
        left.extend(getattr(part, "__dict__", {}).values())


def check_trees(estimator: Any) -> None:
    """Refuse trees with which scikit-learn would read memory that is not theirs.

    It follows the numbers of children and features without a look at their bounds, which is why
    skops does not trust trees. Those of nearest neighbours are made anew of their texts.

    Raises
    ------
    ValueError
    """
    checked = set()
    for owner in walk(estimator):
        for tree in _list_trees(owner):
            _check_tree(tree, owner.n_features_in_)
            checked.add(id(tree))
        if isinstance(search := getattr(owner, "_tree", None), _SEARCHES):
            params = owner.effective_metric_params_
            owner._tree = type(search)(
                owner._fit_X, owner.leaf_size, metric=owner.effective_metric_, **params
            )
            checked.add(id(owner._tree))
    for part in walk(estimator):
        if isinstance(part, (Tree, TreePredictor, *_SEARCHES)) and id(part) not in checked:
            raise ValueError("a tree is no part of an estimator that could check its texts")


_SEARCHES = (BallTree, KDTree)


def _list_trees(owner: Any) -> list[Any]:
    """Return the trees that an estimator shows its texts to, with as many features as it has."""
    if isinstance(owner, BaseDecisionTree):
        return [owner.tree_] if hasattr(owner, "tree_") else []
    if isinstance(owner, (BaseForest, BaseGradientBoosting)):
        return [own.tree_ for own in np.ravel(getattr(owner, "estimators_", []))]
    if isinstance(owner, BaseHistGradientBoosting):
        return [tree for trees in getattr(owner, "_predictors", []) for tree in trees]
    return []


def _check_tree(tree: Any, n_features: int) -> None:
    if isinstance(tree, TreePredictor):
        nodes = tree.nodes
        n, is_inner = len(nodes), nodes["is_leaf"] == 0
        children, features = [nodes["left"], nodes["right"]], nodes["feature_idx"]
        is_sound = not nodes["is_categorical"].any()  # which looks elsewhere; no text has any
    else:
        n, is_sound = tree.node_count, 1 <= tree.node_count <= tree.capacity
        if is_sound:  # else the arrays would be read out of bounds right here
            is_inner = tree.children_left != -1
            children, features = [tree.children_left, tree.children_right], tree.feature
    if is_sound and n:
        for own in children:  # each after its parent, so that there is no circle
            below = own[is_inner].astype(np.int64)
            is_sound &= bool(((below > np.flatnonzero(is_inner)) & (below < n)).all())
        used = features[is_inner].astype(np.int64)
        is_sound &= bool(((used >= 0) & (used < n_features)).all())
    if not is_sound or not n:
        raise ValueError("a tree has nodes that point outside of it")
