"""pgkd: performance-guided distillation of LLMs into small, fast text classifiers.

The public names are imported when first used, so that ``import pgkd`` costs next to nothing.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from pgkd._version import __version__ as __version__

# What tqdm, which transformers imports, says in notebooks without ipywidgets.
warnings.filterwarnings("ignore", "IProgress not found")

if TYPE_CHECKING:
    from pgkd.cascade.classifier import CascadeClassifier as CascadeClassifier
    from pgkd.classifier import PGKDClassifier as PGKDClassifier
    from pgkd.inputs.logs import Logs as Logs
    from pgkd.inputs.logs import read_logs as read_logs
    from pgkd.loop.evidence import Evidence as Evidence
    from pgkd.opening import load as load
    from pgkd.records import UnlabeledTexts as UnlabeledTexts


_LAZY = {
    "CascadeClassifier": "pgkd.cascade.classifier",
    "Evidence": "pgkd.loop.evidence",
    "PGKDClassifier": "pgkd.classifier",
    "Logs": "pgkd.inputs.logs",
    "UnlabeledTexts": "pgkd.records",
    "load": "pgkd.opening",
    "read_logs": "pgkd.inputs.logs",
}
_SUBMODULES = {
    "callbacks",
    "datasets",
    "distributed",
    "exceptions",
    "plots",
    "protocols",
    "records",
    "review",
    "runtime",
    "samplers",
    "serving",
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
    "load",
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
