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
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from pgkd import persistence
from pgkd.callbacks import PrintProgress
from pgkd.distillation import Distillation, LabelledTexts
from pgkd.exceptions import InvalidInputError
from pgkd.protocols import Callback, Sampler, Teacher
from pgkd.records import Event, FloatArray, Label, LabelArray, UnlabeledTexts
from pgkd.splitting import hold_out
from pgkd.students._text_classifier import TextClassifier
from pgkd.students.base import check_takes_weights, predict_proba
from pgkd.text import fold_text
from pgkd.validation import (
    check_classes,
    check_component,
    check_descriptions,
    check_labels,
    check_texts,
    check_validation,
)

if TYPE_CHECKING:
    from pgkd.planning import Plan


class PGKDClassifier(TextClassifier):
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
          Safe; trains the student five times more in each cycle.
        - ``"holdout"``: a fold of its own, `validation_fraction` of the training texts. Safe; for
          students that are dear to train.
        - ``"validation"``: the gate itself, the paper's setting. The gate score becomes optimistic.
        - ``"train"``: the training texts as the student has learnt them, the naive setting.
    scoring : str or callable, default="neg_log_loss"
        Gate score: a scikit-learn scorer name or ``scorer(estimator, X, y)``, greater is better.
    synthetic_weight : float, default=1.0
        Training weight of a generated text, in (0, inf); a labelled one has 1. Below 1 for a weak
        teacher. Other values than 1 need a student that takes ``sample_weight``.
    refit : bool, default=True
        Train the best student once more on all labelled texts, gate included (never on `X_val`).
    task_description : str, default=None
        What is classified and why, in a sentence or two, for the teacher.
    class_descriptions : dict of label to str, default=None
        What belongs to each class, for the teacher.
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
    student_ : classifier
        The best student, trained.
    history_ : list of :class:`~pgkd.records.Cycle`
        Cycle 0 is the baseline.
    synthetic_ : list of :class:`~pgkd.records.SyntheticText`
        Every generated text and its verdict; ``pandas.DataFrame(clf.synthetic_)`` is a table.
    usage_ : :class:`~pgkd.records.Usage`
        Requests, tokens and US dollars taken from the teacher.
    n_cycles_ : int
    best_cycle_ : int
        The cycle of `student_`; 0 if the baseline was not beaten.
    stop_reason_ : {"max_cycles", "patience", "budget", "teacher_error", "error", "interrupted"}

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
    """

    _parameter_constraints = {  # noqa: RUF012
        "max_cycles": [Interval(Integral, 0, None, closed="left")],
        "samples_per_cycle": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "feedback": [StrOptions({"out_of_fold", "holdout", "validation", "train"})],
        "scoring": [str, callable],
        "synthetic_weight": [Interval(Real, 0, None, closed="neither")],
        "refit": ["boolean"],
        "task_description": [str, None],
        "class_descriptions": [Mapping, None],
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
        max_cycles: int = 10,
        samples_per_cycle: int = 200,
        patience: int = 3,
        validation_fraction: float = 0.2,
        feedback: str = "out_of_fold",
        scoring: Any = "neg_log_loss",
        synthetic_weight: float = 1.0,
        refit: bool = True,
        task_description: str | None = None,
        class_descriptions: Mapping[Label, str] | None = None,
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
        self.max_cycles = max_cycles
        self.samples_per_cycle = samples_per_cycle
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.feedback = feedback
        self.scoring = scoring
        self.synthetic_weight = synthetic_weight
        self.refit = refit
        self.task_description = task_description
        self.class_descriptions = class_descriptions
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
            Their labels: str, int or bool.
        sample_weight : array-like of shape (n_texts,), default=None
            Weights of the labelled texts in the student's training.
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
            If the teacher fails in the first cycle. Later on, `fit` warns and keeps the best
            student.
        """
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            run, labelled = self._prepare(
                X,
                y,
                sample_weight,
                X_val,
                y_val,
                X_unlabeled,
                random_state=self.random_state,
                scratch=Path(scratch),
            )
            stop_reason = run.run()
        best = run.best.student
        if self.refit:
            best = self._refit(run, labelled)

        self.classes_ = run.classes
        self.student_ = best
        self.history_ = run.history
        self.synthetic_ = run.synthetic
        self.usage_ = run.usage
        self.n_cycles_ = run.history[-1].number
        self.best_cycle_ = run.best.cycle
        self.stop_reason_ = stop_reason
        return self

    def _refit(self, run: Distillation, labelled: LabelledTexts) -> Any:
        try:
            return run.fit_student(labelled, run.best.synthetic)
        except (Exception, KeyboardInterrupt) as error:
            if not run.usage.n_requests:
                raise
            warnings.warn(
                f"`refit` failed ({error!r}); student_ has not learnt the texts of the gate.",
                stacklevel=3,
            )
            return run.best.student

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

        with TemporaryDirectory(prefix="pgkd-") as scratch:
            run, _ = self._prepare(
                X,
                y,
                None,
                X_val,
                y_val,
                X_unlabeled,
                random_state=copy.deepcopy(self.random_state),  # a plan changes nothing
                scratch=Path(scratch),
            )
            return make_plan(run)

    def _prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        X_unlabeled: Any,
        *,
        random_state: Any,
        scratch: Path,
    ) -> tuple[Distillation, LabelledTexts]:
        """Check everything and split the texts; nothing is trained or spent yet."""
        self._validate_params()
        if self.run_dir is not None and Path(self.run_dir).is_file():
            raise InvalidInputError(
                f"The `run_dir` parameter of PGKDClassifier must be a directory. Got the file "
                f"{str(self.run_dir)!r} instead."
            )
        teacher, student, sampler = self._resolve_components(X_unlabeled is not None)
        texts = check_texts(X)
        labels = check_labels(y, len(texts))
        classes = check_classes(labels)
        descriptions = check_descriptions(self.class_descriptions, classes)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, labels, dtype=np.float64, ensure_non_negative=True
            )
        labelled = LabelledTexts(texts, labels, weights)
        if weights is not None or self.synthetic_weight != 1.0:
            check_takes_weights(student)

        rng = check_random_state(random_state)
        labelled, train, gate = self._split_off_gate(labelled, X_val, y_val, classes, rng)
        feedback = None
        if self.feedback == "holdout":
            kept, shown = hold_out(train.texts, train.y, self.validation_fraction, rng)
            train, feedback = train.take(kept), train.take(shown)
        elif self.feedback != "out_of_fold":
            feedback = gate if self.feedback == "validation" else train

        run = Distillation(
            self._wrap(teacher, Path(self.run_dir or scratch)),
            student,
            sampler,
            classes=classes,
            train=train,
            gate=gate,
            feedback=feedback,
            pool=self._check_pool(X_unlabeled),
            scoring=self.scoring,
            max_cycles=self.max_cycles,
            samples_per_cycle=self.samples_per_cycle,
            patience=self.patience,
            max_cost=self.max_cost,
            max_tokens=self.max_tokens,
            synthetic_weight=self.synthetic_weight,
            task_description=self.task_description,
            class_descriptions=descriptions,
            emit=self._emit,
            seed=int(rng.randint(np.iinfo(np.int32).max)),
        )
        return run, labelled

    def _predict_proba(self, texts: list[str]) -> FloatArray:
        return predict_proba(self.student_, texts, self.classes_)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Save the fitted classifier to a directory: safetensors, JSON and skops, no pickle.

        The teacher is left out: the saved classifier needs neither its package nor its key.

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

    def _check_pool(self, X_unlabeled: Any) -> list[str]:
        if X_unlabeled is None:
            return []
        wrapped = isinstance(X_unlabeled, UnlabeledTexts)
        return check_texts(X_unlabeled.texts if wrapped else X_unlabeled, "X_unlabeled")

    def _resolve_components(self, has_pool: bool) -> tuple[Teacher, Any, Sampler]:
        """Clone the components and put the defaults where there are none."""
        if self.teacher is None:
            raise InvalidInputError(
                "The `teacher` parameter of PGKDClassifier must be given. Got None instead: pass "
                "e.g. OpenAITeacher('gpt-5-mini'), or FunctionTeacher(your_function)."
            )
        check_component(self.teacher, "teacher", ("generate",))
        student, sampler = self.student, self.sampler
        if student is None:
            from pgkd.students import TransformerStudent

            student = TransformerStudent()
        if sampler is None:
            from pgkd.samplers import PerformanceGuidedSampler, UncertaintySampler

            sampler = UncertaintySampler() if has_pool else PerformanceGuidedSampler()
        check_component(student, "student", ("fit", "predict_proba", "get_params"))
        check_component(sampler, "sampler", ("propose",))
        if has_pool:
            check_component(self.teacher, "teacher", ("annotate",))
            if not getattr(sampler, "needs_pool", False):
                raise InvalidInputError(
                    f"`X_unlabeled` was given, but {sampler!r} does not use it: leave `sampler` "
                    "out, or pass UncertaintySampler(...)."
                )
        if hasattr(sampler, "_validate_params"):
            sampler._validate_params()
        for callback in self.callbacks or ():
            check_component(callback, "callbacks", ("on_event",))
        try:
            teacher = clone(self.teacher, safe=False)
        except Exception:  # a stranger's may hold what cannot be copied, such as an open client
            teacher = self.teacher
        if hasattr(teacher, "check_ready"):
            teacher.check_ready(max_cost=self.max_cost)
        return teacher, student, clone(sampler, safe=False)

    def _wrap(self, teacher: Any, run_dir: Path) -> Any:
        """Put the budget and the answers that were paid for around an LLM teacher."""
        if not hasattr(teacher, "session"):
            return teacher
        from pgkd.run_store import FILE_NAME
        from pgkd.teachers import BudgetedTeacher, CachedTeacher

        if self.max_cost is not None or self.max_tokens is not None:
            teacher = BudgetedTeacher(
                teacher, run_dir / FILE_NAME, max_cost=self.max_cost, max_tokens=self.max_tokens
            )
        if self.run_dir is not None:
            teacher = CachedTeacher(teacher, run_dir / FILE_NAME)
        return teacher

    def _split_off_gate(
        self,
        labelled: LabelledTexts,
        X_val: Any,
        y_val: Any,
        classes: LabelArray,
        rng: np.random.RandomState,
    ) -> tuple[LabelledTexts, LabelledTexts, LabelledTexts]:
        """Return all texts to learn from, those to begin with, and the gate."""
        validation = check_validation(X_val, y_val, classes)
        if validation is None:
            kept, held_out = hold_out(labelled.texts, labelled.y, self.validation_fraction, rng)
            return labelled, labelled.take(kept), labelled.take(held_out)
        gate = LabelledTexts(*validation)
        copies = set(map(fold_text, gate.texts))
        kept = np.flatnonzero([fold_text(text) not in copies for text in labelled.texts])
        if len(kept) < len(labelled):
            warnings.warn(
                f"{len(labelled) - len(kept)} texts of X are in X_val as well, and are left out "
                "of X.",
                stacklevel=4,
            )
            labelled = labelled.take(kept)
            if lacking := set(classes.tolist()) - set(labelled.y.tolist()):
                raise InvalidInputError(
                    f"X has texts of {min(lacking)!r} only that are in X_val as well: the gate "
                    "must have texts that the student does not learn."
                )
        return labelled, labelled, gate

    def _emit(self, event: Event) -> None:
        printer = [PrintProgress(self.verbose)] if self.verbose else []
        for callback in [*printer, *(self.callbacks or ())]:
            try:
                callback.on_event(event)
            except Exception as error:  # what was paid for must not be lost to it
                warnings.warn(f"{callback!r} raised {error!r}.", stacklevel=4)
