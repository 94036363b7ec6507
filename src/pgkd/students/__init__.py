"""Students: small models that learn the task. Any scikit-learn text pipeline is one as well.

The names are imported when first used, so that ``import pgkd.students`` does not import torch.
May import: `export` and what is below.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgkd.students.embedding import EmbeddingStudent as EmbeddingStudent
    from pgkd.students.setfit import SetFitStudent as SetFitStudent
    from pgkd.students.static import StaticStudent as StaticStudent
    from pgkd.students.transformer import TransformerStudent as TransformerStudent

_LAZY = {
    "EmbeddingStudent": "pgkd.students.embedding",
    "SetFitStudent": "pgkd.students.setfit",
    "StaticStudent": "pgkd.students.static",
    "TransformerStudent": "pgkd.students.transformer",
}

__all__ = ["EmbeddingStudent", "SetFitStudent", "StaticStudent", "TransformerStudent"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'pgkd.students' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
