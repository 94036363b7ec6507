"""Teachers write the texts that the student learns from.

From the bottom up, none importing one above it: `prompts`, `waiting`, `parameters` and `reading`;
`base`, which makes a teacher of them; `transport`; and side by side `providers` and `wrappers`.
"""

from pgkd.teachers.base import LLMTeacher
from pgkd.teachers.providers.anthropic import AnthropicTeacher
from pgkd.teachers.providers.bedrock import BedrockTeacher
from pgkd.teachers.providers.function import FunctionTeacher
from pgkd.teachers.providers.litellm import LiteLLMTeacher
from pgkd.teachers.providers.local import LocalTeacher
from pgkd.teachers.providers.openai import OpenAITeacher
from pgkd.teachers.wrappers.budgeted import BudgetedTeacher
from pgkd.teachers.wrappers.cached import CachedTeacher
from pgkd.teachers.wrappers.recorded import RecordedTeacher
from pgkd.teachers.wrappers.redacted import RedactedTeacher

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
    "RedactedTeacher",
]
