"""Records as JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from pgkd.abstention import Abstention
from pgkd.calibration import Calibration
from pgkd.cascade_report import Estimate
from pgkd.records import (
    Audit,
    Choice,
    ClassAudit,
    ClassDiversity,
    ClassScore,
    Cycle,
    Diversity,
    StudentReport,
    SyntheticText,
    Usage,
)
from pgkd.students._text_classifier import jsonable


def text_to_line(text: SyntheticText) -> str:
    """A row of `synthetic_` as a line of JSON."""
    row = _fields(text)
    # The label of a rejected text can be anything.
    label: Any = repr(text.label)
    if isinstance(text.label, tuple):
        label = [jsonable({"label": own}).get("label", repr(own)) for own in text.label]
    return dumps({**row, "label": label, **jsonable(row)}) + "\n"


def text_from_line(line: str) -> SyntheticText:
    """Read a row of `synthetic_`."""
    row = json.loads(line)
    label = tuple(row["label"]) if isinstance(row["label"], list) else row["label"]
    seeds = tuple(row.get("seed_texts", ()))
    return SyntheticText(**{**row, "label": label, "seed_texts": seeds})


def cycle_to_json(cycle: Cycle) -> dict[str, Any]:
    """A cycle in what JSON can hold."""
    return {
        **_fields(cycle),
        "usage": asdict(cycle.usage),
        "saved": asdict(cycle.saved),
        "rejected": dict(cycle.rejected),
        "diversity": diversity_to_json(cycle.diversity),
        "gate_report": _report_to_json(cycle.gate_report),
        "feedback_report": cycle.feedback_report and _report_to_json(cycle.feedback_report),
    }


def cycle_from_json(document: dict[str, Any]) -> Cycle:
    """Read a cycle; what an older one lacks has its default."""
    shown = document["feedback_report"]
    parts = {
        "usage": Usage(**document["usage"]),
        "saved": Usage(**document.get("saved", {})),
        "diversity": diversity_from_json(document.get("diversity")),
        "gate_report": _report_from_json(document["gate_report"]),
        "feedback_report": shown and _report_from_json(shown),
    }
    return Cycle(**{**document, **parts})


def choice_to_json(choice: Choice) -> dict[str, Any]:
    """A choice in what JSON can hold."""
    return {
        **_fields(choice),
        "baseline_report": _report_to_json(choice.baseline_report),
        "last_report": _report_to_json(choice.last_report),
    }


def choice_from_json(document: dict[str, Any]) -> Choice:
    """Read a choice; older ones call the last student the best one."""
    document = {name.replace("best_", "last_"): value for name, value in document.items()}
    names = ("baseline_report", "last_report")
    return Choice(**{**document, **{name: _report_from_json(document[name]) for name in names}})


def _report_to_json(report: StudentReport) -> dict[str, Any]:
    return {
        **_fields(report),
        # Lists of pairs: labels need not be str.
        "classes": [[label, asdict(score)] for label, score in report.classes.items()],
        "confusions": [[*pair, n] for pair, n in report.confusions.items()],
    }


def _report_from_json(document: dict[str, Any]) -> StudentReport:
    parts = {
        "classes": {label: ClassScore(**score) for label, score in document["classes"]},
        "confusions": {(label, predicted): n for label, predicted, n in document["confusions"]},
    }
    return StudentReport(**{**document, **parts})


def diversity_from_json(document: dict[str, Any] | None) -> Diversity | None:
    """Read a diversity."""
    if document is None:
        return None
    classes = {label: ClassDiversity(*rest) for label, *rest in document.get("classes", ())}
    return Diversity(**{**document, "classes": classes})


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def diversity_to_json(diversity: Diversity | None) -> dict[str, Any] | None:
    """A diversity in what JSON can hold."""
    if diversity is None:
        return None
    classes = [[label, *own] for label, own in diversity.classes.items()]
    return {**_fields(diversity), "classes": classes}


def dumps(document: Any, indent: int | None = None) -> str:
    """Write JSON; numpy's scalars are taken for Python's."""

    def default(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"{type(value)} is no JSON")

    return json.dumps(document, ensure_ascii=False, indent=indent, default=default)


def audit_to_json(audit: Audit | None) -> dict[str, Any] | None:
    """Make JSON of an audit."""
    if audit is None:
        return None
    document = {name: getattr(audit, name) for name in audit.__dataclass_fields__}
    document["classes"] = [[label, *score] for label, score in audit.classes.items()]
    document["trust"] = [[*item] for item in audit.trust.items()]
    return {**document, "settled": sorted(audit.settled), "usage": asdict(audit.usage)}


def audit_from_json(document: dict[str, Any] | None) -> Audit | None:
    """Read what `audit_to_json` made."""
    if document is None:
        return None
    read = {
        "advantage": tuple(document["advantage"]),
        "classes": {label: ClassAudit(*score) for label, *score in document["classes"]},
        "settled": frozenset(document["settled"]),
        "trust": dict(document.get("trust", ())),
        "usage": Usage(**document["usage"]),
    }
    return Audit(**{**document, **read})


def calibration_from_json(document: dict[str, Any] | None) -> Calibration | None:
    """Read what `asdict` made of a calibration."""
    if document is None:
        return None
    return Calibration(**{**document, "ece_reduction": Estimate(*document["ece_reduction"])})


def abstention_from_json(document: dict[str, Any] | None) -> Abstention | None:
    """Read what `asdict` made of an abstention."""
    if document is None:
        return None
    estimates = ("coverage", "accuracy", "accuracy_of_all")
    return Abstention(**{**document, **{name: Estimate(*document[name]) for name in estimates}})
