"""pgkd: performance-guided distillation of LLMs into small, fast text classifiers.

The public names are imported when first used, so that ``import pgkd`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgkd.cascade import CascadeClassifier as CascadeClassifier
    from pgkd.classifier import PGKDClassifier as PGKDClassifier
    from pgkd.evidence import Evidence as Evidence
    from pgkd.logs import Logs as Logs
    from pgkd.logs import read_logs as read_logs
    from pgkd.records import UnlabeledTexts as UnlabeledTexts

__version__ = "0.1.0.dev0"

_LAZY = {
    "CascadeClassifier": "pgkd.cascade",
    "Evidence": "pgkd.evidence",
    "PGKDClassifier": "pgkd.classifier",
    "Logs": "pgkd.logs",
    "UnlabeledTexts": "pgkd.records",
    "read_logs": "pgkd.logs",
}
_SUBMODULES = {
    "distributed",
    "exceptions",
    "protocols",
    "records",
    "runtime",
    "samplers",
    "students",
    "teachers",
    "testing",
}

__all__ = [
    "CascadeClassifier",
    "Evidence",
    "Logs",
    "PGKDClassifier",
    "UnlabeledTexts",
    "__version__",
    "read_logs",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"pgkd.{name}")
    raise AttributeError(f"module 'pgkd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES])
