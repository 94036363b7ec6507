"""Saved classifiers: a directory of safetensors, JSON and skops files. Nothing is unpickled.

::

    pgkd.json        version, parameters, classes, history, comparison, usage, probe
    synthetic.jsonl  the generated texts
    student/         written by the student's own ``save``, or student.skops for scikit-learn's
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
from sklearn.base import clone

import pgkd
from pgkd.evidence import Evidence
from pgkd.exceptions import PersistenceError
from pgkd.ranks import is_main_process
from pgkd.records import Usage
from pgkd.routes import ROUTES
from pgkd.serialization import (
    abstention_from_json,
    calibration_from_json,
    comparison_from_json,
    diversity_from_json,
    diversity_to_json,
    dumps,
    probe_from_json,
    step_from_json,
    step_to_json,
    text_from_line,
    text_to_line,
)
from pgkd.students._text_classifier import jsonable

#: 3: `history_` has steps. Of a classifier in an earlier format, what it needs to predict is read.
FORMAT = 3
DOCUMENT, TEXTS, STUDENT = "pgkd.json", "synthetic.jsonl", "student"
#: A teacher may hold a key, and none is needed to predict. The student is read from `student_`.
COMPONENTS = ("teacher", "student", "sampler", "callbacks", "run_dir", "evidence", "routes")


def save(classifier: Any, directory: Path) -> None:
    """Write a fitted classifier, whole or not at all."""
    with replacing(directory, "save") as draft:
        _write(classifier, draft)


@contextmanager
def replacing(directory: Path, writer: str) -> Iterator[Path]:
    """Yield a draft that takes the place of `directory`, whole or not at all.

    `writer` is the method that writes it, and the only one whose directories it replaces. Of the
    processes of a launcher, rank 0 replaces it, and the drafts of the others are thrown away.
    """
    if not is_main_process():
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            yield Path(scratch)
        return
    try:
        directory = Path(os.path.abspath(directory))
        _check_replaceable(directory, writer)
        # In the same parent, so that the last step is a rename. No mkdtemp: that is private.
        draft = directory.with_name(f".{directory.name}-{uuid4().hex[:8]}")
        draft.mkdir(parents=True)
        try:
            yield draft
            _replace(directory, draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise PersistenceError(
            f"Cannot {writer} to {str(directory)!r} ({error}): pass a directory that can be "
            "written."
        ) from error


def load(cls: type[Any], directory: Path, trusted: Sequence[str]) -> Any:
    """Read a classifier that `save` wrote."""
    if not (directory / DOCUMENT).is_file():
        raise PersistenceError(
            f"{str(directory)!r} is not a saved classifier: it has no {DOCUMENT}. Pass the "
            "directory given to `save`."
        )
    try:
        return _read(cls, directory, trusted)
    except PersistenceError:
        raise
    except Exception as error:  # whatever strangers' students and cut files lead to
        raise PersistenceError(
            f"{str(directory)!r} is damaged, or made with packages that are missing here or of "
            f"another version ({type(error).__name__}: {error}): save it again, or install these "
            "packages."
        ) from error


def _check_replaceable(directory: Path, writer: str) -> None:
    """Refuse a place where something would be destroyed, or where all work would be in vain."""
    place = f"Cannot {writer} to {str(directory)!r}"
    if directory.is_symlink():
        raise PersistenceError(
            f"{place}, a symbolic link: pass the directory itself, {str(directory.resolve())!r}."
        )
    if not directory.exists():
        return
    if not directory.is_dir():
        raise PersistenceError(f"{place}, which is a file: pass a new or an empty directory.")
    if Path.cwd().is_relative_to(directory.resolve()):
        raise PersistenceError(
            f"{place}, in which the process works, so that it cannot be replaced: pass another "
            "directory."
        )
    strange = _find_strange(directory, writer)
    if strange:
        raise PersistenceError(
            f"{place}: it holds {len(strange)} thing(s) that `{writer}` did not write or no longer "
            f"knows, e.g. {strange[:3]}. Move them away, or pass a new or an empty directory."
        )


def _find_strange(directory: Path, writer: str) -> list[str]:
    """Return what a directory holds besides what `writer` wrote."""
    found = list_files(directory)
    try:
        document = json.loads((directory / DOCUMENT).read_text(encoding="utf-8"))
        if _writer(document) != writer:
            return found
        written = {*document["files"]}
    except KeyError:  # saved before there was a list
        written = {TEXTS, STUDENT, *(name for name in found if name.startswith(f"{STUDENT}/"))}
    except (AttributeError, OSError, TypeError, ValueError):  # damaged, or none of ours
        return found
    return sorted({*found} - {DOCUMENT} - written)


def _writer(document: Any) -> str:
    return str(document.get("writer", "save"))  # which does not name itself


def list_files(directory: Path) -> list[str]:
    """Name all that a directory holds, as `replacing` wants to find it in ``pgkd.json``."""
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def _replace(directory: Path, draft: Path) -> None:
    """Put the draft in the directory's place. A kill in between leaves both, side by side."""
    old = draft.with_name(f"{draft.name}-old")
    try:
        if directory.exists():
            directory.rename(old)
        draft.rename(directory)
    finally:
        if old.exists() and not directory.exists():
            old.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


def _write(classifier: Any, directory: Path) -> None:
    student_class = _save_student(classifier.student_, directory / STUDENT)
    _write_text(directory / TEXTS, "".join(map(text_to_line, classifier.synthetic_)))
    params = classifier.get_params(deep=False)
    descriptions, names = params["class_descriptions"], params["class_names"]
    thresholds = getattr(classifier, "label_thresholds_", None)
    document = {
        "format": FORMAT,
        "pgkd": pgkd.__version__,
        "files": list_files(directory),
        "student": student_class,
        "params": jsonable({k: v for k, v in params.items() if k not in COMPONENTS}),
        # Pairs: labels need not be str.
        "class_descriptions": descriptions and list(descriptions.items()),
        "class_names": None if names is None else np.asarray(names).tolist(),
        "target_kind": classifier._target_kind,
        "label_thresholds": None if thresholds is None else thresholds.tolist(),
        "classes": classifier.classes_.tolist(),
        "classes_dtype": classifier.classes_.dtype.str,
        "routes": list(params["routes"]),
        "evidence": _evidence_to_json(params["evidence"]),
        "history": [step_to_json(step) for step in classifier.history_],
        "usage": asdict(classifier.usage_),
        "probe": classifier.probe_ and asdict(classifier.probe_),
        "n_cycles": classifier.n_cycles_,
        "stop_reason": classifier.stop_reason_,
        "comparison": classifier.comparison_ and asdict(classifier.comparison_),
        "calibration": classifier.calibration_ and asdict(classifier.calibration_),
        "abstention": classifier.abstention_ and asdict(classifier.abstention_),
        "labelled_diversity": diversity_to_json(classifier.labelled_diversity_),
        "refit_mask": None if classifier.refit_mask_ is None else classifier.refit_mask_.tolist(),
    }
    _write_text(directory / DOCUMENT, dumps(document, indent=1))


def _read(cls: type[Any], directory: Path, trusted: Sequence[str]) -> Any:
    document = json.loads((directory / DOCUMENT).read_text(encoding="utf-8"))
    if _writer(document) == "export":
        raise PersistenceError(
            f"{str(directory)!r} was written by `export`, which keeps less: use pgkd.runtime.load, "
            "or pass a directory given to `save`."
        )
    if document["format"] > FORMAT:
        raise PersistenceError(
            f"{str(directory)!r} was written by pgkd {document['pgkd']}, and this is "
            f"{pgkd.__version__}: upgrade pgkd."
        )
    if document["format"] < FORMAT:
        document = _upgrade(document, cls)
    classifier = cls(**document["params"])
    if document.get("class_descriptions"):
        classifier.class_descriptions = dict(document["class_descriptions"])
    classifier.class_names = document.get("class_names")
    classifier.classes_ = np.array(document["classes"], document["classes_dtype"])
    classifier._target_kind = document.get("target_kind", "labels")
    if not classifier.multilabel_:  # whose columns may be in any order
        classifier.classes_ = np.unique(classifier.classes_)
    thresholds = document.get("label_thresholds")
    classifier.label_thresholds_ = None if thresholds is None else np.array(thresholds)
    classifier.routes = tuple(document["routes"])
    if document.get("evidence") is not None:
        classifier.evidence = Evidence(**document["evidence"])
    classifier.history_ = [step_from_json(step) for step in document["history"]]
    classifier.usage_ = Usage(**document["usage"])
    classifier.probe_ = probe_from_json(document["probe"])
    classifier.n_cycles_ = document["n_cycles"]
    classifier.stop_reason_ = document["stop_reason"]
    classifier.comparison_ = comparison_from_json(document["comparison"])
    classifier.labelled_diversity_ = diversity_from_json(document["labelled_diversity"])
    classifier.calibration_ = calibration_from_json(document.get("calibration"))
    classifier.abstention_ = abstention_from_json(document.get("abstention"))
    classifier._judged = None  # labelled texts are not saved, nor what was answered to them
    mask = document["refit_mask"]
    classifier.refit_mask_ = None if mask is None else np.array(mask, dtype=bool)
    with (directory / TEXTS).open(encoding="utf-8") as lines:
        classifier.synthetic_ = [text_from_line(line) for line in lines]
    classifier.student_ = _load_student(document["student"], directory / STUDENT, trusted)
    classifier.student = clone(classifier.student_)
    if classifier.multilabel_:
        if classifier._target_kind == "indicator":
            classifier.class_names = classifier.classes_.tolist()
        return classifier
    if not np.isin(classifier.student_.classes_, classifier.classes_).all():
        raise PersistenceError(
            f"{str(directory)!r} is damaged: its student has classes that {DOCUMENT} has not. "
            "Save it again."
        )
    return classifier


def _evidence_to_json(evidence: Any) -> dict[str, Any] | None:
    """Keep an Evidence but its scout, which a teacher is needed for."""
    return None if evidence is None else jsonable(evidence.get_params(deep=False))


def _upgrade(document: dict[str, Any], cls: type[Any]) -> dict[str, Any]:
    """Read what an earlier pgkd saved, as far as predicting needs it.

    Its cycles are no steps, and its parameters others: of the run only the texts and the bill are
    left, and `report` says so.
    """
    known = cls._get_param_names()
    params = {name: value for name, value in document["params"].items() if name in known}
    return {
        **document,
        "params": params,
        "routes": list(ROUTES),
        "history": [],
        "n_cycles": len(document["history"]) - 1,
        "comparison": None,
        "probe": None,
        "labelled_diversity": document.get("labelled_diversity"),
        "refit_mask": document.get("refit_mask"),
    }


def _save_student(student: Any, directory: Path) -> str | None:
    """Save a student by its own means or by skops; name its class in the first case."""
    directory.mkdir()
    cls = type(student)
    name = f"{cls.__module__}:{cls.__qualname__}"
    own = hasattr(student, "save")
    if own and ("." in cls.__qualname__ or not hasattr(cls, "load")):
        raise PersistenceError(
            f"The student's class {name!r} has `save`, but could not be loaded again: give it a "
            "class method `load(directory)`, and define it at the top of its module."
        )
    try:
        if own:
            student.save(directory)
        else:
            import skops.io

            skops.io.dump(student, directory / "student.skops")
    except (PersistenceError, OSError):
        raise
    except Exception as error:
        parts = [
            f"Its part `{key}`, of class {type(value).__name__}, can only be saved as the student "
            "itself. "
            for key, value in student.get_params().items()
            if hasattr(value, "save")
        ]
        raise PersistenceError(
            f"The student, of class {name!r}, cannot be saved without pickle ({error!r}). "
            f"{''.join(parts)}Use another student, or pickle the classifier with joblib.dump."
        ) from error
    return name if own else None


def _load_student(name: str | None, directory: Path, trusted: Sequence[str]) -> Any:
    import skops.io

    if name is None:
        file = directory / "student.skops"
        unknown = set(skops.io.get_untrusted_types(file=file)) - set(trusted)
        if unknown:
            raise PersistenceError(
                f"The student has types that are not trusted by default: {sorted(unknown)}. If you "
                "know where the directory comes from, pass them as `trusted=[...]`."
            )
        return skops.io.load(file, trusted=list(trusted))
    module, _, attribute = name.partition(":")
    # The directory names the class: importing just anything would be a pickle by another name.
    if module.split(".")[0] != "pgkd" and name not in trusted:
        raise PersistenceError(
            f"The student is of the class {name!r}, which is none of pgkd's. If you know where the "
            f"directory comes from, pass `trusted=[{name!r}]`."
        )
    cls = getattr(importlib.import_module(module), attribute)
    if not isinstance(cls, type):  # e.g. torch, which has a `load` as well
        raise TypeError(f"{name!r} is no class")
    return cls.load(directory)  # type: ignore[attr-defined]


def _write_text(path: Path, text: str) -> None:
    # A rejected text can hold half a surrogate pair, which JSON has as \ud83d and UTF-8 has not.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
