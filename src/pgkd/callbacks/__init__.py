"""Callbacks follow a run: they print it, write it to a file, or tell a tracker of experiments.

`progress` has the live line, `files` JSON lines, `trackers` MLflow, Weights & Biases and
TensorBoard, `following` calls them all. May import: `reporting` and all below.
"""

from pgkd.callbacks.files import JSONLinesCallback
from pgkd.callbacks.progress import PrintProgress
from pgkd.callbacks.trackers import MLflowCallback, TensorBoardCallback, WandbCallback

__all__ = [
    "JSONLinesCallback",
    "MLflowCallback",
    "PrintProgress",
    "TensorBoardCallback",
    "WandbCallback",
]
