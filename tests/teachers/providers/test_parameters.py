"""What teachers that ask a service share: their parameters."""

import inspect
import re

import numpy as np
import pytest
from sklearn.base import clone

from pgkd import CascadeClassifier, PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.records import AnnotationRequest, GenerationRequest
from pgkd.teachers import (
    AnthropicTeacher,
    BedrockTeacher,
    BudgetedTeacher,
    CachedTeacher,
    FunctionTeacher,
    LiteLLMTeacher,
    LocalTeacher,
    OpenAITeacher,
    RecordedTeacher,
)
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


URL = "http://127.0.0.1:9"
WRONG = [
    {"tokens_per_minute": 0},
    {"tokens_per_minute": [100, 100]},
    {"requests_per_minute": -1},
    {"max_concurrency": 0},
    {"max_retries": -1},
    {"price": (-1, -2)},
    {"price": 3.0},
    {"max_tokens": -5},
    {"temperature": -1},
    {"temperature": "hot"},
    {"timeout": 0},
    {"timeout": None},
    {"base_url": "127.0.0.1:9"},
    {"base_url": 9},
    *(
        {"base_url": url}
        for url in ("http://", "http://a b", "http://[::1", "http://a:99999", "http://a\n")
    ),
    *({"temperature": value} for value in (True, np.int64(1), float("nan"), float("inf"), [0.5])),
    *({"max_tokens": value} for value in (True, 5.0, np.int64(5), "5", float("inf"))),
    *({"max_concurrency": value} for value in (None, 2.0, np.bool_(True), "2", float("nan"))),
    *(
        {"requests_per_minute": value}
        for value in (False, "60", float("nan"), np.int64(60), (1, 2))
    ),
    *({"tokens_per_minute": value} for value in ((1, 0), (1,), (1, 2, 3), (True, 1), "9", {})),
    *({"price": value} for value in ((1,), (1, 2, 3, 4), (1, None), ("1", "2"), (1, float("inf")))),
    *({"price": value} for value in ((float("nan"), 1), (True, 1), np.array([1, 2]), {"input": 1})),
    *({"timeout": value} for value in (True, "60", -1, float("nan"), np.float32(5))),
    *({"max_retries": value} for value in (None, True, 1.0, "5", np.int64(5))),
    *({"model": value} for value in (5, b"m", " ", True, ["m"])),
    {"model": ""},
    {"model": None},
]
OWN = [
    (OpenAITeacher, {"extra_body": "top_p"}),
    (OpenAITeacher, {"batch": "yes"}),
    (OpenAITeacher, {"poll_interval": 0}),
    (AnthropicTeacher, {"max_tokens": None}),
    (AnthropicTeacher, {"prompt_caching": 1}),
    (AnthropicTeacher, {"extra_body": []}),
    (AnthropicTeacher, {"poll_interval": -1}),
    (BedrockTeacher, {"region": 1}),
    (BedrockTeacher, {"profile": b"x"}),
    (LiteLLMTeacher, {"options": []}),
]


@pytest.mark.parametrize(
    ("make", "wrong"), [*((make, wrong) for make in TEACHERS for wrong in WRONG), *OWN]
)
def test_a_parameter_that_cannot_work_is_refused_before_anything_is_trained(make, wrong, data):
    [(name, value)] = wrong.items()
    teacher = make(**{"model": "m", "base_url": URL, "api_key": "sk-1", **wrong})
    match = f"`{name}` parameter of {make.__name__} must be .*{re.escape(repr(value))} instead"
    with pytest.raises(InvalidInputError, match=match):
        PGKDClassifier(teacher, Untrained()).fit(*data)
    with pytest.raises(InvalidInputError, match=match):
        CascadeClassifier(Untrained(), teacher).fit(*data)
    with pytest.raises(InvalidInputError, match=match):
        next(teacher.generate([GenerationRequest("1-1", {"card": 1})]))
    with pytest.raises(InvalidInputError, match=match):
        next(teacher.annotate([AnnotationRequest("1-1", ("x",), (("card", "pin"),))]))


class Untrained:
    """Must not be trained."""

    def get_params(self, deep=True):
        return {}

    def fit(self, X, y):
        raise AssertionError("trained")

    predict_proba = fit


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"context_length": -1},
        {"n_threads": 0},
        {"device": 1},
        {"max_tokens": None},
        {"random_state": None},
        {"temperature": -0.5},
    ],
)
def test_parameters_of_a_local_teacher(wrong, data):
    [name] = wrong
    with pytest.raises(InvalidInputError, match=f"`{name}` parameter of LocalTeacher must be"):
        PGKDClassifier(LocalTeacher("m", **wrong), Untrained()).fit(*data)


@pytest.mark.parametrize("function", [None, "text", {}])
def test_a_function_that_is_none(function, data):
    with pytest.raises(InvalidInputError, match="`function` parameter of FunctionTeacher must be"):
        PGKDClassifier(FunctionTeacher(function), Untrained()).fit(*data)


def test_parameters_of_a_wrapped_teacher(tmp_path, data):
    wrong = FunctionTeacher(str, max_concurrency=0)
    for teacher in (
        CachedTeacher(wrong, tmp_path / "a"),
        BudgetedTeacher(wrong, tmp_path / "a"),
        RecordedTeacher(tmp_path / "a", wrong),
        CachedTeacher(RecordedTeacher(tmp_path / "a", wrong), tmp_path / "a"),
    ):
        with pytest.raises(InvalidInputError, match="parameter of FunctionTeacher must be an int"):
            PGKDClassifier(teacher, Untrained()).fit(*data)
        with pytest.raises(InvalidInputError, match="parameter of FunctionTeacher must be an int"):
            next(teacher.generate([GenerationRequest("1-1", {"card": 1})]))


@pytest.mark.parametrize("path", [None, 5, b"x", "", ["a"], True, "a\0b"])
def test_paths_of_wrappers(path, data):
    teacher = FunctionTeacher(str)
    for wrapper in (
        CachedTeacher(teacher, path),
        BudgetedTeacher(teacher, path),
        RecordedTeacher(path, teacher),
        RecordedTeacher(path),
    ):
        with pytest.raises(InvalidInputError, match="`path` parameter of .* must be the path of a"):
            PGKDClassifier(wrapper, Untrained()).fit(*data)


@pytest.mark.parametrize("teacher", [None, "gpt", 5, FunctionTeacher, print])
def test_what_cannot_be_wrapped(teacher, tmp_path, data):
    for wrapper in (CachedTeacher, BudgetedTeacher):
        with pytest.raises(InvalidInputError, match="`teacher` parameter of .* must be a teacher"):
            PGKDClassifier(wrapper(teacher, tmp_path / "a"), Untrained()).fit(*data)
