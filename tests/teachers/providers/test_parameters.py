"""What teachers that ask a service share: their parameters."""

import inspect
import re

import pytest
from sklearn.base import clone

from pgkd.teachers import AnthropicTeacher, BedrockTeacher, LiteLLMTeacher, OpenAITeacher
from pgkd.teachers.transport.remote import RemoteTeacher

TEACHERS = [AnthropicTeacher, BedrockTeacher, LiteLLMTeacher, OpenAITeacher]


def find_defaults(teacher):
    parameters = inspect.signature(teacher).parameters.values()
    return {p.name: p.default for p in parameters}


@pytest.mark.parametrize("teacher", TEACHERS)
def test_each_parameter_and_its_default_is_documented(teacher):
    """They are inherited, and the docstring that tells of them is not."""
    section = inspect.getdoc(teacher).split("Parameters\n")[1].split("\n\n")[0]
    found = re.findall(r"^(\w+) : .*?(?:, default=(.*))?$", section, re.MULTILINE)
    documented = {name: eval(default) if default else inspect._empty for name, default in found}
    assert documented == find_defaults(teacher)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_all_but_the_model_are_given_by_name(teacher):
    assert issubclass(teacher, RemoteTeacher)
    assert teacher("m").get_params().keys() == find_defaults(teacher).keys()
    assert clone(teacher("m", timeout=7.0)).timeout == 7.0
    with pytest.raises(TypeError, match="positional"):
        teacher("m", "http://127.0.0.1:9")
