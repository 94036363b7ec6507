"""Exported classifiers: predicting with numpy, tokenizers and one engine, without torch.

May import: `exceptions`, `inputs`.
"""

from pgkd.export.runtime import ExportedClassifier, load

__all__ = ["ExportedClassifier", "load"]
