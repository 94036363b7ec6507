"""Saved classifiers: a directory of safetensors, JSON and skops files. Nothing is unpickled.

::

    pgkd.json        version, parameters, classes, history, comparison, usage, probe
    synthetic.jsonl  the generated texts
    student/         written by the student's own ``save``, or student.skops for scikit-learn's
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from pgkd._version import __version__
from pgkd.exceptions import PersistenceError
from pgkd.loop.evidence import Evidence
from pgkd.loop.routes import ROUTES
from pgkd.models.serialization import abstention_from_json, calibration_from_json
from pgkd.records import Records, Sent, SyntheticText, Usage
from pgkd.students._saving import load_student, save_student
from pgkd.system.artefacts import (
    TRIAL,
    check_folder,
    check_probabilities,
    is_fault,
    parse_json,
    read_bytes,
    read_classes,
    read_json,
    read_kind,
    read_thresholds,
)
from pgkd.system.documents import (
    comparison_from_json,
    diversity_from_json,
    diversity_to_json,
    dumps,
    probe_from_json,
    step_from_json,
    step_to_json,
    text_from_json,
    text_to_line,
)
from pgkd.system.files import (
    DOCUMENT,
    explain_missing,
    find_writer,
    jsonable,
    list_files,
    replacing,
    write_text,
)

#: 3: `history_` has steps. Of a classifier in an earlier format, what it needs to predict is read.
FORMAT = 3
TEXTS, STUDENT = "synthetic.jsonl", "student"
#: A teacher may hold a key, and none is needed to predict. The student is read from `student_`.
COMPONENTS = frozenset(
    ("teacher", "student", "sampler", "callbacks", "redact", "run_dir", "evidence", "routes")
)
#: Bytes of all generated texts: some 500,000 of them.
MAX_TEXTS = 256 * 2**20


def save(classifier: Any, directory: Path) -> None:
    """Write a fitted classifier, whole or not at all."""
    with replacing(directory, "save") as draft:
        _write(classifier, draft)


def load(cls: type[Any], directory: Path, trusted: Sequence[str]) -> Any:
    """Read a classifier that `save` wrote."""
    if not (directory / DOCUMENT).is_file():
        what = f"it has no {DOCUMENT}" if directory.is_dir() else "there is no such directory"
        raise PersistenceError(
            f"{str(directory)!r} is not a saved classifier: {what}. Pass the "
            f"directory given to `save`.{explain_missing(directory)}"
        )
    try:
        check_folder(directory)
        return _read(cls, directory, trusted)
    except BaseException as error:  # whatever strangers' students and cut files lead to
        if isinstance(error, PersistenceError) or not is_fault(error):
            raise
        raise PersistenceError(
            f"{str(directory)!r} is damaged, or made with packages that are missing here or of "
            f"another version ({type(error).__name__}: {error}): save it again, or install these "
            "packages."
        ) from error


def _write(classifier: Any, directory: Path) -> None:
    student_class = save_student(classifier.student_, directory / STUDENT)
    write_text(directory / TEXTS, "".join(map(text_to_line, classifier.synthetic_)))
    params = classifier.get_params(deep=False)
    descriptions, names = params["class_descriptions"], params["class_names"]
    thresholds = getattr(classifier, "label_thresholds_", None)
    document = {
        "format": FORMAT,
        "pgkd": __version__,
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
        "saved_usage": asdict(classifier.saved_usage_),
        "sent": classifier.sent_ and asdict(classifier.sent_),
        "probe": classifier.probe_ and asdict(classifier.probe_),
        "n_cycles": classifier.n_cycles_,
        "stop_reason": classifier.stop_reason_,
        "comparison": classifier.comparison_ and asdict(classifier.comparison_),
        "calibration": classifier.calibration_ and asdict(classifier.calibration_),
        "abstention": classifier.abstention_ and asdict(classifier.abstention_),
        "labelled_diversity": diversity_to_json(classifier.labelled_diversity_),
        "refit_mask": None if classifier.refit_mask_ is None else classifier.refit_mask_.tolist(),
    }
    write_text(directory / DOCUMENT, dumps(document, indent=1))
    # Whether it can be read is found out now, not when it is needed.
    read_json(directory / DOCUMENT)
    _read_texts(directory / TEXTS)


def _read(cls: type[Any], directory: Path, trusted: Sequence[str]) -> Any:
    document = read_json(directory / DOCUMENT)
    if find_writer(document) == "export":
        raise PersistenceError(
            f"{str(directory)!r} was written by `export`, which keeps less: pass the directory "
            "that was given to `save`, or open it with `pgkd.load`."
        )
    if document["format"] > FORMAT:
        raise PersistenceError(
            f"{str(directory)!r} was written by pgkd {document['pgkd']}, and this is "
            f"{__version__}: upgrade pgkd."
        )
    if document["format"] < FORMAT:
        document = _upgrade(document, cls)
    if odd := document["params"].keys() & {*COMPONENTS}:
        raise ValueError(f"it has {sorted(odd)}, which `save` never writes")
    classifier = cls(**document["params"])
    if document.get("class_descriptions"):
        classifier.class_descriptions = dict(document["class_descriptions"])
    classifier.class_names = document.get("class_names")
    classifier.classes_ = read_classes(document)
    classifier._target_kind = read_kind(document)
    if not classifier.multilabel_:  # whose columns may be in any order
        classifier.classes_ = np.unique(classifier.classes_)
    classifier.label_thresholds_ = read_thresholds(document)
    classifier.routes = tuple(document["routes"])
    if document.get("evidence") is not None:
        classifier.evidence = Evidence(**document["evidence"])
    classifier.history_ = Records(map(step_from_json, document["history"]))
    classifier.usage_ = Usage(**document["usage"])
    classifier.saved_usage_ = Usage(**document.get("saved_usage", {}))
    sent = document.get("sent")
    classifier.sent_ = None if sent is None else Sent(**sent)
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
    classifier.synthetic_ = Records(_read_texts(directory / TEXTS))
    classifier.student_ = load_student(document["student"], directory / STUDENT, trusted)
    classifier.student = clone(classifier.student_)
    if classifier.multilabel_:
        if classifier._target_kind == "indicator":
            classifier.class_names = classifier.classes_.tolist()
    elif not np.isin(classifier.student_.classes_, classifier.classes_).all():
        raise PersistenceError(
            f"{str(directory)!r} is damaged: its student has classes that {DOCUMENT} has not. "
            "Save it again."
        )
    found = classifier.predict_proba([TRIAL])  # whether it can answer is found out now
    check_probabilities(found, len(classifier.classes_), multilabel=classifier.multilabel_)
    return classifier


def _read_texts(path: Path) -> list[SyntheticText]:
    lines = read_bytes(path, MAX_TEXTS).splitlines()  # of bytes, which has \n, \r and no others
    texts = [text_from_json(parse_json(line)) for line in lines]
    if not all(isinstance(text.text, str) for text in texts):
        raise ValueError(f"{path.name} has what is no text")
    return texts


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
