"""AnthropicTeacher against a real HTTP server that holds requests to the published schema."""

import json
import pickle
import re

import pytest
from scripted_server import serve
from sklearn.base import clone

from pgkd.exceptions import TeacherAuthenticationError, TeacherError
from pgkd.records import AnnotationRequest, Example, GenerationRequest, Usage
from pgkd.teachers import AnthropicTeacher
from pgkd.testing import check_teacher

REQUEST = GenerationRequest("1-1", {"card": 1, "rate": 2}, task_description="Messages to a bank.")
TEXTS = {"card": ["where is it"]}

#: Parameters of a request and their types, from Anthropic's API reference (Messages, "Create").
PARAMETERS = {
    "model": str,
    "messages": list,
    "max_tokens": int,
    "system": list,
    "temperature": float,
    "output_config": dict,
    "tools": list,
    "tool_choice": dict,
    "thinking": dict,
    "top_p": float,
}


def check_request(request):
    """Hold a request to what the documentation says of it."""
    assert request.path == "/v1/messages"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.headers["content-type"] == "application/json"
    body = request.body
    for name, value in body.items():
        assert isinstance(value, PARAMETERS[name]), name
    assert {"model", "messages", "max_tokens"} <= set(body)
    assert body["max_tokens"] >= 1
    assert [m["role"] for m in body["messages"]] == ["user"]
    blocks = [*body["system"], *body["messages"][0]["content"]]
    for block in blocks:
        assert set(block) - {"cache_control"} == {"type", "text"}
        assert block["type"] == "text"
        assert block["text"].strip()
        assert block.get("cache_control", {"type": "ephemeral"}) == {"type": "ephemeral"}
    assert sum("cache_control" in block for block in blocks) <= 4
    if "format" in body.get("output_config", {}):
        assert set(body["output_config"]["format"]) == {"type", "schema"}
        assert body["output_config"]["format"]["type"] == "json_schema"
        check_structured_output(body["output_config"]["format"]["schema"])
    for tool in body.get("tools", []):
        assert set(tool) == {"name", "description", "input_schema"}
        assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", tool["name"])
        assert tool["input_schema"]["type"] == "object"
        for key in tool["input_schema"]["properties"]:
            assert re.fullmatch("[a-zA-Z0-9_.-]{1,64}", key)
    if "tool_choice" in body:
        assert body["tool_choice"]["type"] == "tool"
        assert body["tool_choice"]["name"] in [tool["name"] for tool in body["tools"]]


def check_structured_output(schema):
    """Only what structured outputs support."""
    if schema["type"] == "object":
        assert schema["additionalProperties"] is False
        for rule in schema["properties"].values():
            check_structured_output(rule)
    if schema["type"] == "array":
        assert set(schema) <= {"type", "items", "minItems"}
        assert schema.get("minItems", 0) in (0, 1)
        check_structured_output(schema["items"])
    if schema["type"] == "string":
        assert set(schema) <= {"type", "enum"}


def message(*content, stop_reason="end_turn", usage=None, **fields):
    blocks = content or ({"type": "text", "text": json.dumps(TEXTS)},)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(blocks),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 100, "output_tokens": 20, **(usage or {})},
        **fields,
    }


def tool_use(value=TEXTS):
    return {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": value}


def error(status, kind="invalid_request_error", text="no", headers=None):
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}
    return status, body, headers or {}


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with serve(check_request) as server:
        server.script = [message()]
        yield server


def ask(server, script=None, requests=(REQUEST,), **params):
    if script is not None:
        server.script = script
    return list(AnthropicTeacher("m", base_url=server.url, **params).generate(list(requests)))


def test_request_and_answer(server):
    [generation] = ask(server, api_key="sk-1", temperature=0.5, max_tokens=99, price=(1, 2))
    _, headers, body, _ = server.requests[0]
    assert headers["x-api-key"] == "sk-1"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.5, 99)
    assert body["output_config"]["format"]["schema"]["required"] == ["card", "rate"]
    assert generation.examples[0] == Example("where is it", "card")
    assert generation.usage == Usage(1, 100, 20, cost=pytest.approx(140e-6))


def test_conforms(server):
    check_teacher(AnthropicTeacher("m", base_url=server.url))


def test_bears_faults():
    """On FaultServer, which holds requests to the published schema as well."""
    check_teacher(lambda base_url: AnthropicTeacher("m", base_url=base_url, api_key="sk-1"))


def test_base_url_with_and_without_version(server):
    list(AnthropicTeacher("m", base_url=f"{server.url}/v1/").generate([REQUEST]))
    assert server.requests[0].path == "/v1/messages"


def test_key_and_url_from_the_environment(server, monkeypatch):
    teacher = AnthropicTeacher("m")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-late")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    list(teacher.generate([REQUEST]))
    assert server.requests[0].headers["x-api-key"] == "sk-late"


def test_effort_goes_beside_the_format(server):
    extra = {"output_config": {"effort": "low"}, "thinking": {"type": "adaptive"}}
    ask(server, extra_body=extra)
    body = server.requests[0].body
    assert body["output_config"]["effort"] == "low"
    assert "format" in body["output_config"]
    assert body["thinking"] == {"type": "adaptive"}


def test_thinking_is_no_part_of_the_answer(server):
    thought = {"type": "thinking", "thinking": '{"rate": ["a thought"]}', "signature": "x"}
    text = {"type": "text", "text": json.dumps(TEXTS)}
    [generation] = ask(server, [message(thought, text)])
    assert [e.text for e in generation.examples] == ["where is it"]


# What a model refuses


def no_structured_outputs(body):
    if "format" in body.get("output_config", {}):
        return error(400, text="output_config.format: Extra inputs are not permitted")
    return message(tool_use(), stop_reason="tool_use")


def test_model_without_structured_outputs_uses_a_tool(server):
    generations = ask(server, [no_structured_outputs], [REQUEST] * 5, max_concurrency=1)
    assert all(g.examples == (Example("where is it", "card"),) for g in generations)
    assert len(server.requests) == 6  # learnt once
    body = server.requests[-1].body
    assert body["tool_choice"] == {"type": "tool", "name": "answer"}
    assert body["tools"][0]["input_schema"]["required"] == ["card", "rate"]


@pytest.mark.parametrize(
    "text",
    [
        'tool_choice: type "tool" and "any" are not supported for this model.',
        "Thinking may not be enabled when tool_choice forces tool use.",
    ],
)
def test_model_that_refuses_both_gets_the_prompt_alone(server, text):
    def answer(body):
        if "tool_choice" in body:
            return error(400, text=text)
        return no_structured_outputs(body) if "output_config" in body else message()

    extra = {"thinking": {"type": "adaptive"}}
    [generation] = ask(server, [answer], extra_body=extra)
    assert generation.examples
    assert len(server.requests) == 3
    assert not {"tools", "tool_choice", "output_config"} & set(server.requests[-1].body)


def test_schema_that_is_too_complex(server):
    def answer(body):
        if "output_config" in body:
            return error(400, text="The compiled grammar is too large. Simplify your schemas.")
        return message(tool_use(), stop_reason="tool_use")

    assert ask(server, [answer])[0].examples


def test_model_without_temperature(server):
    def answer(body):
        refused = "temperature" in body
        return (
            error(400, text="`temperature` is deprecated for this model.") if refused else message()
        )

    assert ask(server, [answer], temperature=0.5)[0].examples
    assert "output_config" in server.requests[-1].body


def test_a_bad_request_that_nothing_helps_ends(server):
    """Each feature is left out once; then the request fails."""
    refusal = error(400, text="temperature, schema, tools: nothing pleases me")
    [generation] = ask(server, [refusal], temperature=0.5)
    assert "nothing pleases me" in generation.error
    assert len(server.requests) == 4


# Labels that are no names of properties


def test_long_labels_get_numbers(server):
    labels = ("Grain, oilseed; other crops", "Zweiräder – " + "x" * 80)
    server.script = [
        no_structured_outputs,
        message(tool_use({"1": ["wheat"], "2": ["a bicycle"]}), stop_reason="tool_use"),
    ]
    [generation] = ask(server, requests=[GenerationRequest("1-1", dict.fromkeys(labels, 1))])
    assert generation.examples == (Example("wheat", labels[0]), Example("a bicycle", labels[1]))
    assert list(server.requests[-1].body["tools"][0]["input_schema"]["properties"]) == ["1", "2"]


def test_annotation(server):
    text = {"type": "text", "text": '{"1": "ham"}'}
    server.script = [message(text)]
    request = AnnotationRequest("1-1", ("hi bob",), (("ham", "spam"),))
    [generation] = AnthropicTeacher("m", base_url=server.url).annotate([request])
    assert generation.examples == (Example("hi bob", "ham"),)


# Prompt cache and usage


def test_the_prefix_that_requests_share_is_marked_for_the_cache(server):
    other = GenerationRequest("1-2", {"card": 5, "rate": 1}, task_description="Messages to a bank.")
    ask(server, requests=[REQUEST, other], max_concurrency=1)

    def read_prefix(body):
        blocks = [*body["system"], *body["messages"][0]["content"]]
        [end] = [i for i, block in enumerate(blocks) if "cache_control" in block]
        # The format comes before the prompt in the cache's key.
        return json.dumps(body["output_config"]), [b["text"] for b in blocks[: end + 1]]

    first, second = (read_prefix(request.body) for request in server.requests)
    assert first == second
    assert first[1][-1] == "Task of the classifier: Messages to a bank."


def test_the_marks_change_nothing_of_the_prompt(server):
    teacher = AnthropicTeacher("m", base_url=server.url)
    list(teacher.generate([REQUEST]))
    list(AnthropicTeacher("m", base_url=server.url, prompt_caching=False).generate([REQUEST]))
    system, user = teacher.render(REQUEST)
    for request in server.requests:
        assert "".join(b["text"] for b in request.body["system"]) == system["content"]
        content = request.body["messages"][0]["content"]
        assert "".join(b["text"] for b in content) == user["content"]
    assert "cache_control" not in json.dumps(server.requests[1].body)


def test_without_a_task_the_system_prompt_is_marked(server):
    ask(server, requests=[GenerationRequest("1-1", {"card": 1})])
    body = server.requests[0].body
    assert "cache_control" in body["system"][-1]
    assert "cache_control" not in json.dumps(body["messages"])


def test_cached_tokens_are_input_at_their_own_price(server):
    usage = {"cache_creation_input_tokens": 400, "cache_read_input_tokens": 1000}
    [generation] = ask(server, [message(usage=usage)], price=(10, 0, 1))
    # 100 fresh tokens, 400 at a price and a quarter, 1000 at the cached price.
    cost = (100 * 10 + 400 * 12.5 + 1000 * 1) / 1e6
    assert generation.usage == Usage(1, 1500, 20, cost=pytest.approx(cost), cached_tokens=1000)


def test_cost_of_the_cache_as_genai_prices_has_it(server, monkeypatch):
    genai_prices = pytest.importorskip("genai_prices")
    monkeypatch.setattr(AnthropicTeacher, "default_base_url", server.url)
    usage = {"cache_creation_input_tokens": 400, "cache_read_input_tokens": 1000}
    server.script = [message(usage=usage)]
    [generation] = AnthropicTeacher("claude-sonnet-4-5").generate([REQUEST])  # at server.url
    tokens = genai_prices.Usage(
        input_tokens=1500, cache_read_tokens=1000, cache_write_tokens=400, output_tokens=20
    )
    price = genai_prices.calc_price(tokens, model_ref="claude-sonnet-4-5", provider_id="anthropic")
    assert generation.usage.cost == pytest.approx(float(price.total_price))


def test_price_of_a_known_model():
    pytest.importorskip("genai_prices")
    assert 0 < AnthropicTeacher("claude-haiku-4-5").cost(Usage(1, 1_000_000, 0, cost=None)) < 10
    assert AnthropicTeacher("no-such-model").cost(Usage(1, 1, 1, cost=None)) is None
    assert not AnthropicTeacher("claude-haiku-4-5", base_url="http://127.0.0.1:1").knows_price()


# Answers that are not whole


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_truncation(server, reason):
    cut = {"type": "text", "text": '{"card": ["where is it"], "rate": ["one", "tw'}
    whole = {"type": "text", "text": '{"rate": ["two"]}'}
    [generation] = ask(server, [message(cut, stop_reason=reason), message(whole)])
    assert [e.text for e in generation.examples] == ["where is it", "one", "two"]
    assert generation.rejected == {"answer cut off": 1}


def test_last_text_of_a_truncated_tool_input_is_not_taken_for_whole(server):
    cut = message(
        tool_use({"card": ["where is it"], "rate": ["one", "tw"]}), stop_reason="max_tokens"
    )
    whole = message(tool_use({"rate": ["two"]}), stop_reason="tool_use")
    refused = error(400, text="output_config: Extra inputs are not permitted")
    [generation] = ask(server, [refused, cut, whole])
    assert [e.text for e in generation.examples] == ["where is it", "one", "two"]


def test_a_refusal_fails_its_request_only_and_is_paid_for(server):
    def answer(body):
        if "Request 1-2" in json.dumps(body["messages"]):
            why = {"type": "refusal", "category": "cyber", "explanation": "not this one"}
            return message(stop_reason="refusal", stop_details=why)
        return message()

    requests = [GenerationRequest(f"1-{i}", {"card": 1}) for i in range(1, 5)]
    generations = {g.request.id: g for g in ask(server, [answer], requests, price=(1, 2))}
    assert generations["1-2"].error == "The model refused: 'not this one'"
    assert not generations["1-2"].examples
    assert generations["1-2"].usage == Usage(1, 100, 20, cost=pytest.approx(140e-6))
    assert sum(bool(g.examples) for g in generations.values()) == 3


@pytest.mark.parametrize("body", [b"<html>", {"content": None}, {"type": "error"}, [], {}])
def test_no_message(server, body):
    [generation] = ask(server, [body], max_retries=0)
    assert "no message" in generation.error


# Errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_passing_faults(server, status, kind):
    later = error(status, kind, headers={"retry-after": "0"})
    [generation] = ask(server, [later, "hang up", message()])
    assert generation.examples
    assert generation.usage.n_requests == 3


@pytest.mark.parametrize(
    ("answer", "kind", "fix"),
    [
        (
            error(401, "authentication_error", "invalid x-api-key"),
            TeacherAuthenticationError,
            "Check ANTHROPIC_API_KEY",
        ),
        (error(403, "permission_error"), TeacherAuthenticationError, "Check ANTHROPIC_API_KEY"),
        (error(404, "not_found_error", "model: m"), TeacherError, "Check the model 'm'"),
        (error(402, "billing_error"), TeacherError, "no credit left"),
        (
            error(400, text="Your credit balance is too low to access the Anthropic API."),
            TeacherError,
            "No credit is left",
        ),
        (
            error(400, text="You have reached your specified API usage limits."),
            TeacherError,
            "spend limit",
        ),
    ],
)
def test_lasting_faults_fail_at_once(server, answer, kind, fix):
    with pytest.raises(kind, match=fix):
        ask(server, [answer])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        error(413, "request_too_large", "Request exceeds the maximum size"),
        error(400, text="prompt is too long: 210000 tokens > 200000 maximum"),
    ],
)
def test_a_request_that_is_too_large_fails_alone(server, fault):
    def answer(body):
        return fault if "Request 1-2" in json.dumps(body["messages"]) else message()

    requests = [GenerationRequest(f"1-{i}", {"card": 1}) for i in range(1, 5)]
    generations = {g.request.id: g for g in ask(server, [answer], requests)}
    assert fault[1]["error"]["message"] in generations["1-2"].error
    assert sum(bool(g.examples) for g in generations.values()) == 3
    assert len(server.requests) == 4


def test_missing_key():
    with pytest.raises(TeacherAuthenticationError, match="set ANTHROPIC_API_KEY"):
        AnthropicTeacher("claude-haiku-4-5").check_ready()


def test_the_kill_switch():
    """Set in conftest.py for all tests."""
    with pytest.raises(TeacherError, match=r"call to api\.anthropic\.com was blocked"):
        list(AnthropicTeacher("m", api_key="sk-1").generate([REQUEST]))


def test_key_stays_in_memory(server, caplog):
    caplog.set_level("DEBUG")
    teacher = AnthropicTeacher("m", base_url=server.url, api_key="sk-canary")
    copies = clone(clone(teacher))
    list(copies.generate([REQUEST]))
    assert server.requests[0].headers["x-api-key"] == "sk-canary"
    with pytest.raises(TeacherError) as caught:
        ask(server, [error(401)], api_key="sk-canary")
    shown = [repr(teacher), str(teacher.get_params()), str(vars(teacher)), repr(copies)]
    assert "sk-canary" not in "".join([*shown, repr(caught.value), caplog.text])
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert b"sk-canary" not in pickle.dumps(teacher, protocol)
