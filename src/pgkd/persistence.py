"""Saved classifiers: a directory of safetensors, JSON and skops files. Nothing is unpickled.

::

    pgkd.json        version, parameters, classes, history, usage
    synthetic.jsonl  the generated texts
    student/         written by the student's own ``save``, or student.skops for scikit-learn's
"""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import pgkd
from pgkd.exceptions import PersistenceError
from pgkd.records import ClassScore, Cycle, StudentReport, SyntheticText, Usage

FORMAT = 1
#: Components are left out: a teacher may hold a key, and none is needed to predict.
COMPONENTS = ("teacher", "student", "sampler", "callbacks", "run_dir")


def save(classifier: Any, directory: Path) -> None:
    """Write a fitted classifier, whole or not at all."""
    if directory.exists() and not (directory / "pgkd.json").exists() and any(directory.iterdir()):
        raise PersistenceError(
            f"{str(directory)!r} holds something else than a saved classifier: pass a new or an "
            "empty directory."
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    # In the same parent, so that the last step is a rename.
    draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        student_class = _save_student(classifier.student_, draft / "student")
        document = {
            "format": FORMAT,
            "pgkd": pgkd.__version__,
            "student": student_class,
            "params": _jsonable_params(classifier),
            "classes": classifier.classes_.tolist(),
            "classes_dtype": classifier.classes_.dtype.str,
            "history": [_cycle_to_json(cycle) for cycle in classifier.history_],
            "usage": asdict(classifier.usage_),
            "best_cycle": classifier.best_cycle_,
            "stop_reason": classifier.stop_reason_,
        }
        (draft / "pgkd.json").write_text(_dumps(document, indent=1), encoding="utf-8")
        lines = [_dumps(asdict(text)) + "\n" for text in classifier.synthetic_]
        (draft / "synthetic.jsonl").write_text("".join(lines), encoding="utf-8")
        draft.chmod(0o755)  # mkdtemp's are private
        if directory.exists():
            shutil.rmtree(directory)
        draft.rename(directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load(cls: type[Any], directory: Path, trusted: Sequence[str]) -> Any:
    """Read a classifier that `save` wrote."""
    path = directory / "pgkd.json"
    if not path.is_file():
        raise PersistenceError(
            f"{str(directory)!r} is not a saved classifier: it has no pgkd.json. Pass the "
            "directory given to `save`."
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] > FORMAT:
            raise PersistenceError(
                f"{str(directory)!r} was written by pgkd {document['pgkd']}, and this is "
                f"{pgkd.__version__}: upgrade pgkd."
            )
        classifier = cls(**document["params"])
        classifier.classes_ = np.array(document["classes"], dtype=document["classes_dtype"])
        classifier.history_ = [_cycle_from_json(cycle) for cycle in document["history"]]
        classifier.usage_ = Usage(**document["usage"])
        classifier.n_cycles_ = classifier.history_[-1].number
        classifier.best_cycle_ = document["best_cycle"]
        classifier.stop_reason_ = document["stop_reason"]
        lines = (directory / "synthetic.jsonl").read_text(encoding="utf-8").splitlines()
        classifier.synthetic_ = [SyntheticText(**json.loads(line)) for line in lines]
    except (LookupError, TypeError, ValueError, OSError) as error:
        if isinstance(error, PersistenceError):
            raise
        raise PersistenceError(f"{str(path)!r} is damaged ({error!r}): save it again.") from error
    classifier.student_ = _load_student(document["student"], directory / "student", trusted)
    return classifier


def _save_student(student: Any, directory: Path) -> str | None:
    """Save a student by its own means or by skops; name its class in the first case."""
    directory.mkdir()
    if hasattr(student, "save"):
        student.save(directory)
        return f"{type(student).__module__}:{type(student).__qualname__}"
    import skops.io

    skops.io.dump(student, directory / "student.skops")
    return None


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
    return getattr(importlib.import_module(module), attribute).load(directory)


def _jsonable_params(classifier: Any) -> dict[str, Any]:
    """Keep the parameters that JSON can hold; a callable `scoring` or a RandomState is left out."""
    params = {}
    for name, value in classifier.get_params(deep=False).items():
        if name in COMPONENTS:
            continue
        if name == "class_descriptions" and value:
            continue  # its keys need not be str
        try:
            params[name] = json.loads(_dumps(value))
        except TypeError:
            continue
    return params


def _cycle_to_json(cycle: Cycle) -> dict[str, Any]:
    document = {name: getattr(cycle, name) for name in cycle.__dataclass_fields__}
    document["usage"] = asdict(cycle.usage)
    document["rejected"] = dict(cycle.rejected)
    for name in ("gate_report", "feedback_report"):
        report = document[name]
        document[name] = report and {
            "accuracy": report.accuracy,
            "f1_macro": report.f1_macro,
            "log_loss": report.log_loss,
            # Lists of pairs: labels need not be str.
            "classes": [[label, asdict(score)] for label, score in report.classes.items()],
            "confusions": [[*pair, n] for pair, n in report.confusions.items()],
        }
    return document


def _cycle_from_json(document: dict[str, Any]) -> Cycle:
    for name in ("gate_report", "feedback_report"):
        report = document[name]
        document[name] = report and StudentReport(
            report["accuracy"],
            report["f1_macro"],
            report["log_loss"],
            {label: ClassScore(**score) for label, score in report["classes"]},
            {(label, predicted): n for label, predicted, n in report["confusions"]},
        )
    return Cycle(**{**document, "usage": Usage(**document["usage"])})


def _dumps(document: Any, indent: int | None = None) -> str:
    def default(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"{type(value)} is no JSON")

    return json.dumps(document, ensure_ascii=False, indent=indent, default=default)
