"""Thresholds below which the teacher measurably labels better than the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from pgkd.inputs.splitting import Indices
from pgkd.records import FloatArray

#: Thresholds that are tried for a class: quartiles of the asked texts' confidences.
N_THRESHOLDS = 4


@dataclass(frozen=True)
class Trial:
    """Texts of known label that the student was unsure of, as both labelled them.

    Attributes
    ----------
    predicted : array of int of shape (n_texts,)
        The column of the student's class.
    confidence : array of float of shape (n_texts,)
        The student's probability of it.
    lead : array of int of shape (n_texts,)
        1 where the teacher alone is right, -1 where the student alone is, else 0.
    """

    predicted: Indices
    confidence: FloatArray
    lead: Indices

    def take(self, rows: Any) -> Trial:
        """Return the given rows."""
        return Trial(self.predicted[rows], self.confidence[rows], self.lead[rows])


@dataclass(frozen=True, slots=True)
class Rule:
    """For texts that the student takes for one of some classes: up to where the teacher is asked.

    Attributes
    ----------
    classes : tuple
        Columns of the classes; in a report, their labels.
    threshold : float
        The greatest confidence of the student with which a text is escalated; 0.0: none is.
    n_won, n_lost : int
        Texts up to the threshold, or all that the teacher labelled if that is 0.0, of which the
        teacher alone, or the student alone, was right.
    p_value : float
        Of the one-sided exact binomial test (McNemar's) that the teacher wins no more than half of
        these texts.
    """

    classes: tuple[Any, ...]
    threshold: float
    n_won: int
    n_lost: int
    p_value: float


def choose_rules(trial: Trial, n_classes: int, alpha: float) -> list[Rule]:
    """Choose the thresholds: each class by itself, and together those that do not win so.

    Up to a threshold the teacher must win more than half of the texts of which one of the two alone
    is right. Half of `alpha` is for the classes one by one, unless none has texts enough to pass;
    the rest is for the remaining classes together. Each part is divided among its tests. So the
    probability that any threshold is set where the teacher does not win is at most `alpha`.
    Pooling after a look at the classes spends nothing more: what remains has not won, which makes
    it less likely to win together. Of the thresholds that pass, the one that wins most on balance
    is taken, the lowest if there are several.

    Parameters
    ----------
    trial : Trial
    n_classes : int
    alpha : float
        In (0, 1).

    Returns
    -------
    rules : list of Rule
        Each class is in one of them.

    Examples
    --------
    Ten texts of class 0 that the teacher alone gets right, and of class 1 that the student does:

    >>> import numpy as np
    >>> from pgkd.evaluation.thresholds import Trial, choose_rules
    >>> trial = Trial(
    ...     np.repeat([0, 1], 10), np.tile(np.linspace(0.5, 0.95, 10), 2), np.repeat([1, -1], 10)
    ... )
    >>> for rule in choose_rules(trial, n_classes=2, alpha=0.05):
    ...     print(rule.classes, rule.threshold, rule.n_won, rule.n_lost, round(rule.p_value, 4))
    (0,) 0.95 10 0 0.001
    (1,) 0.0 0 10 1.0
    """
    n_discordant = np.bincount(trial.predicted[trial.lead != 0], minlength=n_classes)
    able = np.flatnonzero(0.5**n_discordant <= alpha / 2).tolist()  # the others cannot pass
    alone = [r for r in _choose_each(trial, [(c,) for c in able], alpha / 2) if r.threshold]
    rest = tuple(sorted(set(range(n_classes)).difference(*(rule.classes for rule in alone))))
    left = alpha / 2 if able else alpha
    return [*alone, *_choose_each(trial, [rest] if rest else [], left)]


def divide_level(n_discordant: Sequence[int], alpha: float, share: float = 0.5) -> float:
    """Divide the error rate among tests, so that any of them is wrong with `alpha` at most.

    A test of few texts cannot pass whatever they say, and takes no share.

    Parameters
    ----------
    n_discordant : sequence of int
        For each test, the texts of which one of the two alone is right.
    alpha : float
    share : float, default=0.5
        Of wins, which a test is to refute.

    Returns
    -------
    level : float
        That a p-value must not exceed.

    References
    ----------
    Tarone, A modified Bonferroni method for discrete data, Biometrics 46 (1990).

    Examples
    --------
    Three of the five tests could pass at 0.05 / 3, so that it is divided by three:

    >>> from pgkd.evaluation.thresholds import divide_level
    >>> round(divide_level([20, 12, 7, 4, 0], 0.05), 4)
    0.0167
    """
    least = share ** np.array(n_discordant, dtype=float)
    k = 1
    while (least <= alpha / k).sum() > k:
        k += 1
    return alpha / k


def _choose_each(trial: Trial, groups: Sequence[tuple[int, ...]], alpha: float) -> list[Rule]:
    """Choose a rule for each group of classes, and divide `alpha` among all their tests."""
    tried = [_try_thresholds(trial, classes) for classes in groups]
    level = divide_level([rule.n_won + rule.n_lost for rules in tried for rule in rules], alpha)
    return [_choose(rules, level) for rules in tried]


def _try_thresholds(trial: Trial, classes: tuple[int, ...]) -> list[Rule]:
    own = trial.take(np.isin(trial.predicted, classes))
    confidence = np.sort(own.confidence)
    if not len(confidence):
        return [Rule(classes, 0.0, 0, 0, 1.0)]
    ends = np.ceil(len(confidence) * np.arange(1, N_THRESHOLDS + 1) / N_THRESHOLDS).astype(int)
    thresholds = np.unique(confidence[ends - 1])
    below = own.confidence <= thresholds[:, None]
    won, lost = (below & (own.lead == 1)).sum(axis=1), (below & (own.lead == -1)).sum(axis=1)
    p_values = bdtrc(won - 1, won + lost, 0.5)  # of at least so many wins
    columns = (column.tolist() for column in (thresholds, won, lost, p_values))
    return [Rule(classes, *values) for values in zip(*columns)]


def _choose(rules: Sequence[Rule], level: float) -> Rule:
    passed = [rule for rule in rules if rule.p_value <= level]
    if passed:
        return max(passed, key=lambda rule: rule.n_won - rule.n_lost)  # the lowest of equals
    return replace(rules[-1], threshold=0.0)


def to_array(rules: Sequence[Rule], n_classes: int) -> FloatArray:
    """Return the threshold of each class, shape (n_classes,)."""
    thresholds = np.zeros(n_classes)
    for rule in rules:
        thresholds[list(rule.classes)] = rule.threshold
    return thresholds


def find_least_sure(confidence: FloatArray, share: float) -> Indices:
    """Return the rows of the least confident texts, at most `share` of them; ties stay together."""
    order = np.sort(confidence)
    n = int(share * len(order))
    if n == len(order):
        return np.arange(n)
    return np.flatnonzero(confidence < order[n])


def cross_fit(trial: Trial, fold: Indices, n_classes: int, alpha: float) -> NDArray[np.bool_]:
    """Return which texts are escalated by thresholds that were chosen on the other folds.

    Parameters
    ----------
    trial : Trial
    fold : array of int of shape (n_texts,)
        The number of each text's fold.
    n_classes : int
    alpha : float

    Returns
    -------
    escalated : array of bool of shape (n_texts,)
    """
    thresholds = np.zeros(len(fold))
    for k in np.unique(fold):
        rules = choose_rules(trial.take(fold != k), n_classes, alpha)
        own = fold == k
        thresholds[own] = to_array(rules, n_classes)[trial.predicted[own]]
    escalated: NDArray[np.bool_] = (trial.confidence <= thresholds) & (thresholds > 0)
    return escalated
