"""From what the user gives to a run: checked, cloned, split. Nothing is trained or spent yet."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from pgkd.buying import Buyer, clone_teacher, wrap_teacher
from pgkd.distillation import Distillation
from pgkd.exceptions import InvalidInputError
from pgkd.label_sets import count_classes
from pgkd.learning import LabelledTexts
from pgkd.protocols import Sampler, Teacher
from pgkd.records import Event, Label, LabelArray, UnlabeledTexts
from pgkd.splitting import hold_out
from pgkd.students.base import check_takes_weights
from pgkd.targets import Target, check_target, check_validation
from pgkd.text import fold_text
from pgkd.validation import (
    check_component,
    check_descriptions,
    check_texts,
)

if TYPE_CHECKING:
    from pgkd.classifier import PGKDClassifier


def prepare(
    clf: PGKDClassifier,
    X: Any,
    y: Any,
    sample_weight: Any,
    X_val: Any,
    y_val: Any,
    X_unlabeled: Any,
    *,
    random_state: Any,
    scratch: Path,
    emit: Callable[[Event], None],
) -> tuple[Distillation, LabelledTexts]:
    """Check everything and split the texts; nothing is trained or spent yet.

    Parameters
    ----------
    clf : PGKDClassifier
    X, y, sample_weight, X_val, y_val, X_unlabeled
        As given to `fit`.
    random_state : int, RandomState instance or None
    scratch : Path
        Takes the place of `run_dir` if there is none.
    emit : callable
        Called with each `Event` of the run.

    Returns
    -------
    run : Distillation
    labelled : LabelledTexts
        All texts that the student may learn from in the end.
    """
    if clf.run_dir is not None and Path(clf.run_dir).is_file():
        raise InvalidInputError(
            f"The `run_dir` parameter of PGKDClassifier must be a directory. Got the file "
            f"{str(clf.run_dir)!r} instead."
        )
    teacher, student, sampler = _resolve_components(clf, X_unlabeled is not None)
    texts = check_texts(X)
    target = check_target(y, len(texts), class_names=clf.class_names)
    labels = target.y
    classes, descriptions = _check_classes(clf, target)
    target = replace(target, classes=classes)
    weights = None
    if sample_weight is not None:
        weights = _check_sample_weight(
            sample_weight, labels, dtype=np.float64, ensure_non_negative=True
        )
    labelled = LabelledTexts(texts, labels, weights)
    weighted = clf.synthetic_weight not in (1.0, "auto") or clf.verification == "weight"
    if weights is not None or weighted:
        check_takes_weights(student)
        if clf.scout is not None:
            check_takes_weights(clf.scout)
    if clf.warm_start:
        _check_warm_start(student, target)

    rng = check_random_state(random_state)
    labelled, train, gate = _split_off_gate(
        labelled, check_validation(X_val, y_val, target), clf.validation_fraction, rng
    )
    feedback = None
    if clf.feedback == "holdout":
        kept, shown = hold_out(train.texts, train.y, clf.validation_fraction, rng)
        train, feedback = train.take(kept), train.take(shown)
    elif clf.feedback != "out_of_fold":
        feedback = gate if clf.feedback == "validation" else train

    buyer = Buyer(
        wrap_teacher(
            teacher,
            Path(clf.run_dir or scratch),
            max_cost=clf.max_cost,
            max_tokens=clf.max_tokens,
            is_cached=clf.run_dir is not None,
        ),
        max_cost=clf.max_cost,
        max_tokens=clf.max_tokens,
        emit=emit,
        is_shared=True,
    )
    run = Distillation(
        buyer,
        student,
        clf.scout,
        sampler,
        classes=classes,
        train=train,
        gate=gate,
        feedback=feedback,
        pool=_check_pool(X_unlabeled),
        scoring=clf.scoring,
        max_cycles=clf.max_cycles,
        samples_per_cycle=clf.samples_per_cycle,
        patience=clf.patience,
        min_gain_per_dollar=clf.min_gain_per_dollar,
        audit_size=clf.audit_size,
        verification=clf.verification,
        n_candidates=clf.n_candidates,
        synthetic_weight=clf.synthetic_weight,
        rollback=clf.rollback,
        warm_start=clf.warm_start,
        task_description=clf.task_description,
        class_descriptions=descriptions,
        emit=emit,
        seed=int(rng.randint(np.iinfo(np.int32).max)),
    )
    return run, labelled


def _check_classes(clf: PGKDClassifier, target: Target) -> tuple[LabelArray, dict[Label, str]]:
    """Return all classes and their descriptions; the teacher must know them by a name."""
    n_columns = len(target.classes)
    if not target.is_named and clf.class_descriptions is None:
        raise InvalidInputError(
            f"y is an indicator matrix, and its {n_columns} columns have no names, without which "
            "the teacher does not know what to write: pass `class_names=[...]` to PGKDClassifier, "
            "a DataFrame whose columns are named, or the list of its labels for each text."
        )
    classes, descriptions = check_descriptions(clf.class_descriptions, target.classes)
    if target.kind == "indicator" and len(classes) > n_columns:
        new = next(label for label in descriptions if label not in target.classes.tolist())
        raise InvalidInputError(
            "The `class_descriptions` parameter of PGKDClassifier must describe the columns of the "
            f"indicator matrix y. Got {new!r}, which is none of them: add a column of zeros."
        )
    return classes, descriptions


def _check_warm_start(student: Any, target: Target) -> None:
    if not hasattr(student, "partial_fit"):
        raise InvalidInputError(
            "`warm_start=True` needs a student with `partial_fit`, to go on from its weights. Got "
            f"{student!r}: use another student, or leave `warm_start` out."
        )
    classes = target.classes
    # The loop hands an indicator matrix on, whose columns have numbers.
    known = np.arange(len(classes)) if target.multilabel else classes
    own = getattr(student, "classes_", known)
    if not np.array_equal(own, known):
        raise InvalidInputError(
            f"`warm_start=True` with a student that was fitted on the classes {list(own)!r}, but y "
            f"and `class_descriptions` have {list(classes)!r}: they must be the same."
        )


def _check_pool(X_unlabeled: Any) -> list[str]:
    if X_unlabeled is None:
        return []
    wrapped = isinstance(X_unlabeled, UnlabeledTexts)
    return check_texts(X_unlabeled.texts if wrapped else X_unlabeled, "X_unlabeled")


def _resolve_components(clf: PGKDClassifier, has_pool: bool) -> tuple[Teacher, Any, Sampler]:
    """Clone the components and put the defaults where there are none."""
    if clf.teacher is None:
        raise InvalidInputError(
            "The `teacher` parameter of PGKDClassifier must be given. Got None instead: pass "
            "e.g. OpenAITeacher('gpt-5-mini'), or FunctionTeacher(your_function)."
        )
    check_component(clf.teacher, "teacher", ("generate",))
    student, sampler = clf.student, clf.sampler
    if student is None:
        from pgkd.students import TransformerStudent

        student = TransformerStudent()
    if sampler is None:
        from pgkd.samplers import PerformanceGuidedSampler, UncertaintySampler

        sampler = UncertaintySampler() if has_pool else PerformanceGuidedSampler()
    check_component(student, "student", ("fit", "predict_proba", "get_params"))
    if clf.scout is not None:
        check_component(clf.scout, "scout", ("fit", "predict_proba", "get_params"))
    check_component(sampler, "sampler", ("propose",))
    for name, value in (("audit_size", clf.audit_size), ("verification", clf.verification)):
        if value and not hasattr(clf.teacher, "annotate"):
            raise InvalidInputError(
                f"`{name}={value!r}` needs a teacher that labels texts, with a method `annotate`. "
                f"Got {clf.teacher!r}: give it one (see `pgkd.protocols.Annotator`), or leave "
                f"`{name}` out."
            )
    if has_pool:
        check_component(clf.teacher, "teacher", ("annotate",))
        if not getattr(sampler, "needs_pool", False):
            raise InvalidInputError(
                f"`X_unlabeled` was given, but {sampler!r} does not use it: leave `sampler` "
                "out, or pass UncertaintySampler(...)."
            )
    # Every BaseEstimator has the method, and it needs the constraints.
    if hasattr(sampler, "_validate_params") and hasattr(sampler, "_parameter_constraints"):
        sampler._validate_params()
    for callback in clf.callbacks or ():
        check_component(callback, "callbacks", ("on_event",))
    return clone_teacher(clf.teacher, clf.max_cost), student, clone(sampler, safe=False)


def _split_off_gate(
    labelled: LabelledTexts,
    validation: tuple[list[str], LabelArray] | None,
    fraction: float,
    rng: np.random.RandomState,
) -> tuple[LabelledTexts, LabelledTexts, LabelledTexts]:
    """Return all texts to learn from, those to begin with, and the gate."""
    if validation is None:
        kept, held_out = hold_out(labelled.texts, labelled.y, fraction, rng)
        return labelled, labelled.take(kept), labelled.take(held_out)
    gate = LabelledTexts(*validation)
    copies = set(map(fold_text, gate.texts))
    kept = np.flatnonzero([fold_text(text) not in copies for text in labelled.texts])
    if len(kept) < len(labelled):
        warnings.warn(
            f"{len(labelled) - len(kept)} texts of X are in X_val as well, and are left out of X.",
            stacklevel=4,
        )
        before, labelled = count_classes(labelled.y.tolist()), labelled.take(kept)
        if lacking := before.keys() - count_classes(labelled.y.tolist()).keys():
            raise InvalidInputError(
                f"X has texts of {min(lacking)!r} only that are in X_val as well: the gate "
                "must have texts that the student does not learn."
            )
    return labelled, labelled, gate
