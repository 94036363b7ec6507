"""Samplers decide what the teacher is asked for, and what it is shown."""

from pgkd.samplers.describing import describe_classes
from pgkd.samplers.error_guided import EvoKDSampler, LLM2LLMSampler
from pgkd.samplers.performance_guided import PerformanceGuidedSampler
from pgkd.samplers.uncertainty import UncertaintySampler
from pgkd.samplers.unguided import UnguidedSampler

__all__ = [
    "EvoKDSampler",
    "LLM2LLMSampler",
    "PerformanceGuidedSampler",
    "UncertaintySampler",
    "UnguidedSampler",
    "describe_classes",
]
