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
import scipy.sparse
from sklearn import metrics
from sklearn.base import BaseEstimator
from sklearn.cluster._kmeans import _BaseKMeans
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.metrics._dist_metrics import DistanceMetric64
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS
from sklearn.neighbors import BallTree, KDTree
from sklearn.neighbors._base import NeighborsBase
from sklearn.svm._base import BaseLibSVM
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

#: What a linear part is made of, and has to be a number.
_WEIGHTS = {"coef_", "coefs_", "idf_", "intercept_", "intercepts_"}
#: By which of its nodes skops may make what: it looks at names alone, and some nodes call the name
#: that they have. Others than these call methods, or functions with arguments of the file's.
LOADERS = {
    "BytesNode": ("builtins.bytes",),
    "DTypeNode": ("numpy.dtype",),
    "DefaultDictNode": ("collections.defaultdict",),
    "DictNode": ("builtins.dict", "collections.OrderedDict", "sklearn.utils._bunch.Bunch"),
    "FunctionNode": ("numpy.", "scipy.special.", "sklearn."),
    "JsonNode": ("",),
    "ListNode": ("builtins.list",),
    "LossNode": ("_loss.", "sklearn._loss.", "sklearn.linear_model._sgd_fast."),
    "MaskedArrayNode": ("numpy.ma.",),
    "NdArrayNode": ("numpy.",),
    "ObjectNode": ("scipy.sparse.", "sklearn."),
    "RandomGeneratorNode": ("numpy.random.",),
    "RandomStateNode": ("numpy.random.",),
    "SetNode": ("builtins.set",),
    "SliceNode": ("builtins.slice",),
    "SparseMatrixNode": ("scipy.sparse.",),
    "TreeNode": ("sklearn.tree._tree.Tree",),
    "TupleNode": ("builtins.tuple", "sklearn.gaussian_process.kernels.Hyperparameter"),
    "TypeNode": ("builtins.", "numpy.", "sklearn."),
}

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


def check_parts(estimator: Any) -> None:
    """Refuse an estimator with which scikit-learn would read files, or memory that is not its own.

    Its compiled code follows numbers of children, features, classes and columns without a look at
    their bounds. Trees of nearest neighbours are made anew of their texts.

    Raises
    ------
    ValueError
    """
    parts = list(walk(estimator))
    checked = set()
    for part in parts:
        params = vars(part) if isinstance(part, BaseEstimator) else {}
        if params.get("input", "content") != "content":
            raise ValueError(f"{type(part).__name__} would take texts for files")
        if params.get("memory") is not None:
            raise ValueError(f"{type(part).__name__} would read a cache, which is a pickle")
        for name in _WEIGHTS & params.keys():
            arrays = params[name] if isinstance(params[name], list) else [params[name]]
            if not all(np.isfinite(getattr(own, "data", own)).all() for own in arrays):
                raise ValueError(f"{name!r} of {type(part).__name__} has what is no number")
        if isinstance(part, DistanceMetric64):  # a tree makes its own
            raise ValueError("a metric has numbers of its own: name it instead")
        if scipy.sparse.issparse(part):
            part.check_format(full_check=True)
        if not _is_sound(part):
            raise ValueError(f"{type(part).__name__} has numbers that point outside of it")
        for tree in _list_trees(part):
            _check_tree(tree, part.n_features_in_)
            checked.add(id(tree))
        if isinstance(search := getattr(part, "_tree", None), _SEARCHES):
            params = part.effective_metric_params_
            part._tree = type(search)(
                part._fit_X, part.leaf_size, metric=part.effective_metric_, **params
            )
            checked.add(id(part._tree))
    for part in walk(estimator):
        if isinstance(part, (Tree, TreePredictor, *_SEARCHES)) and id(part) not in checked:
            raise ValueError("a tree is no part of an estimator that could check its texts")


_SEARCHES = (BallTree, KDTree)


def _is_sound(part: Any) -> bool:
    """Whether the arrays of an estimator, other than trees, fit to one another."""
    if isinstance(part, CountVectorizer) and hasattr(part, "vocabulary_"):
        return sorted(part.vocabulary_.values()) == list(range(len(part.vocabulary_)))
    if isinstance(part, BaseLibSVM) and hasattr(part, "_n_support"):
        n_classes, n = len(part._n_support), len(part.support_)
        n_pairs = n_classes * (n_classes - 1) // 2
        weights = part._dual_coef_
        is_made = callable(part.kernel) and len(part._BaseLibSVM__Xfit) == part.shape_fit_[0]
        return bool(
            (part._n_support >= 0).all()
            and part._n_support.sum() == n
            and (is_made or part.support_vectors_.shape == (n, part.n_features_in_))
            and ((part.support_ >= 0) & (part.support_ < part.shape_fit_[0])).all()
            and weights.shape == (n_classes - 1, n)
            and (weights.nnz if scipy.sparse.issparse(weights) else weights.size) == weights.size
            and len(part._intercept_) == n_pairs
            and {len(part._probA), len(part._probB)} <= {0, n_pairs}
        )
    if isinstance(part, NeighborsBase) and hasattr(part, "_fit_X"):
        codes = np.asarray(getattr(part, "_y", []))
        is_known = not isinstance(getattr(part, "classes_", None), np.ndarray) or bool(
            ((codes >= 0) & (codes < len(part.classes_))).all()
            and len(codes) == part._fit_X.shape[0]
        )
        return is_known and part._fit_X.shape[1] == part.n_features_in_
    if isinstance(part, _BaseKMeans) and hasattr(part, "cluster_centers_"):
        return bool(part.cluster_centers_.shape[1] == part.n_features_in_)
    if isinstance(part, BaseGradientBoosting) and hasattr(part, "estimators_"):
        return bool(part.estimators_.shape[1:] == (part.n_trees_per_iteration_,))
    return True


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
