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
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from pgkd import persistence
from pgkd.abstention import AbstainingClassifier
from pgkd.calibration import apply_temperature, calibrate
from pgkd.callbacks import PrintProgress
from pgkd.distillation import Distillation
from pgkd.exceptions import InvalidInputError
from pgkd.learning import LabelledTexts, Learner
from pgkd.preparation import prepare
from pgkd.protocols import Callback, Sampler, Teacher
from pgkd.ranks import broadcast, check_shared, is_main_process
from pgkd.records import Event, Example, FloatArray, Label, SyntheticText
from pgkd.selection import FACTORS, HARMFUL
from pgkd.students.base import predict_label_proba, predict_proba
from pgkd.targets import find_kind
from pgkd.validation import check_mask

if TYPE_CHECKING:
    from pgkd.planning import Plan
    from pgkd.reporting import Report


class PGKDClassifier(AbstainingClassifier):
    """Distil an LLM that classifies texts into a small, fast classifier.

    The student is trained on the labelled texts (the baseline); then, cycle by cycle, it is
    evaluated, its confident mistakes are mined, the teacher sees the report and the mistakes and
    writes the next batch of labelled texts, and the student learns from it. A part of the labelled
    texts, the gate, is never shown to the teacher: it decides which cycles are kept, when to stop
    and which student is returned. The baseline is one of the candidates.

    Parameters
    ----------
    teacher : teacher
        Writes the texts: any object with ``generate(requests)``, such as
        :class:`~pgkd.teachers.OpenAITeacher` or a subclass of :class:`~pgkd.teachers.LLMTeacher`.
        It must be given: a default would spend money unasked.
    student : classifier, default=None
        A scikit-learn classifier of texts with ``predict_proba``, e.g. a ``Pipeline`` of a
        vectorizer and a linear model, or one of :mod:`pgkd.students`. ``None``:
        ``TransformerStudent("bert-base-uncased")``, as in the paper.
    sampler : sampler, default=None
        Decides what the teacher is asked for and shown. ``None``:
        :class:`~pgkd.samplers.PerformanceGuidedSampler`.
    scout : classifier, default=None
        A cheap student, e.g. TF-IDF with a linear model, that takes `student`'s place in the loop;
        `student` is then trained on what the scout has learnt, and on the labelled texts alone, and
        the gate chooses. For students that are dear to train.
    max_cycles : int, default=10
        At most so many batches are bought. 0 trains the baseline only.
    samples_per_cycle : int, default=200
        Texts asked for in a cycle.
    patience : int, default=3
        Stop after so many cycles without a better gate score.
    validation_fraction : float, default=0.2
        Share of the labelled texts, in (0, 1), that becomes the gate. Not used with `X_val`.
    feedback : {"out_of_fold", "holdout", "validation", "train"}, default="out_of_fold"
        The texts on which the student's performance is shown to the teacher. Whatever is shown no
        longer tells the truth about the student, hence:

        - ``"out_of_fold"``: the training texts, each predicted by a student that has not seen it.
          Nor one after which the teacher wrote. Safe; trains the student 16 to 26 times in a cycle.
        - ``"holdout"``: a fold of its own, `validation_fraction` of the training texts. Safe; for
          students that are dear to train.
        - ``"validation"``: the gate itself, the paper's setting. The gate score becomes optimistic.
        - ``"train"``: the training texts as the student has learnt them, the naive setting.
    scoring : str or callable, default="neg_log_loss"
        Gate score: a scikit-learn scorer name or ``scorer(estimator, X, y)``, greater is better.
        With several labels a text, ``"neg_log_loss"`` is the sum over the labels, and a callable
        gets indicator matrices.
    synthetic_weight : float or "auto", default="auto"
        Training weight of a generated text, in (0, inf); a labelled one has 1. The texts of a weak
        teacher help at a low weight and harm at a high one. ``"auto"``: chosen in each cycle among
        1, 0.3 and 0.1 by what it does to the student on the feedback texts (out of fold, by
        default), and 0 for a batch that harms at all of them; 1 for a student that takes no
        ``sample_weight``.
    audit_size : int, default=0
        Training texts that the teacher labels before the first cycle, about three times each, to be
        compared with the student: see `audit_`. A teacher that is no better is warned about,
        classes in which it is worse are asked for less, and the weight of a text is multiplied by
        the trust in its label, if the student takes weights. Never gate texts: what the teacher
        sees must not decide what is kept. Needs a teacher with ``annotate(requests)``.
    verification : {"filter", "weight"}, default=None
        Have the teacher label each text that it wrote, without the label that it gave. One that it
        labels otherwise is rejected, or weighs 0.3 as much. It takes about another request for each
        five texts. Texts of `X_unlabeled` are not verified. Needs a teacher with
        ``annotate(requests)``.
    n_candidates : int, default=5
        Classes, the student's likeliest, among which the teacher chooses in the audit and the
        verification; at least 2.
    rollback : bool, default=True
        Whether the gate decides. ``False`` keeps every cycle and returns the last student: for
        ablations, as `synthetic_weight=1.0` is, which leaves nothing to keep a teacher from harm.
    warm_start : bool, default=False
        Go on from the student's weights in each cycle, with ``partial_fit`` on all texts, instead
        of training it anew. If `student` is fitted, it is the baseline as it is. Out-of-fold
        students are always trained anew, or they would have seen their fold.
    min_gain_per_dollar : float, default=None
        Stop when the last `patience` cycles bettered the best gate score by less than that for a US
        dollar.
    refit_on_all : bool, default=True
        Train the student once more on all labelled texts, gate included (never on `X_val`).
    calibrate : bool, default=True
        Whether `predict_proba` is calibrated by temperature scaling, fitted on the gate, if that
        betters the log loss by more than a standard error. It changes no label, and takes a gate of
        at least 20 texts, with one label each.
    task_description : str, default=None
        What is classified and why, in a sentence or two, for the teacher.
    class_descriptions : dict of label to str, default=None
        What belongs to each class, for the teacher. A class without a labelled text is learnt too:
        the teacher writes texts of it before the baseline is trained. The gate cannot judge them.
    class_names : sequence of labels, default=None
        Names of the columns of an indicator matrix `y` that has none, for the teacher and
        `classes_`.
    label_threshold : float or "auto", default="auto"
        With several labels a text, the probability, in (0, 1), above which a label is given.
        ``"auto"``: 0.5 unless, for a `scoring` of decisions such as ``"f1_macro"``, thresholds
        label by label are better on texts that the student has not learnt, by more than one
        standard error. During `fit`, decisions are made at 0.5.
    max_cost : float, default=None
        Spend no more US dollars than that; the teacher's price must be known. Fits that share
        `run_dir`, such as those of a grid search, share the budget as well.
    max_tokens : int, default=None
        Buy no more tokens than that, input and output together.
    run_dir : str or path, default=None
        Directory in which every answer of an LLM teacher is kept before it is used. The same `fit`
        with the same directory goes on where it was cut off, and pays for no answer twice.
    callbacks : list of callbacks, default=None
        Objects with ``on_event(event)``.
    random_state : int, RandomState instance or None, default=None
        Seeds the split, the sampler and every ``random_state`` of the student.
    verbose : int, default=0
        1 prints a line a cycle, 2 also one for each answer of the teacher.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        Sorted; of an indicator matrix, the names of its columns, in their order.
    multilabel_ : bool
        Whether texts have several labels each.
    label_thresholds_ : array of shape (n_classes,) or None
        With several labels a text, the probabilities above which each is given.
    student_ : classifier
        The student that passed: the last one that the gate kept, or the baseline.
    history_ : list of :class:`~pgkd.records.Cycle`
        Cycle 0 is the baseline.
    synthetic_ : list of :class:`~pgkd.records.SyntheticText`
        Every generated text and its verdict; ``pandas.DataFrame(clf.synthetic_)`` is a table.
    usage_ : :class:`~pgkd.records.Usage`
        Requests, tokens and US dollars taken from the teacher.
    n_cycles_ : int
    best_cycle_ : int
        The cycle of `student_`; 0 if the baseline was not beaten.
    audit_ : :class:`~pgkd.records.Audit` or None
        What the audit found; ``None`` without one.
    stop_reason_ : {"max_cycles", "patience", "gain", "budget", "teacher_error", "error", \
            "interrupted"}
    choice_ : :class:`~pgkd.records.Choice`
        The last student that was kept against the baseline.
    temperature_ : float
        By which the logits of ``student_`` are divided; 1.0 if it is not calibrated.
    calibration_ : :class:`~pgkd.calibration.Calibration` or None
        What calibration was measured to do; ``None`` without it.
    threshold_ : float or None
        The least probability of a label for `predict` with `abstain_label`; ``None`` before
        `fit_threshold`.
    abstention_ : :class:`~pgkd.abstention.Abstention` or None
        What the threshold was measured to do.
    labelled_diversity_ : :class:`~pgkd.records.Diversity` or None
        Of the labelled training texts; that of the generated ones is in `history_`.
    refit_mask_ : array of bool of shape (n_synthetic,) or None
        The generated texts that ``student_`` has learnt, if `refit` was called.

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
    ...     max_cycles=2, samples_per_cycle=2, validation_fraction=0.34, random_state=0,
    ... ).fit(texts, labels)
    >>> clf.predict(["good fun"]).tolist()
    ['pos']
    >>> int(clf.refit(lambda text: text.cycle == 1).refit_mask_.sum())
    2
    """

    _parameter_constraints = {  # noqa: RUF012
        "max_cycles": [Interval(Integral, 0, None, closed="left")],
        "samples_per_cycle": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "feedback": [StrOptions({"out_of_fold", "holdout", "validation", "train"})],
        "scoring": [str, callable],
        "synthetic_weight": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "audit_size": [Interval(Integral, 0, None, closed="left")],
        "verification": [StrOptions({"filter", "weight"}), None],
        "n_candidates": [Interval(Integral, 2, None, closed="left")],
        "rollback": ["boolean"],
        "warm_start": ["boolean"],
        "min_gain_per_dollar": [Interval(Real, 0, None, closed="left"), None],
        "refit_on_all": ["boolean"],
        "calibrate": ["boolean"],
        "task_description": [str, None],
        "class_descriptions": [Mapping, None],
        "class_names": ["array-like", None],
        "label_threshold": [Interval(Real, 0, 1, closed="neither"), StrOptions({"auto"})],
        "max_cost": [Interval(Real, 0, None, closed="neither"), None],
        "max_tokens": [Interval(Integral, 1, None, closed="left"), None],
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
        scout: Any = None,
        max_cycles: int = 10,
        samples_per_cycle: int = 200,
        patience: int = 3,
        validation_fraction: float = 0.2,
        feedback: str = "out_of_fold",
        scoring: Any = "neg_log_loss",
        synthetic_weight: float | str = "auto",
        audit_size: int = 0,
        verification: str | None = None,
        n_candidates: int = 5,
        rollback: bool = True,
        warm_start: bool = False,
        min_gain_per_dollar: float | None = None,
        refit_on_all: bool = True,
        calibrate: bool = True,
        task_description: str | None = None,
        class_descriptions: Mapping[Label, str] | None = None,
        class_names: Sequence[Label] | None = None,
        label_threshold: float | str = "auto",
        max_cost: float | None = None,
        max_tokens: int | None = None,
        run_dir: str | os.PathLike[str] | None = None,
        callbacks: Sequence[Callback] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.sampler = sampler
        self.scout = scout
        self.max_cycles = max_cycles
        self.samples_per_cycle = samples_per_cycle
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.feedback = feedback
        self.scoring = scoring
        self.synthetic_weight = synthetic_weight
        self.audit_size = audit_size
        self.verification = verification
        self.n_candidates = n_candidates
        self.rollback = rollback
        self.warm_start = warm_start
        self.min_gain_per_dollar = min_gain_per_dollar
        self.refit_on_all = refit_on_all
        self.calibrate = calibrate
        self.task_description = task_description
        self.class_descriptions = class_descriptions
        self.class_names = class_names
        self.label_threshold = label_threshold
        self.max_cost = max_cost
        self.max_tokens = max_tokens
        self.run_dir = run_dir
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        X_unlabeled: Any = None,
    ) -> PGKDClassifier:
        """Distil the teacher into the student.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)
            The labelled texts. A part of them is shown to the teacher.
        y : array-like of shape (n_texts,)
            Their labels: str, int or bool. For several labels a text: a list, tuple or set of
            labels for each, or an indicator matrix of shape (n_texts, n_classes), sparse, dense or
            a DataFrame, whose columns are the classes.
        sample_weight : array-like of shape (n_texts,), default=None
            Weights of the labelled texts in the student's training; a generated one has up to 1.
        X_val, y_val : default=None
            Texts and labels for the gate; without them `validation_fraction` of `X` is held out.
            The teacher never sees them (but with ``feedback="validation"``) and the student never
            trains on them. Copies of them in `X` are left out.
        X_unlabeled : list, 1-D array or Series of str, or UnlabeledTexts, default=None
            Texts without a label, which the teacher labels as far as the sampler asks for it; with
            `sampler=None`, :class:`~pgkd.samplers.UncertaintySampler` does. The teacher sees them.
            Wrap them in :class:`~pgkd.UnlabeledTexts` for cross-validation.

        Returns
        -------
        self : PGKDClassifier

        Raises
        ------
        InvalidInputError
            If texts, labels or components cannot work; before any money is spent.
        TeacherError
            If the teacher fails in the first cycle. Later on, `fit` warns and keeps what it
            has.
        """
        self._validate_params()
        *data, random_state = broadcast(
            (X, y, sample_weight, X_val, y_val, X_unlabeled, check_random_state(self.random_state))
        )
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            run, labelled = prepare(
                self,
                *data,
                random_state=random_state,
                scratch=Path(scratch),
                emit=self._emit,
            )
            stop_reason = run.run()
            thresholds = self._choose_thresholds(run)
        student = run.returned.student
        if self.refit_on_all:
            student = self._train_on_all(run, labelled)
        calibration = None
        if self.calibrate and not run.multilabel:
            calibration = calibrate(
                run.gate, run.returned.gate_probabilities, run.classes, run.seed
            )

        self.classes_ = run.classes
        self.label_thresholds_ = thresholds
        self._target_kind = find_kind(data[1])
        self.student_ = student
        self.history_ = run.history
        self.synthetic_ = run.synthetic
        self.usage_ = run.buyer.usage
        self.audit_ = run.audit
        self.n_cycles_ = run.history[-1].number
        self.best_cycle_ = run.returned.cycle
        self.stop_reason_ = stop_reason
        self.choice_ = run.choice
        self.labelled_diversity_ = run.labelled_diversity
        self.refit_mask_: NDArray[np.bool_] | None = None
        self.calibration_ = calibration
        self.abstention_ = None
        self._gate = (run.returned.gate_probabilities, run.gate.y)
        self._labelled = labelled if self.refit_on_all else run.train
        self._seed = run.seed
        return self

    def _choose_thresholds(self, run: Distillation) -> FloatArray | None:
        if not run.multilabel:
            return None
        if self.label_threshold == "auto":
            return run.choose_thresholds()
        return np.full(len(run.classes), float(self.label_threshold))

    def _train_on_all(self, run: Distillation, labelled: LabelledTexts) -> Any:
        try:
            return run.refit(labelled)
        except (Exception, KeyboardInterrupt) as error:
            if not run.buyer.n_answers:
                raise
            check_shared(error)
            warnings.warn(
                f"`refit_on_all` failed ({error!r}); student_ has not learnt the gate texts.",
                stacklevel=3,
            )
            return run.returned.student

    def refit(self, mask: Any = None) -> PGKDClassifier:
        """Train ``student_`` anew on the labelled texts and on generated ones of your choice.

        The teacher is not asked. `synthetic_`, `history_`, `choice_` and the gate scores go on to
        describe what `fit` did; ``refit_mask_`` tells what ``student_`` has learnt since.

        Parameters
        ----------
        mask : array-like of bool of shape (n_synthetic,), callable or None, default=None
            Which texts of `synthetic_` are learnt; a callable gets each
            :class:`~pgkd.records.SyntheticText` and returns a bool. ``None``: the accepted ones, so
            that ``student_`` becomes what `fit` made it. A text that was not accepted gets the
            `synthetic_weight` of its cycle, or of the best cycle if that came later, and one of a
            harmful batch 0.1; times the trust that an audit has in its label.

        Returns
        -------
        self : PGKDClassifier
            Without a threshold: it was measured on another student. The temperature stays.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            If `mask` does not fit `synthetic_` or chooses a text whose label is none of
            ``classes_``, or the classifier was loaded from a directory, which holds no labelled
            texts. A pickle does.

        Notes
        -----
        With `warm_start`, training goes on from a fitted `student` if one was given.
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
        learner = Learner(
            self.student_,
            self.classes_,
            self._labelled,
            warm_start=self.warm_start,
            seed=self._seed,
        )
        start = self.student if hasattr(self.student, "classes_") else None
        self.student_ = learner.fit(self._labelled, examples, start=start)
        self.refit_mask_ = chosen
        self.abstention_ = self._gate = None
        return self

    def _weigh(self, text: SyntheticText) -> float:
        if text.verdict == "accepted":
            return text.weight
        number = min(max(text.cycle, self.best_cycle_), self.n_cycles_)
        factor = self.history_[number].synthetic_weight
        if text.reason == HARMFUL:
            factor = min(FACTORS)
        return factor if self.audit_ is None else factor * self.audit_.weigh(text)

    @property
    def temperature_(self) -> float:
        """By which the student's logits are divided."""
        return 1.0 if self.calibration_ is None else self.calibration_.temperature

    def report(self) -> Report:
        """Explain the run, from the baseline to the student that was returned.

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
        from pgkd.reporting import make_run_report

        check_is_fitted(self)
        return make_run_report(self)

    def plan(
        self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None, X_unlabeled: Any = None
    ) -> Plan:
        """Estimate what `fit` will buy, without a call to the teacher.

        Parameters
        ----------
        X, y, X_val, y_val, X_unlabeled
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
        from pgkd.planning import make_plan  # imports the teachers, which predicting does not need

        self._validate_params()
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            run, _ = prepare(
                self,
                X,
                y,
                None,
                X_val,
                y_val,
                X_unlabeled,
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
