"""`PGKDClassifier`: the scikit-learn contract, and nothing else."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from pgkd.callbacks.following import following
from pgkd.inputs.targets import find_kind
from pgkd.inputs.validation import check_writable
from pgkd.loop.distillation import Distillation
from pgkd.loop.evidence import Evidence
from pgkd.loop.finish import finish
from pgkd.loop.preparation import is_without_labels, prepare
from pgkd.loop.routes import ROUTES
from pgkd.loop.task import Settings
from pgkd.models.distilled import DistilledClassifier
from pgkd.protocols import Callback, Sampler, Teacher
from pgkd.records import Event, Label, Records
from pgkd.system.ranks import broadcast, end_together

if TYPE_CHECKING:
    from pgkd.inputs.logs import Logs
    from pgkd.loop.planning import Plan
    from pgkd.reporting.report import Report


class PGKDClassifier(DistilledClassifier):
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
    redact : callable, default=None
        ``redact(text)`` returns the str that the teacher, wherever it runs, is shown instead of a
        text. It is called once for each text of `X` and `X_unlabeled` before anything is sent, and
        what it returns is all that `run_dir` keeps of requests. The student learns the texts as
        they are. Names and descriptions of classes and `task_description` are no texts.
    run_dir : str or path, default=None
        Directory in which every answer of an LLM teacher is kept before it is used, and every step.
        The same `fit` with the same directory pays for no answer twice and, if `random_state` is
        given, goes on with the step that was cut off.
    callbacks : list of callbacks, default=None
        Objects with ``on_event(event)``, such as those of :mod:`pgkd.callbacks`.
    random_state : int, RandomState instance or None, default=None
        Seeds the folds, the sampler and every ``random_state`` of the student.
    verbose : int, default=0
        1 prints a line a step, below which another one says what is being done, in a terminal or a
        notebook; 2 prints one for each answer of the teacher as well.

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
    saved_usage_ : :class:`~pgkd.records.Usage`
        What answers that were kept in `run_dir` had taken when they were bought.
    sent_ : :class:`~pgkd.records.Sent` or None
        How many texts the teacher was shown, and where; ``None`` without a teacher.
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
    ...                       ["pos", "pos", "neg", "neg"], known=(texts, labels))
    >>> clf = PGKDClassifier(
    ...     teacher, make_pipeline(TfidfVectorizer(), LogisticRegression()),
    ...     max_cycles=2, samples_per_cycle=2, random_state=0,
    ... ).fit(texts, labels)
    >>> clf.predict(["good fun"]).tolist()
    ['pos']
    >>> [step.route for step in clf.history_][:2]
    ['labelled', 'names']
    """

    _parts: ClassVar = {
        "teacher": None,
        "student": "EmbeddingStudent",
        "sampler": "PerformanceGuidedSampler, UncertaintySampler",
    }
    _parameter_constraints = {  # noqa: RUF012
        "max_cycles": [Interval(Integral, 0, None, closed="left")],
        "samples_per_cycle": [Interval(Integral, 1, None, closed="left")],
        "max_cost": [Interval(Real, 0, None, closed="neither"), None],
        "max_tokens": [Interval(Integral, 1, None, closed="left"), None],
        "scoring": [str, callable],
        "task_description": [str, None],
        "class_descriptions": [Mapping, None],
        "class_names": ["array-like", None],
        "redact": [callable, None],
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
        redact: Callable[[str], str] | None = None,
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
        self.redact = redact
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
        with (
            following(self.callbacks or (), self.verbose) as emit,
            TemporaryDirectory(prefix="pgkd-") as scratch,
            end_together(),
        ):
            run = self._prepare(data, random_state, scratch, emit)
            stop_reason = run.run()
            result = finish(run)

        self.classes_ = run.classes
        self.label_thresholds_ = result.label_thresholds
        self._target_kind = (
            "labels" if is_without_labels(data["X"], data["y"]) else find_kind(data["y"])
        )
        self.student_ = result.student
        self.history_ = Records(run.history)
        self.synthetic_ = Records(run.synthetic)
        self.usage_, self.saved_usage_ = run.bills
        self.sent_ = run.buyer and run.buyer.describe_sent(
            run.labelled.texts, run.task.pool, run.settings.redact
        )
        self.probe_ = run.probe
        self.n_cycles_ = run.n_cycles
        self.stop_reason_ = "interrupted" if result.is_interrupted else stop_reason
        self.comparison_ = run.comparison
        self.labelled_diversity_ = run.labelled_diversity
        self.refit_mask_ = None
        self.calibration_ = result.calibration
        self.abstention_ = None
        self._judged = None
        if result.judged is not None:
            self._judged = (result.judged[1], result.judged[0].y)
        self._labelled = run.labelled.take(run.splits.learnable)
        self._seed = run.seed
        return self

    def _prepare(
        self,
        data: Mapping[str, Any],
        random_state: Any,
        scratch: str,
        emit: Callable[[Event], None] | None = None,
    ) -> Distillation:
        expected = "The `task_description` parameter of PGKDClassifier must be a str that is valid"
        check_writable(self.task_description or "", expected)
        return prepare(
            Settings.of(self),
            data,
            random_state=random_state,
            scratch=Path(scratch),
            emit=emit,
        )

    def report(self) -> Report:
        """Explain the run, step by step, and what it gained.

        Returns
        -------
        report : Report
            ``print(clf.report())`` is Markdown; ``clf.report().save("report.html")`` is a page, as
            notebooks show it.

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
        from pgkd.loop.planning import make_plan  # and the teachers, not needed to predict

        self._validate_params()
        data = {"X": X, "y": y, "sample_weight": None, "X_val": X_val, "y_val": y_val}
        data |= {"X_unlabeled": X_unlabeled, "logs": logs}
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            # A copy, because a plan changes nothing.
            run = self._prepare(data, copy.deepcopy(self.random_state), scratch)
            return make_plan(run)
