"""`Evidence`: how the labelled texts are used to decide."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from pgkd.system.component import Component


class Evidence(Component):
    """How the labelled texts decide what the student learns; the defaults are made to be left.

    Parameters
    ----------
    validation_fraction : float, default=None
        ``None``: every labelled text decides, predicted by a student that has not learnt it, fold
        by fold. A share in (0, 1): so many of them are held out as a gate that decides alone, for
        students that take long to train. `X_val` is a gate as well.
    feedback : {"out_of_fold", "validation"}, default="out_of_fold"
        The texts on which the teacher is shown how the student does: those to learn from, out of
        fold; or the gate itself, as in the paper, which makes what it decides optimistic.
    n_folds : int, default=5
    synthetic_weight : float or "auto", default="auto"
        Weight of texts beside the labelled ones, in (0, inf); a labelled text has 1. ``"auto"``: 1
        for names, 0.1 for texts that the student labels itself; for each route of the teacher, and
        for logs, chosen among 1, 0.3 and 0.1 by what it does to the student. Always 1 for a student
        that takes no ``sample_weight``.
    keep_all : bool, default=False
        Learn all that is bought, whatever the labelled texts say: for ablations.
    patience : int, default=2
        Batches in a row without a gain after which a route is given up.
    probe_size : int, default=40
        Labelled texts that the teacher labels before it is relied on, at most; 0: none.
    scout : classifier, default=None
        A cheap student, e.g. TF-IDF with a linear model, that takes the student's place until all
        is decided. The student itself is then trained on the outcome, and on the labelled texts
        alone, and the better one is taken.
    calibrate : bool, default=True
        Whether `predict_proba` is calibrated by temperature scaling, if that betters the log loss
        by more than a standard error. It changes no label, and takes 20 labelled texts.
    label_threshold : float or "auto", default="auto"
        With several labels a text, the probability, in (0, 1), above which a label is given.
        ``"auto"``: 0.5 unless, for a `scoring` of decisions such as ``"f1_macro"``, thresholds
        label by label are better by more than one standard error.

    Examples
    --------
    The paper's own setting, in which the gate is shown to the teacher and all texts weigh the same:

    >>> from pgkd import Evidence
    >>> Evidence(validation_fraction=0.2, feedback="validation", synthetic_weight=1.0)
    Evidence(feedback='validation', synthetic_weight=1.0, validation_fraction=0.2)
    """

    _parameter_constraints = {  # noqa: RUF012
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "feedback": [StrOptions({"out_of_fold", "validation"})],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "synthetic_weight": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "keep_all": ["boolean"],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "probe_size": [Interval(Integral, 0, None, closed="left")],
        "scout": [HasMethods(["fit", "predict_proba", "get_params"]), None],
        "calibrate": ["boolean"],
        "label_threshold": [Interval(Real, 0, 1, closed="neither"), StrOptions({"auto"})],
    }

    def __init__(
        self,
        *,
        validation_fraction: float | None = None,
        feedback: str = "out_of_fold",
        n_folds: int = 5,
        synthetic_weight: float | str = "auto",
        keep_all: bool = False,
        patience: int = 2,
        probe_size: int = 40,
        scout: Any = None,
        calibrate: bool = True,
        label_threshold: float | str = "auto",
    ) -> None:
        self.validation_fraction = validation_fraction
        self.feedback = feedback
        self.n_folds = n_folds
        self.synthetic_weight = synthetic_weight
        self.keep_all = keep_all
        self.patience = patience
        self.probe_size = probe_size
        self.scout = scout
        self.calibrate = calibrate
        self.label_threshold = label_threshold
