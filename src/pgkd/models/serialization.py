"""What was measured of a classifier, from JSON."""

from __future__ import annotations

from typing import Any

from pgkd.evaluation.calibration import Bin, Calibration
from pgkd.evaluation.estimates import Estimate
from pgkd.models.abstention import Abstention
from pgkd.system.artefacts import read_number

#: Temperatures that a calibration finds are between 0.006 and 150.
COLDEST, HOTTEST = 1e-3, 1e3


def calibration_from_json(document: dict[str, Any] | None) -> Calibration | None:
    """Read what `asdict` made of a calibration."""
    if document is None:
        return None
    read_number(document["temperature"], "temperature", COLDEST, HOTTEST)
    bins = {
        name: tuple(Bin(*own) for own in document.get(name, ()))
        for name in ("bins_before", "bins_after")
    }
    reduction = Estimate(*document["ece_reduction"])
    return Calibration(**{**document, **bins, "ece_reduction": reduction})


def abstention_from_json(document: dict[str, Any] | None) -> Abstention | None:
    """Read what `asdict` made of an abstention."""
    if document is None:
        return None
    read_number(document["threshold"], "threshold", 0, 1 + 1e-6)
    estimates = ("coverage", "accuracy", "accuracy_of_all")
    return Abstention(**{**document, **{name: Estimate(*document[name]) for name in estimates}})
