"""`CascadeClassifier`: the student first, the teacher only where it measurably pays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from pgkd.cascade.escalation import Escalator, find_cost_per_text
from pgkd.cascade.measuring import Asked, find_columns, find_escalated, give_way, measure
from pgkd.cascade.report import CascadeReport
from pgkd.evaluation.thresholds import find_least_sure
from pgkd.exceptions import InvalidInputError, TeacherError, did_you_mean
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.redaction import Redactor
from pgkd.inputs.targets import find_kind
from pgkd.inputs.validation import (
    check_classes,
    check_component,
    check_descriptions,
    check_labels,
    check_texts,
)
from pgkd.loop.buyer import clone_teacher
from pgkd.loop.learner import Learner
from pgkd.protocols import Annotator
from pgkd.records import Example, FloatArray, Label, LabelArray, State, Usage
from pgkd.samplers.shortlists import read_labels
from pgkd.students._text_classifier import BaseTextClassifier
from pgkd.students.any_student import predict_proba
from pgkd.system.ranks import broadcast, end_together


class CascadeClassifier(BaseTextClassifier):
    """Let the student label the texts, and ask the teacher only where it measurably labels better.

    `fit` has the teacher label those labelled texts of which the student is least sure. For each
    class that the student predicts, exact tests then find the confidence up to which the teacher
    is better; where it is not, it is never asked again. `predict` asks it about the texts below
    these thresholds, and where it does not answer, the student's label stands.

    Parameters
    ----------
    student : classifier
        Any classifier of texts with ``predict_proba``, such as a fitted
        :class:`~pgkd.PGKDClassifier`. If it is fitted, it is used as it is, and `fit` needs texts
        that it has not learnt. If it is not, `fit` trains it on its texts, six times, and takes its
        out-of-fold predictions of them. ``clone`` makes it unfitted, and so do cross-validation and
        grid search: wrap a fitted one in :class:`sklearn.frozen.FrozenEstimator` for these.
    teacher : annotator
        Labels texts: any object with ``annotate(requests)``, such as
        :class:`~pgkd.teachers.OpenAITeacher`.
    confidence : float, default=0.95
        In (0, 1). With this probability no threshold at all is set where the teacher does not
        label better. Also that of the intervals of `report`.
    max_escalated : float, default=0.3
        In (0, 1]. The teacher labels at most this share of the texts of `fit`, the student's least
        sure ones, and no threshold is above them.
    n_candidates : int, default=5
        Classes, the student's likeliest, among which the teacher chooses; at least 2.
    texts_per_request : int, default=5
        Texts that the teacher labels at once. 1 suits a service that gets them one by one: quality
        and cost are measured as they will be.
    task_description : str, default=None
        What is classified and why, in a sentence or two, for the teacher.
    class_descriptions : dict of label to str, default=None
        What belongs to each class of the student, for the teacher.
    max_cost : float, default=None
        Spend no more US dollars than that, in `fit` and all predictions together; the teacher's
        price must be known. When it is spent, the student labels the rest. Threads that predict at
        once take turns at the teacher, unless there is a `run_dir`.
    redact : callable, default=None
        What the teacher is shown instead of a text; see :class:`~pgkd.PGKDClassifier`.
    run_dir : str or path, default=None
        Directory in which every answer of an LLM teacher is kept, with a ledger of what was spent:
        the same `fit` (with an int as `random_state`) and the same `predict` pay for no answer
        twice, in any process. `max_cost` then counts all that is on the ledger.
    random_state : int, RandomState instance or None, default=None
        Seeds the folds, the choice of examples and every ``random_state`` of an unfitted student.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        Those of the student.
    student_ : classifier
        Fitted.
    thresholds_ : array of shape (n_classes,)
        The greatest confidence of the student with which a text that it takes for the class is
        escalated, in [0, 1]; 0.0: none is.
    teacher_accuracy_ : float
        What is known of the teacher's labels below the thresholds, in (0, 1): their probability in
        `predict_proba`.
    usage_ : :class:`~pgkd.records.Usage`
        Requests, tokens and US dollars taken from the teacher, by `fit` and by predictions since.

    Examples
    --------
    A student that has never heard of the yen, and a teacher that has:

    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from pgkd import CascadeClassifier
    >>> from pgkd.testing import PoolTeacher
    >>> student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    >>> words = ["card", "card", "pin", "rate"] * 9
    >>> student = student.fit(words, words)
    >>> texts = [f"{word} number {i}" for i in range(30) for word in ("card", "pin", "yen")]
    >>> labels = ["card", "pin", "rate"] * 30
    >>> teacher = PoolTeacher([*texts, "yen today"], [*labels, "rate"])
    >>> cascade = CascadeClassifier(student, teacher, max_escalated=0.5, random_state=0)
    >>> cascade.fit(texts, labels).predict(["pin please", "yen today"]).tolist()
    ['pin', 'rate']
    >>> cascade.escalates(["pin please", "yen today"]).tolist()
    [False, True]
    >>> cascade.report().student_accuracy.value < 0.7 < cascade.report().accuracy.value
    True
    """

    _parts: ClassVar = {"student": None, "teacher": None}
    _parameter_constraints = {  # noqa: RUF012
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "max_escalated": [Interval(Real, 0, 1, closed="right")],
        "n_candidates": [Interval(Integral, 2, None, closed="left")],
        "texts_per_request": [Interval(Integral, 1, None, closed="left")],
        "task_description": [str, None],
        "class_descriptions": [Mapping, None],
        "max_cost": [Interval(Real, 0, None, closed="neither"), None],
        "redact": [callable, None],
        "run_dir": [str, os.PathLike, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        student: Any = None,
        teacher: Annotator | None = None,
        *,
        confidence: float = 0.95,
        max_escalated: float = 0.3,
        n_candidates: int = 5,
        texts_per_request: int = 5,
        task_description: str | None = None,
        class_descriptions: Mapping[Label, str] | None = None,
        max_cost: float | None = None,
        redact: Callable[[str], str] | None = None,
        run_dir: str | os.PathLike[str] | None = None,
        random_state: Any = None,
    ) -> None:
        self.student = student
        self.teacher = teacher
        self.confidence = confidence
        self.max_escalated = max_escalated
        self.n_candidates = n_candidates
        self.texts_per_request = texts_per_request
        self.task_description = task_description
        self.class_descriptions = class_descriptions
        self.max_cost = max_cost
        self.redact = redact
        self.run_dir = run_dir
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> CascadeClassifier:
        """Choose the thresholds.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)
            Texts that a fitted student has not learnt. The teacher labels some, and sees others as
            examples.
        y : array-like of shape (n_texts,)
            Their labels, given by people.

        Returns
        -------
        self : CascadeClassifier

        Raises
        ------
        InvalidInputError
            If texts, labels or components cannot work; before any money is spent.
        TeacherError
            If the teacher served no request.
        """
        self._validate_params()
        X, y, random_state = broadcast((X, y, check_random_state(self.random_state)))
        texts = check_texts(X)
        if find_kind(y) != "labels" or getattr(self.student, "multilabel_", False):
            raise InvalidInputError(
                "CascadeClassifier takes one label a text, and y or the student has several: let "
                "the student label by itself, or build a cascade for each label."
            )
        y = check_labels(y, len(texts))
        classes = self._check_components(y)
        class_descriptions = self._check_descriptions(classes)
        teacher = clone_teacher(self.teacher, self.max_cost)
        seed = int(random_state.randint(np.iinfo(np.int32).max))

        state = State(
            cycle=0,
            classes=tuple(classes.tolist()),
            examples=tuple(map(Example, texts, y.tolist())),
            task_description=self.task_description,
            class_descriptions=class_descriptions,
        )
        escalator = Escalator(
            teacher,
            state,
            n_candidates=self.n_candidates,
            texts_per_request=self.texts_per_request,
            max_cost=self.max_cost,
            run_dir=None if self.run_dir is None else Path(self.run_dir),
            seed=seed,
            redact=self.redact and Redactor(self.redact, X=texts),
        )
        with end_together():
            escalator.check_reachable()
            student, probabilities = self._prepare_student(texts, y, classes, seed)
            rows = find_least_sure(probabilities.max(axis=1), self.max_escalated)
            asked = [texts[i] for i in rows]
            answers = escalator.ask(asked, probabilities[rows], prefix="c", is_shared=True)
        labels = read_labels(answers)
        found = measure(
            LabelledTexts(texts, y),
            classes,
            probabilities,
            Asked(
                rows,
                find_columns(asked, labels, classes),
                n_answered=sum(text in labels for text in asked),
                usage=escalator.usage,
                cost_per_text=find_cost_per_text(answers, escalator.usage),
            ),
            confidence=self.confidence,
            seed=seed,
        )
        self._escalator = escalator
        self._report = found.report
        self.classes_ = classes
        self.student_ = student
        self.thresholds_ = found.thresholds
        self.teacher_accuracy_ = found.teacher_accuracy
        self._warn_of_little()
        return self

    def _check_components(self, y: LabelArray) -> LabelArray:
        """Return the classes, those of a fitted student or of `y`."""
        for name, example in (
            ("student", "a fitted PGKDClassifier"),
            ("teacher", "OpenAITeacher('gpt-5-mini')"),
        ):
            if getattr(self, name) is None:
                raise InvalidInputError(
                    f"The `{name}` parameter of CascadeClassifier must be given. Got None instead: "
                    f"pass e.g. {example}."
                )
        owner = "CascadeClassifier"
        check_component(self.teacher, "teacher", ("annotate",), owner)
        if not hasattr(self.student, "classes_"):
            check_component(self.student, "student", ("fit", "predict_proba", "get_params"), owner)
            return check_classes(y)
        check_component(self.student, "student", ("predict_proba",), owner)
        classes: LabelArray = np.unique(self.student.classes_)
        unknown = sorted(set(y.tolist()) - set(classes.tolist()), key=str)
        if unknown:
            hint = did_you_mean(unknown[0], classes.tolist())
            raise InvalidInputError(
                f"y has {len(unknown)} label(s) that the fitted student does not know, e.g. "
                f"{unknown[0]!r}; it knows {classes.tolist()[:5]!r} and so on. Fit the student on "
                f"texts of them, or leave these texts out.{hint}"
            )
        return classes

    def _check_descriptions(self, classes: LabelArray) -> dict[Label, str]:
        every, descriptions = check_descriptions(
            self.class_descriptions, classes, "CascadeClassifier"
        )
        if len(every) > len(classes):
            new = next(label for label in descriptions if label not in set(classes.tolist()))
            raise InvalidInputError(
                "The `class_descriptions` parameter of CascadeClassifier must describe classes of "
                f"the student. Got {new!r}, which it does not know: leave it out."
            )
        return descriptions

    def _prepare_student(
        self, texts: list[str], y: LabelArray, classes: LabelArray, seed: int
    ) -> tuple[Any, FloatArray]:
        """Return the fitted student, and its probabilities of texts that it has not learnt."""
        if hasattr(self.student, "classes_"):
            return self.student, broadcast(predict_proba(self.student, texts, classes))
        labelled = LabelledTexts(texts, y)
        learner = Learner(self.student, classes, multilabel=False, seed=seed)
        return learner.fit(labelled), learner.predict_out_of_fold(labelled)

    def _warn_of_little(self) -> None:
        report = self._report
        if report.n_answered < report.n_asked:
            warnings.warn(
                f"The teacher answered about {report.n_answered} of the {report.n_asked} texts "
                "that it was asked about: the thresholds are chosen by these.",
                stacklevel=3,
            )
        if not self.thresholds_.any():
            won, lost = (sum(getattr(r, k) for r in report.rules) for k in ("n_won", "n_lost"))
            warnings.warn(
                "The teacher is nowhere measurably better than the student, so nothing will be "
                f"escalated: of {report.n_asked} texts, it alone is right about {won} and the "
                f"student alone about {lost}. If the first is greater, more texts may show it.",
                stacklevel=3,
            )

    @property
    def usage_(self) -> Usage:
        """What the teacher was paid for, by `fit` and by predictions since."""
        return self._escalator.usage

    def escalates(self, X: Any) -> NDArray[np.bool_]:
        """Return which texts `predict` asks the teacher about, without asking it.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)

        Returns
        -------
        escalated : array of bool of shape (n_texts,)
        """
        check_is_fitted(self)
        texts = check_texts(X, allow_empty=True)
        if not texts:
            return np.zeros(0, dtype=bool)
        return find_escalated(predict_proba(self.student_, texts, self.classes_), self.thresholds_)

    def report(self) -> CascadeReport:
        """Return what is escalated, what that gains and what it costs, with intervals.

        Returns
        -------
        report : CascadeReport
            ``print(cascade.report())`` is Markdown, as notebooks show it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        check_is_fitted(self)
        return replace(self._report, sent=self._escalator.sent)

    def _predict_proba(self, texts: list[str]) -> FloatArray:
        probabilities = predict_proba(self.student_, texts, self.classes_)
        rows = np.flatnonzero(find_escalated(probabilities, self.thresholds_))
        if not len(rows):
            return probabilities
        asked = [texts[i] for i in rows]
        self._escalator.check(asked, rows)
        labels: dict[str, Label | None] = {}
        reason = ""
        try:
            labels = read_labels(self._escalator.ask(asked, probabilities[rows], prefix="e"))
        except (OSError, TeacherError) as error:  # a full disk is no reason to fail, either
            reason = f": {error}"
        if n_left := sum(text not in labels for text in asked):
            warnings.warn(
                f"The teacher did not answer about {n_left} of {len(rows)} escalated texts, which "
                f"have the student's label{reason}",
                stacklevel=3,
            )
        columns = find_columns(asked, labels, self.classes_)
        answered = columns >= 0
        rows, columns = rows[answered], columns[answered]
        probabilities[rows] = give_way(probabilities[rows], columns, self.teacher_accuracy_)
        return probabilities
