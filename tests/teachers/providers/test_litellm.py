"""LiteLLMTeacher with a fake of litellm and, where that is installed, with itself."""

import json
import pickle
import sys
import traceback
import types

import httpx
import pytest
from sklearn.base import clone

from pgkd.exceptions import (
    InvalidInputError,
    TeacherAuthenticationError,
    TeacherError,
    TeacherUnavailableError,
)
from pgkd.records import GenerationRequest, Usage
from pgkd.teachers import LiteLLMTeacher
from pgkd.testing import check_teacher

REQUEST = GenerationRequest("1-1", {"card": 1, "rate": 1})
URL = "http://127.0.0.1:9/v1"
KEY = "sk-canary-7351"


class Answer:
    """Of the shape of litellm's ModelResponse."""

    def __init__(self, content='{"card": ["where is it"]}', finish_reason="stop"):
        message = {"role": "assistant", "content": content}
        self.document = {
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 60},
            },
        }

    def model_dump_json(self):
        return json.dumps(self.document)


class LiteLLMError(Exception):
    """Of the shape of litellm's errors."""

    def __init__(self, status, message="no", headers=None, body=None):
        super().__init__(message)
        self.status_code, self.body = status, body
        self.response = httpx.Response(status, headers=headers)


@pytest.fixture
def fake(monkeypatch):
    """A litellm that plays `script` and keeps the arguments of its calls."""
    module = types.ModuleType("litellm")
    module.calls, module.script = [], [Answer()]

    def completion(**arguments):
        module.calls.append(arguments)
        step = module.script[min(len(module.calls), len(module.script)) - 1]
        if isinstance(step, Exception):
            raise step
        return step

    module.completion = completion
    monkeypatch.setitem(sys.modules, "litellm", module)
    return module


def make(model="mistral/small", **params):
    return LiteLLMTeacher(model, **{"base_url": URL, "max_concurrency": 1} | params)


def ask(**params):
    [generation] = make(**params).generate([REQUEST])
    return generation


def test_request_and_answer(fake):
    generation = ask(
        api_key=KEY, temperature=0.5, max_tokens=99, price=(1, 2, 0.5), options={"top_p": 0.9}
    )
    assert [e.text for e in generation.examples] == ["where is it"]
    assert generation.usage == Usage(1, 100, 20, cost=pytest.approx(110e-6), cached_tokens=60)
    [call] = fake.calls
    schema = call["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["card", "rate"]
    assert call["messages"][-1]["role"] == "user"
    expected = {
        "model": "mistral/small",
        "base_url": URL,
        "api_key": KEY,
        "temperature": 0.5,
        "max_tokens": 99,
        "top_p": 0.9,
        "timeout": 120.0,
        "num_retries": 0,
        "max_retries": 0,
        "drop_params": True,
    }
    assert call.items() >= expected.items()


def test_conforms(fake):
    check_teacher(make())


def test_truncation(fake):
    fake.script = [Answer(finish_reason="length")]
    assert ask().rejected["answer cut off"]


@pytest.mark.parametrize("status", [408, 429, 500, 503, 529])
def test_passing_faults(fake, status):
    fake.script = [LiteLLMError(status, headers={"retry-after": "0"}), Answer()]
    generation = ask(price=(1, 1))
    assert generation.examples
    assert generation.usage.n_requests == 2


def test_too_many_requests(fake):
    fake.script = [LiteLLMError(429, headers={"retry-after": "7"})]
    with pytest.raises(TeacherUnavailableError) as caught:
        make().complete([], schema={})
    assert caught.value.overloaded
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_fails_alone(fake, status):
    """A prompt that is too long, or filtered: litellm's errors of both have status 400."""
    fake.script = [LiteLLMError(status, "ContextWindowExceededError"), Answer()]
    requests = [GenerationRequest(f"1-{i}", {"card": 1}) for i in (1, 2)]
    first, second = make().generate(requests)
    assert "ContextWindowExceededError" in first.error
    assert second.error is None
    assert second.examples


@pytest.mark.parametrize(
    ("error", "kind", "fix"),
    [
        (LiteLLMError(401), TeacherAuthenticationError, "environment variable or `api_key`"),
        (LiteLLMError(403), TeacherAuthenticationError, "environment variable or `api_key`"),
        (LiteLLMError(404), TeacherError, "Check the model 'mistral/small'"),
        (LiteLLMError(429, body={"code": "insufficient_quota"}), TeacherError, "no credit left"),
        (TypeError("no such argument"), TeacherError, "TypeError: 'no such argument'"),
    ],
)
def test_lasting_faults_fail_at_once(fake, error, kind, fix):
    fake.script = [error]
    with pytest.raises(kind, match=fix):
        ask()
    assert len(fake.calls) == 1


def test_key_stays_in_memory(fake):
    teacher = make(api_key=KEY)
    fake.script = [LiteLLMError(401, f"Incorrect API key: {KEY}")]
    with pytest.raises(TeacherError, match="401|Authentication|Incorrect") as caught:
        list(clone(teacher).generate([REQUEST]))
    assert fake.calls[0]["api_key"] == KEY
    shown = [repr(teacher), str(vars(teacher)), *traceback.format_exception(caught.value)]
    assert KEY not in "".join(shown)
    assert KEY.encode() not in pickle.dumps(teacher)


@pytest.mark.parametrize("url", [None, "https://api.example.com/v1"])
def test_the_kill_switch(fake, url, monkeypatch):
    with pytest.raises(TeacherError, match="PGKD_BLOCK_PAID_CALLS"):
        make(base_url=url).check_ready()
    with pytest.raises(TeacherError, match="PGKD_BLOCK_PAID_CALLS"):
        ask(base_url=url)
    assert not fake.calls
    monkeypatch.delenv("PGKD_BLOCK_PAID_CALLS")
    assert ask(base_url=url).examples


def test_price(fake):
    pytest.importorskip("genai_prices")
    usage = Usage(1, 1_000_000, 0, cost=None)
    assert 0 < LiteLLMTeacher("groq/llama-3.3-70b-versatile").cost(usage) < 10
    assert 0 < LiteLLMTeacher("gpt-5-mini").cost(usage) < 10
    assert LiteLLMTeacher("nobody/gpt-5-mini").cost(usage) is None
    assert not LiteLLMTeacher("gpt-5-mini", base_url=URL).knows_price()
    with pytest.raises(InvalidInputError, match="price"):
        make().check_ready(max_cost=1.0)


def test_a_server_that_is_down():
    with pytest.raises(TeacherUnavailableError, match="Is the server up") as caught:
        LiteLLMTeacher("openai/any", base_url=URL).check_reachable()
    assert caught.value.__suppress_context__  # the traceback of the network is long


def test_without_litellm(monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(TeacherError, match=r'pip install "pgkd\[litellm\]"'):
        make().check_ready()


def test_with_litellm_itself(monkeypatch):
    """All faults, on a server of OpenAI's shape."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    pytest.importorskip("litellm")
    check_teacher(lambda base_url: LiteLLMTeacher("openai/any", base_url=base_url, api_key=KEY))
