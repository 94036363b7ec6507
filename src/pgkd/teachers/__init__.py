"""Teachers write the texts that the student learns from."""

from pgkd.teachers.base import LLMTeacher
from pgkd.teachers.cached import CachedTeacher
from pgkd.teachers.function import FunctionTeacher
from pgkd.teachers.openai import OpenAITeacher

__all__ = ["CachedTeacher", "FunctionTeacher", "LLMTeacher", "OpenAITeacher"]
