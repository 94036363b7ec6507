"""From what the user gives to a run: checked, cloned, split. Nothing is trained or spent yet."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from pgkd.evaluation.scoring import find_scorer
from pgkd.exceptions import InvalidInputError, did_you_mean
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.labels import count_classes, to_array
from pgkd.inputs.logs import Logs
from pgkd.inputs.redaction import Redactor
from pgkd.inputs.splitting import hold_out
from pgkd.inputs.targets import Target, check_target, check_validation
from pgkd.inputs.text import fold_text
from pgkd.inputs.validation import (
    check_classes,
    check_component,
    check_descriptions,
    check_labels,
    check_texts,
)
from pgkd.loop.buyer import Buyer, clone_teacher, wrap_teacher
from pgkd.loop.checkpoint import FOLDER, Checkpoint
from pgkd.loop.distillation import Distillation
from pgkd.loop.evidence import Evidence
from pgkd.loop.fingerprint import find_changes, take_fingerprint
from pgkd.loop.naming import warn_of_twins, write_names
from pgkd.loop.routes import ROUTES
from pgkd.loop.task import Settings, Task
from pgkd.protocols import Sampler
from pgkd.records import Event, Label, LabelArray, UnlabeledTexts
from pgkd.students.any_student import check_takes_weights
from pgkd.system.ranks import is_main_process


def prepare(
    settings: Settings,
    data: Mapping[str, Any],
    *,
    random_state: Any,
    scratch: Path,
    emit: Callable[[Event], None] | None,
) -> Distillation:
    """Check everything and split the texts; nothing is trained or spent yet.

    Parameters
    ----------
    settings : Settings
    data : mapping of str to object
        The arguments of `fit`, by name.
    random_state : int, RandomState instance or None
    scratch : Path
        Takes the place of `run_dir` if there is none.
    emit : callable or None
        Called with each `Event` of the run. ``None``: it is planned, not run; the teacher
        needs no key then.

    Raises
    ------
    InvalidInputError
    """
    if settings.run_dir is not None and Path(settings.run_dir).is_file():
        raise InvalidInputError(
            f"The `run_dir` parameter of PGKDClassifier must be a directory. Got the file "
            f"{str(settings.run_dir)!r} instead."
        )
    evidence = _resolve_evidence(settings)
    student, samplers = _resolve_components(settings, evidence)
    rng = check_random_state(random_state)
    logs = _check_logs(data["logs"])
    target = _check_target(settings, data, logs)
    routes = _check_routes(settings.routes)
    find_scorer(settings.scoring)
    task = _make_task(settings, data, target, logs, evidence, rng)
    if task.labelled.weights is not None or evidence.synthetic_weight not in (1.0, "auto"):
        for own in (student, evidence.scout):
            if own is not None:
                check_takes_weights(own)
    redact = _make_redactor(settings, data, evidence)
    settings = replace(settings, student=student, evidence=evidence, routes=routes, redact=redact)
    teacher = _clone_teacher(settings, is_asked=emit is not None)
    emit = emit or (lambda event: None)
    buyer = _make_buyer(teacher, settings, scratch, emit)
    seed = int(rng.randint(np.iinfo(np.int32).max))
    return Distillation(
        task,
        settings,
        buyer,
        samplers,
        emit=emit,
        seed=seed,
        checkpoint=_make_checkpoint(task, settings, teacher, samplers, seed),
    )


def _make_checkpoint(
    task: Task,
    settings: Settings,
    teacher: Any,
    samplers: Mapping[str, Sampler],
    seed: int,
) -> Checkpoint | None:
    """Return where the run is kept, if it may be known again; rank 0 sees to that."""
    is_random = settings.random_state is None or settings.random_state is np.random
    if settings.run_dir is None or is_random or not is_main_process():
        return None
    components = {"teacher": teacher, "sampler": samplers}
    fingerprint = take_fingerprint(task, settings, components, seed)
    folder = Path(settings.run_dir) / FOLDER
    changes = partial(find_changes, fingerprint, components)
    return Checkpoint(folder, fingerprint, changes, task.texts)


def is_without_labels(X: Any, y: Any) -> bool:
    """Whether `fit` got no labelled text at all, which is a start as well."""
    return all(v is None or _is_empty(v) for v in (X, y))


def _is_empty(v: Any) -> bool:
    return hasattr(v, "__len__") and getattr(v, "ndim", 1) > 0 and len(v) == 0


def _check_target(settings: Settings, data: Mapping[str, Any], logs: Logs | None) -> Target:
    """Return the labels with all classes, those that no labelled text has included."""
    X, y = data["X"], data["y"]
    if not is_without_labels(X, y):
        if y is None:
            raise InvalidInputError(
                "PGKDClassifier requires y to be passed, but the target y is None: pass a label "
                "for each text, or the texts as `X_unlabeled`."
            )
        return check_target(y, len(check_texts(X)), class_names=settings.class_names)
    names = settings.class_names
    if names is None and settings.class_descriptions:
        names = list(settings.class_descriptions)
    if names is None and logs is not None and logs.labels:
        names = _find_logged_classes(logs)
    if names is None or isinstance(names, str) or len(set(names)) < 2:
        raise InvalidInputError(
            f"Without labelled texts, PGKDClassifier must be told the classes. Got {names!r}: pass "
            "`class_descriptions={'label': 'what belongs to it', ...}`, or `class_names=[...]`, or "
            "labelled texts as `X` and `y`."
        )
    classes = check_classes(check_labels(list(names), len(names), "class_names"))
    return Target(np.array([], dtype=classes.dtype), classes)


def _find_logged_classes(logs: Logs) -> list[Label]:
    several = next((label for label in logs.labels if isinstance(label, tuple)), None)
    if several is not None:
        raise InvalidInputError(
            f"Without labelled texts, a text of the logs must have one label. Got {several!r}: "
            "pass labelled texts as `X` and `y`, which show that texts have several."
        )
    labels = check_labels(list(logs.labels), len(logs.labels), "The labels of the logs")
    classes: list[Label] = np.unique(labels).tolist()
    return classes


def _make_task(
    settings: Settings,
    data: Mapping[str, Any],
    target: Target,
    logs: Logs | None,
    evidence: Evidence,
    rng: np.random.RandomState,
) -> Task:
    texts = check_texts(data["X"]) if len(target.y) else []
    classes, descriptions = _check_classes(settings, target)
    warn_of_twins(classes.tolist())
    target = replace(target, classes=classes)
    weights = None
    if data["sample_weight"] is not None:
        weights = _check_sample_weight(
            data["sample_weight"], target.y, dtype=np.float64, ensure_non_negative=True
        )
    labelled = LabelledTexts(texts, target.y, weights)
    validation = check_validation(data["X_val"], data["y_val"], target)
    labelled, gate = _add_gate(labelled, validation, evidence.validation_fraction, rng)
    n_own = len(labelled) - (0 if validation is None else len(validation[0]))
    if not n_own:
        if validation is not None:
            raise InvalidInputError(
                "`X_val` was given without `X`: pass these texts as `X` and `y`. Each of them "
                "decides, predicted by a student that has not learnt it."
            )
        if "names" not in settings.routes and logs is None:
            raise InvalidInputError(
                "Without labelled texts, the student begins with the names of the classes. Got "
                f"routes={settings.routes!r}: add 'names', or pass labelled texts as `X` and `y`."
            )
        _check_every_class_is_known(classes, descriptions, logs)
    return Task(
        classes,
        labelled,
        gate,
        np.arange(n_own),
        multilabel=target.multilabel,
        descriptions=descriptions,
        task_description=settings.task_description,
        pool=_check_pool(data["X_unlabeled"]),
        logs=logs,
    )


def _check_every_class_is_known(
    classes: LabelArray, descriptions: Mapping[Label, str], logs: Logs | None
) -> None:
    """Refuse to begin without labelled texts where a class has no words at all."""
    known = {text.label for text in write_names(classes.tolist(), descriptions)}
    known |= set(logs.labels) if logs is not None else set()
    unknown = [label for label in classes.tolist() if label not in known]
    if unknown:
        raise InvalidInputError(
            f"Without labelled texts, nothing is known of {len(unknown)} of the {len(classes)} "
            f"classes, e.g. {unknown[0]!r}, whose name says nothing or is another one's as well: "
            "describe each in `class_descriptions`, or label a text of it."
        )


def _check_classes(settings: Settings, target: Target) -> tuple[LabelArray, dict[Label, str]]:
    """Return all classes and their descriptions; the teacher must know them by a name."""
    n_columns = len(target.classes)
    needs_names = settings.teacher is not None and not target.is_named
    if needs_names and settings.class_descriptions is None:
        raise InvalidInputError(
            f"y is an indicator matrix, and its {n_columns} columns have no names, without which "
            "the teacher does not know what to write: pass `class_names=[...]` to PGKDClassifier, "
            "a DataFrame whose columns are named, or the list of its labels for each text."
        )
    classes, descriptions = check_descriptions(settings.class_descriptions, target.classes)
    if target.kind == "indicator" and len(classes) > n_columns:
        new = next(label for label in descriptions if label not in target.classes.tolist())
        raise InvalidInputError(
            "The `class_descriptions` parameter of PGKDClassifier must describe the columns of the "
            f"indicator matrix y. Got {new!r}, which is none of them: add a column of zeros."
            f"{did_you_mean(new, target.classes.tolist())}"
        )
    return classes, descriptions


def _check_pool(X_unlabeled: Any) -> list[str]:
    if X_unlabeled is None:
        return []
    wrapped = isinstance(X_unlabeled, UnlabeledTexts)
    return check_texts(X_unlabeled.texts if wrapped else X_unlabeled, "X_unlabeled")


def _check_logs(logs: Any) -> Logs | None:
    if logs is not None and not isinstance(logs, Logs):
        raise InvalidInputError(
            f"`logs` must be what `pgkd.read_logs` returns. Got {type(logs).__name__} instead: "
            "pass `logs=pgkd.read_logs(...)`."
        )
    return logs


def _check_routes(routes: Any) -> tuple[str, ...]:
    if isinstance(routes, str):
        raise InvalidInputError(
            "The `routes` parameter of PGKDClassifier must be a sequence of str, and no str. Got "
            f"{routes!r}: pass routes=({routes!r},)."
        )
    if unknown := [route for route in routes if route not in ROUTES]:
        raise InvalidInputError(
            f"The `routes` parameter of PGKDClassifier must be a sequence of some of {ROUTES}. Got "
            f"{routes!r} instead.{did_you_mean(unknown[0], ROUTES)}"
        )
    return tuple(routes)


def _resolve_evidence(settings: Settings) -> Evidence:
    evidence = Evidence() if settings.evidence is None else settings.evidence
    if not isinstance(evidence, Evidence):
        raise InvalidInputError(
            f"The `evidence` parameter of PGKDClassifier must be an Evidence or None. Got "
            f"{evidence!r} instead."
        )
    evidence._validate_params()
    if isinstance(evidence.scout, type):
        check_component(evidence.scout, "scout", ("fit",), "Evidence")
    return evidence


def _resolve_components(settings: Settings, evidence: Evidence) -> tuple[Any, dict[str, Sampler]]:
    """Put the defaults where there are none, and refuse what cannot work."""
    from pgkd.samplers import PerformanceGuidedSampler, UncertaintySampler

    student = settings.student
    if student is None:
        from pgkd.students import EmbeddingStudent

        student = EmbeddingStudent()
    check_component(student, "student", ("fit", "predict_proba", "get_params"))
    samplers: dict[str, Any] = {"write": PerformanceGuidedSampler(), "label": UncertaintySampler()}
    if settings.sampler is not None:
        check_component(settings.sampler, "sampler", ("propose",))
        # Every BaseEstimator has the method, and it needs the constraints.
        if hasattr(settings.sampler, "_validate_params") and hasattr(
            settings.sampler, "_parameter_constraints"
        ):
            settings.sampler._validate_params()
        route = "label" if getattr(settings.sampler, "needs_pool", False) else "write"
        samplers[route] = clone(settings.sampler, safe=False)
    for callback in settings.callbacks or ():
        check_component(callback, "callbacks", ("on_event",))
    return student, samplers


def _make_redactor(
    settings: Settings, data: Mapping[str, Any], evidence: Evidence
) -> Redactor | None:
    """Redact all that the teacher may be shown: what cannot be is found before any is sent."""
    if settings.redact is None or settings.teacher is None:
        return None
    names = ["X", *["X_val"] * (evidence.feedback == "validation")]
    shown = {n: check_texts(data[n], n, allow_empty=True) for n in names if data[n] is not None}
    return Redactor(settings.redact, **shown, X_unlabeled=_check_pool(data["X_unlabeled"]))


def _clone_teacher(settings: Settings, *, is_asked: bool) -> Any:
    """Return the copy that is asked, which may change."""
    if settings.teacher is None:
        return None
    check_component(settings.teacher, "teacher", ("generate",))
    return clone_teacher(settings.teacher, settings.max_cost, is_asked=is_asked)


def _make_buyer(
    teacher: Any, settings: Settings, scratch: Path, emit: Callable[[Event], None]
) -> Buyer | None:
    if teacher is None:
        return None
    teacher = wrap_teacher(
        teacher,
        Path(settings.run_dir or scratch),
        max_cost=settings.max_cost,
        max_tokens=settings.max_tokens,
        is_cached=settings.run_dir is not None,
        redact=settings.redact,
    )
    return Buyer(
        teacher,
        max_cost=settings.max_cost,
        max_tokens=settings.max_tokens,
        emit=emit,
        is_shared=True,
    )


def _add_gate(
    labelled: LabelledTexts,
    validation: tuple[list[str], LabelArray] | None,
    fraction: float | None,
    rng: np.random.RandomState,
) -> tuple[LabelledTexts, Any]:
    """Return the labelled texts, those of `X_val` last, and the rows of the gate."""
    if validation is None:
        if fraction is None or not len(labelled):
            return labelled, np.array([], dtype=np.intp)
        return labelled, hold_out(labelled.texts, labelled.y, fraction, rng)[1]
    texts, y = validation
    copies = set(map(fold_text, texts))
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
    every: Sequence[Any] = [*labelled.y.tolist(), *y.tolist()]
    weights = labelled.weights
    if weights is not None:
        weights = np.append(weights, np.ones(len(texts)))
    joined = LabelledTexts(
        labelled.texts + texts, to_array(every, np.append(labelled.y, y)), weights
    )
    return joined, np.arange(len(labelled), len(joined))
