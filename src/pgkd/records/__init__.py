"""The frozen records that travel between the modules.

They may import one another and nothing else of pgkd: everything may import them, from here.
"""

from pgkd.records.answers import (
    NO_ANSWER,
    NO_LABEL,
    Completion,
    Generation,
    Refusal,
    Usage,
)
from pgkd.records.comparison import Comparison
from pgkd.records.diversity import ClassDiversity, Diversity
from pgkd.records.performance import ClassScore, Feedback, Prediction, StudentReport
from pgkd.records.probe import Probe, wilson_interval
from pgkd.records.requests import AnnotationRequest, GenerationRequest, Message
from pgkd.records.run import Begin, Event, Progress, Step, SyntheticText
from pgkd.records.sent import HERE, Sent
from pgkd.records.state import Batch, State
from pgkd.records.table import Records
from pgkd.records.texts import Example, FloatArray, Label, LabelArray, UnlabeledTexts, labels_of

__all__ = [
    "HERE",
    "NO_ANSWER",
    "NO_LABEL",
    "AnnotationRequest",
    "Batch",
    "Begin",
    "ClassDiversity",
    "ClassScore",
    "Comparison",
    "Completion",
    "Diversity",
    "Event",
    "Example",
    "Feedback",
    "FloatArray",
    "Generation",
    "GenerationRequest",
    "Label",
    "LabelArray",
    "Message",
    "Prediction",
    "Probe",
    "Progress",
    "Records",
    "Refusal",
    "Sent",
    "State",
    "Step",
    "StudentReport",
    "SyntheticText",
    "UnlabeledTexts",
    "Usage",
    "labels_of",
    "wilson_interval",
]
