"""`PGKDClassifier`: the scikit-learn contract, and nothing else."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from pgkd.callbacks import PrintProgress
from pgkd.evaluation.calibration import apply_temperature, calibrate
from pgkd.exceptions import InvalidInputError
from pgkd.inputs.label_sets import THRESHOLD
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.targets import find_kind
from pgkd.inputs.validation import check_mask
from pgkd.loop.distillation import FACTORS, Distillation
from pgkd.loop.evidence import Evidence
from pgkd.loop.learner import Learner
from pgkd.loop.preparation import is_without_labels, prepare
from pgkd.loop.routes import ROUTES
from pgkd.loop.task import Settings
from pgkd.models import persistence
from pgkd.models.abstention import AbstainingClassifier
from pgkd.protocols import Callback, Sampler, Teacher
from pgkd.records import Event, Example, FloatArray, Label, SyntheticText
from pgkd.students.base import predict_label_proba, predict_proba
from pgkd.system.ranks import broadcast, check_shared, is_main_process

if TYPE_CHECKING:
    from pgkd.inputs.logs import Logs
    from pgkd.loop.planning import Plan
    from pgkd.reporting.report import Report


class PGKDClassifier(AbstainingClassifier):
    """Distil an LLM that classifies texts into a small, fast classifier.

    `fit` begins with the labelled texts, takes what is free (the names of the classes, logs,
    unlabelled texts), finds out what the teacher is good for, buys that, cycle by cycle, and stops
    when it no longer pays. Every step is taken only if the labelled texts, each predicted by
    a student that has not learnt it, say that it helps. Without a teacher it ends with what is
    free.

    Parameters
    ----------
    teacher : teacher, default=None
        Writes texts, and labels them if it has ``annotate(requests)``: any object with
        ``generate(requests)``, such as :class:`~pgkd.teachers.OpenAITeacher` or a subclass of
        :class:`~pgkd.teachers.LLMTeacher`. ``None``: nothing is bought.
    student : classifier, default=None
        A scikit-learn classifier of texts with ``predict_proba``, e.g. a ``Pipeline`` of a
        vectorizer and a linear model, or one of :mod:`pgkd.students`. ``None``:
        :class:`~pgkd.students.EmbeddingStudent`, which trains in seconds on a CPU;
        ``TransformerStudent("bert-base-uncased")`` is the paper's.
    sampler : sampler, default=None
        Decides what the teacher is asked for and shown. ``None``:
        :class:`~pgkd.samplers.PerformanceGuidedSampler` for what it writes,
        :class:`~pgkd.samplers.UncertaintySampler` for what it labels.
    routes : sequence of str, default=("names", "unlabelled", "describe", "label", "write")
        The ways by which texts may reach the student: the names of the classes, `X_unlabeled` with
        the student's own labels, and what the teacher describes, labels and writes.
    max_cycles : int, default=10
        At most so many batches are bought. 0: nothing is.
    samples_per_cycle : int, default=200
        Texts asked for in a batch.
    max_cost : float, default=None
        Spend no more US dollars than that; the teacher's price must be known. Fits that share
        `run_dir`, such as those of a grid search, share the budget as well.
    max_tokens : int, default=None
        Buy no more tokens than that, input and output together.
    scoring : str or callable, default="accuracy"
        What is to become better: a scikit-learn scorer name or ``scorer(estimator, X, y)``,
        greater is better. With several labels a text, ``"neg_log_loss"`` is the sum over the
        labels, and a callable gets indicator matrices.
    evidence : Evidence, default=None
        How the labelled texts decide: out of fold or by a gate, see :class:`~pgkd.Evidence`.
    task_description : str, default=None
        What is classified and why, in a sentence or two, for the teacher.
    class_descriptions : dict of label to str, default=None
        What belongs to each class, for the student and the teacher. A class without a labelled text
        is learnt too; no labelled text can judge that.
    class_names : sequence of labels, default=None
        All classes, where some or all have no labelled text; or names of the columns of an
        indicator matrix `y` that has none.
    run_dir : str or path, default=None
        Directory in which every answer of an LLM teacher is kept before it is used. The same `fit`
        with the same directory goes on where it was cut off, and pays for no answer twice.
    callbacks : list of callbacks, default=None
        Objects with ``on_event(event)``.
    random_state : int, RandomState instance or None, default=None
        Seeds the folds, the sampler and every ``random_state`` of the student.
    verbose : int, default=0
        1 prints a line a step, 2 also one for each answer of the teacher.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        Sorted; of an indicator matrix, the names of its columns, in their order.
    multilabel_ : bool
        Whether texts have several labels each.
    label_thresholds_ : array of shape (n_classes,) or None
        With several labels a text, the probabilities above which each is given.
    student_ : classifier
        Trained on all labelled texts and on what was found to help.
    history_ : list of :class:`~pgkd.records.Step`
        Step 0 is the labelled texts alone.
    synthetic_ : list of :class:`~pgkd.records.SyntheticText`
        Every text beside the labelled ones and its verdict; ``pandas.DataFrame(clf.synthetic_)`` is
        a table.
    usage_ : :class:`~pgkd.records.Usage`
        Requests, tokens and US dollars taken from the teacher.
    n_cycles_ : int
        Batches bought.
    probe_ : :class:`~pgkd.records.Probe` or None
        What the teacher was found to be good for; ``None`` without a probe.
    stop_reason_ : {"no_teacher", "probe", "exhausted", "patience", "max_cycles", "budget", \
            "teacher_error", "error", "interrupted"}
    comparison_ : :class:`~pgkd.records.Comparison` or None
        What the student gains on one of the labelled texts alone, out of fold; ``None`` without
        labelled texts.
    temperature_ : float
        By which the logits of ``student_`` are divided; 1.0 if it is not calibrated.
    calibration_ : :class:`~pgkd.evaluation.calibration.Calibration` or None
        What calibration was measured to do; ``None`` without it.
    threshold_ : float or None
        The least probability of a label for `predict` with `abstain_label`; ``None`` before
        `fit_threshold`.
    abstention_ : :class:`~pgkd.models.abstention.Abstention` or None
        What the threshold was measured to do.
    labelled_diversity_ : :class:`~pgkd.records.Diversity` or None
        Of the labelled texts; that of the others is in `history_`.
    refit_mask_ : array of bool of shape (n_synthetic,) or None
        The texts of `synthetic_` that ``student_`` has learnt, if `refit` was called.

    References
    ----------
    Performance-Guided LLM Knowledge Distillation for Efficient Text Classification at Scale,
    https://arxiv.org/abs/2411.05045

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from pgkd import PGKDClassifier
    >>> from pgkd.testing import PoolTeacher
    >>> texts = ["good film", "great cast", "fine plot", "bad film", "poor cast", "dull plot"]
    >>> labels = ["pos", "pos", "pos", "neg", "neg", "neg"]
    >>> teacher = PoolTeacher(["a good one", "great fun", "a bad one", "poor fun"],
    ...                       ["pos", "pos", "neg", "neg"])
    >>> clf = PGKDClassifier(
    ...     teacher, make_pipeline(TfidfVectorizer(), LogisticRegression()),
    ...     max_cycles=2, samples_per_cycle=2, random_state=0,
    ... ).fit(texts, labels)
    >>> clf.predict(["good fun"]).tolist()
    ['pos']
    >>> [step.route for step in clf.history_][:2]
    ['labelled', 'names']
    """

    _parameter_constraints = {  # noqa: RUF012
        "max_cycles": [Interval(Integral, 0, None, closed="left")],
        "samples_per_cycle": [Interval(Integral, 1, None, closed="left")],
        "max_cost": [Interval(Real, 0, None, closed="neither"), None],
        "max_tokens": [Interval(Integral, 1, None, closed="left"), None],
        "scoring": [str, callable],
        "task_description": [str, None],
        "class_descriptions": [Mapping, None],
        "class_names": ["array-like", None],
        "run_dir": [str, os.PathLike, None],
        "callbacks": [list, tuple, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        teacher: Teacher | None = None,
        student: Any = None,
        sampler: Sampler | None = None,
        *,
        routes: Sequence[str] = ROUTES,
        max_cycles: int = 10,
        samples_per_cycle: int = 200,
        max_cost: float | None = None,
        max_tokens: int | None = None,
        scoring: Any = "accuracy",
        evidence: Evidence | None = None,
        task_description: str | None = None,
        class_descriptions: Mapping[Label, str] | None = None,
        class_names: Sequence[Label] | None = None,
        run_dir: str | os.PathLike[str] | None = None,
        callbacks: Sequence[Callback] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.sampler = sampler
        self.routes = routes
        self.max_cycles = max_cycles
        self.samples_per_cycle = samples_per_cycle
        self.max_cost = max_cost
        self.max_tokens = max_tokens
        self.scoring = scoring
        self.evidence = evidence
        self.task_description = task_description
        self.class_descriptions = class_descriptions
        self.class_names = class_names
        self.run_dir = run_dir
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        X_unlabeled: Any = None,
        logs: Logs | None = None,
    ) -> PGKDClassifier:
        """Train the student on the labelled texts and on all that is found to help.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,), default=None
            The labelled texts; some are shown to the teacher. ``None``: there are none, and the
            classes are those of `class_descriptions`, `class_names` or `logs`. Nothing vouches for
            such a student.
        y : array-like of shape (n_texts,), default=None
            Their labels: str, int or bool. For several labels a text: a list, tuple or set of
            labels for each, or an indicator matrix of shape (n_texts, n_classes), sparse, dense or
            a DataFrame, whose columns are the classes.
        sample_weight : array-like of shape (n_texts,), default=None
            Weights of the labelled texts in the student's training; other texts have up to 1.
        X_val, y_val : default=None
            Texts and labels that decide alone: a gate. The teacher never sees them (but with
            ``Evidence(feedback="validation")``) and the student never trains on them. Copies of
            them in `X` are left out.
        X_unlabeled : list, 1-D array or Series of str, or UnlabeledTexts, default=None
            Texts without a label: the student teaches itself those it is surest of, and the
            teacher, which sees them, labels some of which it is not. Wrap them in
            :class:`~pgkd.UnlabeledTexts` for cross-validation.
        logs : Logs, default=None
            Texts that an LLM has labelled before, see :func:`pgkd.read_logs`. They cost nothing,
            and are trusted as far as the labelled texts say.

        Returns
        -------
        self : PGKDClassifier

        Raises
        ------
        InvalidInputError
            If texts, labels or components cannot work; before any money is spent.
        TeacherError
            If the teacher fails at once. Later on, `fit` warns and keeps what it has.
        """
        self._validate_params()
        data = {"X": X, "y": y, "sample_weight": sample_weight, "X_val": X_val, "y_val": y_val}
        data |= {"X_unlabeled": X_unlabeled, "logs": logs}
        data, random_state = broadcast((data, check_random_state(self.random_state)))
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            run = prepare(
                Settings.of(self),
                data,
                random_state=random_state,
                scratch=Path(scratch),
                emit=self._emit,
            )
            stop_reason = run.run()
            student = self._train_on_all(run)
        judged = run.predict_judges()
        multilabel = run.task.multilabel
        calibration = None
        if judged is not None and run.evidence.calibrate and not multilabel:
            calibration = calibrate(*judged, run.classes, run.seed)

        self.classes_ = run.classes
        self.label_thresholds_ = None
        if multilabel:
            self.label_thresholds_ = self._choose_thresholds(run, judged)
        self._target_kind = (
            "labels" if is_without_labels(data["X"], data["y"]) else find_kind(data["y"])
        )
        self.student_ = student
        self.history_ = run.history
        self.synthetic_ = run.synthetic
        self.usage_ = run.usage
        self.probe_ = run.probe
        self.n_cycles_ = run.n_cycles
        self.stop_reason_ = stop_reason
        self.comparison_ = run.comparison
        self.labelled_diversity_ = run.labelled_diversity
        self.refit_mask_: NDArray[np.bool_] | None = None
        self.calibration_ = calibration
        self.abstention_ = None
        self._judged = None if judged is None else (judged[1], judged[0].y)
        self._labelled = run.labelled.take(run.splits.learnable)
        self._seed = run.seed
        return self

    def _choose_thresholds(
        self, run: Distillation, judged: tuple[LabelledTexts, FloatArray] | None
    ) -> FloatArray:
        if run.evidence.label_threshold != "auto":
            return np.full(len(run.classes), float(run.evidence.label_threshold))
        default = np.full(len(run.classes), THRESHOLD)
        if judged is None:
            return default
        judges, probabilities = judged
        from pgkd.evaluation.sets import SetScorer

        try:
            scorer = SetScorer(self.scoring, run.classes, judges.texts, judges.y)
            return scorer.choose_thresholds(probabilities, run.seed)
        except (Exception, KeyboardInterrupt) as error:  # what was bought must not be lost to it
            check_shared(error)
            warnings.warn(f"No thresholds were chosen ({error!r}): all are 0.5.", stacklevel=3)
            return default

    def _train_on_all(self, run: Distillation) -> Any:
        try:
            return run.fit_student()
        except (Exception, KeyboardInterrupt) as error:
            if not run.current.parts:
                raise
            check_shared(error)
            warnings.warn(
                f"Training the student on what was found to help failed ({error!r}); `student_` "
                "has learnt the labelled texts alone. `refit` tries again.",
                stacklevel=3,
            )
            return run.fit_student(run.baseline)

    def refit(self, mask: Any = None) -> PGKDClassifier:
        """Train ``student_`` anew on the labelled texts and on generated ones of your choice.

        The teacher is not asked. `synthetic_`, `history_` and `comparison_` go on to describe what
        `fit` did; ``refit_mask_`` tells what ``student_`` has learnt since.

        Parameters
        ----------
        mask : array-like of bool of shape (n_synthetic,), callable or None, default=None
            Which texts of `synthetic_` are learnt; a callable gets each
            :class:`~pgkd.records.SyntheticText` and returns a bool. ``None``: the accepted ones, so
            that ``student_`` becomes what `fit` made it. A text that was not accepted gets the
            weight of its step, 0.1 if that was not taken.

        Returns
        -------
        self : PGKDClassifier
            Without a threshold: it was measured on another student. The temperature stays.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            If `mask` does not fit `synthetic_`, chooses a text whose label is none of ``classes_``
            or leaves nothing to learn, or the classifier was loaded from a directory, which holds
            no labelled texts. A pickle does.
        """
        check_is_fitted(self)
        if getattr(self, "_labelled", None) is None:
            raise InvalidInputError(
                "`refit` needs the labelled texts, which a saved classifier does not hold: call it "
                "before `save`, or pickle the classifier with joblib.dump instead."
            )
        chosen = check_mask(mask, self.synthetic_, self.classes_)
        examples = [
            Example(text.text, text.label, self._weigh(text))
            for text, is_chosen in zip(self.synthetic_, chosen)
            if is_chosen
        ]
        if not examples and not len(self._labelled):
            raise InvalidInputError(
                "`mask` must choose a text at least, as there are no labelled ones. Got none."
            )
        learner = Learner(
            self.student_, self.classes_, multilabel=self.multilabel_, seed=self._seed
        )
        self.student_ = learner.fit(self._labelled, examples)
        self.refit_mask_ = chosen
        self.abstention_ = self._judged = None
        return self

    def _weigh(self, text: SyntheticText) -> float:
        if text.verdict == "accepted":
            return text.weight
        factor = self.history_[text.cycle].factor if text.cycle < len(self.history_) else 0.0
        return max(factor, min(FACTORS))

    @property
    def temperature_(self) -> float:
        """By which the student's logits are divided."""
        return 1.0 if self.calibration_ is None else self.calibration_.temperature

    def report(self) -> Report:
        """Explain the run, step by step, and what it gained.

        Returns
        -------
        report : Report
            ``print(clf.report())`` is Markdown, as notebooks show it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            If the classifier was saved by a version of pgkd that kept less of the run.
        """
        from pgkd.reporting.report import make_run_report

        check_is_fitted(self)
        return make_run_report(self)

    def plan(
        self,
        X: Any = None,
        y: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        X_unlabeled: Any = None,
        logs: Logs | None = None,
    ) -> Plan:
        """Estimate what `fit` will buy, without a call to the teacher.

        Parameters
        ----------
        X, y, X_val, y_val, X_unlabeled, logs
            As for `fit`.

        Returns
        -------
        plan : Plan
            Requests, tokens and US dollars, each from at least to at most.

        Raises
        ------
        InvalidInputError
            As `fit` does.
        """
        from pgkd.loop.planning import (
            make_plan,  # imports the teachers, which predicting does not need
        )

        self._validate_params()
        data = {"X": X, "y": y, "sample_weight": None, "X_val": X_val, "y_val": y_val}
        data |= {"X_unlabeled": X_unlabeled, "logs": logs}
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            run = prepare(
                Settings.of(self),
                data,
                random_state=copy.deepcopy(self.random_state),  # a plan changes nothing
                scratch=Path(scratch),
                emit=self._emit,
            )
            return make_plan(run)

    def _predict_proba(self, texts: list[str]) -> FloatArray:
        if self.multilabel_:
            return predict_label_proba(self.student_, texts, len(self.classes_))
        probabilities = predict_proba(self.student_, texts, self.classes_)
        return apply_temperature(probabilities, self.temperature_)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Save the fitted classifier to a directory: safetensors, JSON and skops, no pickle.

        The teacher is left out: the saved classifier needs neither its package nor its key. So are
        the labelled texts, but for those that the teacher was shown: they are the `seed_texts` of
        ``synthetic_``.

        Parameters
        ----------
        directory : str or path
            Created if need be; must be empty or hold a saved classifier and nothing else, which is
            replaced.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        PersistenceError
            If the directory holds anything else or cannot be replaced, or the student cannot be
            saved without pickle; nothing is changed then.
        """
        check_is_fitted(self)
        persistence.save(self, Path(directory))

    @classmethod
    def load(
        cls, directory: str | os.PathLike[str], *, trusted: Sequence[str] = ()
    ) -> PGKDClassifier:
        """Load a classifier that `save` wrote.

        Parameters
        ----------
        directory : str or path
        trusted : sequence of str, default=()
            Types of a scikit-learn student that skops does not trust by itself, or the class
            ``"module:Name"`` of a student with a `save` of its own.

        Returns
        -------
        classifier : PGKDClassifier
            Fitted; it predicts the same probabilities as before. `student` is an unfitted clone of
            `student_`. For another `fit`, set again what is not kept: `teacher`, `sampler`,
            `callbacks`, `run_dir`, a callable `scoring` and a RandomState as `random_state`.

        Raises
        ------
        PersistenceError
            If `directory` holds no saved classifier, a damaged one, one of a newer version, or one
            with an untrusted type.
        """
        classifier: PGKDClassifier = persistence.load(cls, Path(directory), trusted)
        return classifier

    def _emit(self, event: Event) -> None:
        if not is_main_process():
            return
        printer = [PrintProgress(self.verbose)] if self.verbose else []
        for callback in [*printer, *(self.callbacks or ())]:
            try:
                callback.on_event(event)
            except Exception as error:  # what was paid for must not be lost to it
                warnings.warn(f"{callback!r} raised {error!r}.", stacklevel=4)
