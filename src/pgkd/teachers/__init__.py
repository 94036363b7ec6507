"""Teachers write the texts that the student learns from."""

from pgkd.teachers.base import LLMTeacher
from pgkd.teachers.budgeted import BudgetedTeacher
from pgkd.teachers.cached import CachedTeacher
from pgkd.teachers.function import FunctionTeacher
from pgkd.teachers.openai import OpenAITeacher
from pgkd.teachers.recorded import RecordedTeacher

__all__ = [
    "BudgetedTeacher",
    "CachedTeacher",
    "FunctionTeacher",
    "LLMTeacher",
    "OpenAITeacher",
    "RecordedTeacher",
]
