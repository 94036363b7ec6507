"""Teachers write the texts that the student learns from."""

from pgkd.teachers.anthropic import AnthropicTeacher
from pgkd.teachers.base import LLMTeacher
from pgkd.teachers.bedrock import BedrockTeacher
from pgkd.teachers.budgeted import BudgetedTeacher
from pgkd.teachers.cached import CachedTeacher
from pgkd.teachers.function import FunctionTeacher
from pgkd.teachers.litellm import LiteLLMTeacher
from pgkd.teachers.local import LocalTeacher
from pgkd.teachers.openai import OpenAITeacher
from pgkd.teachers.recorded import RecordedTeacher

__all__ = [
    "AnthropicTeacher",
    "BedrockTeacher",
    "BudgetedTeacher",
    "CachedTeacher",
    "FunctionTeacher",
    "LLMTeacher",
    "LiteLLMTeacher",
    "LocalTeacher",
    "OpenAITeacher",
    "RecordedTeacher",
]
