"""BedrockTeacher against a real HTTP server that holds requests to AWS's own service model.

botocore ships that model; its validator checks each request and each scripted answer, and its
signer signs each request once more.
"""

import json
import pickle
import re
import sys
from urllib.parse import unquote

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import UnauthorizedSSOTokenError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from scripted_server import serve
from sklearn.base import clone

from pgkd.exceptions import InvalidInputError, TeacherAuthenticationError, TeacherError
from pgkd.records import Example, GenerationRequest, Usage
from pgkd.teachers import BedrockTeacher
from pgkd.testing import check_teacher

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
REQUEST = GenerationRequest("1-1", {"card": 1, "rate": 2}, task_description="Messages to a bank.")
TEXTS = {"card": ["where is it"]}
CREDENTIALS = Credentials("AKIACANARY", "secret-canary", "token-canary")
REGION = "eu-west-1"

CONVERSE = ServiceModel(
    Loader().load_service_model("bedrock-runtime", "service-2")
).operation_model("Converse")


def validate(document, shape):
    report = ParamValidator().validate(document, shape)
    assert not report.has_errors(), report.generate_report()


def check_request(request):
    """Hold a request to the service model, and its signature to botocore's."""
    model = re.fullmatch("/model/([^/]+)/converse", request.path).group(1)
    validate({"modelId": unquote(model), **request.body}, CONVERSE.input_shape)
    for tool in request.body.get("toolConfig", {}).get("tools", []):
        for key in tool["toolSpec"]["inputSchema"]["json"]["properties"]:
            assert re.fullmatch("[a-zA-Z0-9_.-]{1,64}", key)
    if not request.headers["authorization"].startswith("Bearer "):
        assert request.headers["authorization"] == sign(request)


def sign(request):
    """Sign what the server got with the credentials that the client should have used."""
    given = request.headers["authorization"]
    signed = re.search("SignedHeaders=([^,]+)", given).group(1).split(";")
    assert {"host", "x-amz-date", "content-type"} <= set(signed)
    copy = AWSRequest(
        method="POST",
        url=f"http://{request.headers['host']}{request.path}",
        data=request.raw,
        headers={name: request.headers[name] for name in signed},
    )
    copy.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(CREDENTIALS, "bedrock", REGION)
    text = signer.string_to_sign(copy, signer.canonical_request(copy))
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(copy)}, SignedHeaders={';'.join(signed)}, "
        f"Signature={signer.signature(text, copy)}"
    )


def message(*content, reason="tool_use", **counts):
    blocks = content or (tool_use(),)
    usage = {"inputTokens": 100, "outputTokens": 20, "totalTokens": 120, **counts}
    answer = {
        "output": {"message": {"role": "assistant", "content": list(blocks)}},
        "stopReason": reason,
        "usage": usage,
        "metrics": {"latencyMs": 10},
    }
    validate(answer, CONVERSE.output_shape)
    return answer


def tool_use(value=TEXTS):
    return {"toolUse": {"toolUseId": "1", "name": "answer", "input": value}}


def error(kind, text="no"):
    shapes = {shape.name: shape for shape in CONVERSE.error_shapes}
    status = shapes[kind].metadata["error"]["httpStatusCode"]
    return status, {"message": text}, {"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/"}


@pytest.fixture(autouse=True)
def account(monkeypatch, tmp_path):
    """Credentials in the environment, and no others."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CREDENTIALS.token)
    monkeypatch.setenv("AWS_REGION", REGION)
    return tmp_path


@pytest.fixture
def no_credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)


@pytest.fixture
def server():
    with serve(check_request) as server:
        server.script = [message()]
        yield server


def ask(server, script=None, requests=(REQUEST,), model=MODEL, **params):
    if script is not None:
        server.script = script
    return list(BedrockTeacher(model, base_url=server.url, **params).generate(list(requests)))


def test_request_and_answer(server):
    [generation] = ask(server, temperature=0.5, max_tokens=99, price=(1, 2))
    [request] = server.requests
    assert request.body["inferenceConfig"] == {"maxTokens": 99, "temperature": 0.5}
    assert request.body["toolConfig"]["toolChoice"] == {"tool": {"name": "answer"}}
    [tool] = request.body["toolConfig"]["tools"]
    assert tool["toolSpec"]["inputSchema"]["json"]["required"] == ["card", "rate"]
    assert "Messages to a bank." in request.body["messages"][0]["content"][0]["text"]
    assert generation.examples == (Example("where is it", "card"),)
    assert generation.usage == Usage(1, 100, 20, cost=pytest.approx(140e-6))


def test_conforms(server):
    check_teacher(BedrockTeacher(MODEL, base_url=server.url))


# Signature and credentials


def test_signature(server):
    """`check_request` signs again; here, that this would find a wrong one."""
    ask(server)
    [request] = server.requests
    assert "x-amz-security-token" in request.headers["authorization"]
    assert request.headers["x-amz-security-token"] == CREDENTIALS.token
    assert sign(request) == request.headers["authorization"]
    for wrong in (
        request._replace(raw=request.raw + b" "),
        request._replace(path="/model/other/converse"),
        request._replace(headers={**request.headers, "x-amz-date": "20200101T000000Z"}),
    ):
        assert sign(wrong) != request.headers["authorization"]


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        "amazon.nova-lite-v1:0",
        "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123",
    ],
)
def test_same_request_as_botocore(server, model):
    """AWS's own client, given the same parameters, sends the same path, body and signed headers."""
    ask(server, model=model)
    [ours] = server.requests
    client = botocore.session.Session().create_client(
        "bedrock-runtime", region_name=REGION, endpoint_url=server.url
    )
    client.converse(modelId=model, **ours.body)
    theirs = server.requests[-1]
    assert ours.path == theirs.path
    assert ours.body == theirs.body
    scope = "Credential=([^,]+)/eu-west-1/bedrock/aws4_request"
    assert re.search(scope, ours.headers["authorization"])
    assert re.search(scope, theirs.headers["authorization"])


def test_profile(server, account, no_credentials, monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    (account / "credentials").write_text(
        f"[work]\naws_access_key_id = {CREDENTIALS.access_key}\n"
        f"aws_secret_access_key = {CREDENTIALS.secret_key}\n"
        f"aws_session_token = {CREDENTIALS.token}\n"
    )
    (account / "config").write_text(f"[profile work]\nregion = {REGION}\n")
    [generation] = ask(server, profile="work")
    assert generation.examples


def test_endpoint(monkeypatch, server):
    assert BedrockTeacher("m", region="us-east-1")._url() == (
        "https://bedrock-runtime.us-east-1.amazonaws.com"
    )
    assert BedrockTeacher("m", region="cn-north-1")._url().endswith(".amazonaws.com.cn")
    assert REGION in BedrockTeacher("m")._url()
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
    [generation] = BedrockTeacher(MODEL).generate([REQUEST])
    assert generation.examples


def test_bearer_token_needs_no_botocore(server, monkeypatch, no_credentials):
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bearer-canary")
    teacher = BedrockTeacher(MODEL, base_url=server.url)
    teacher.check_ready()
    [generation] = teacher.generate([REQUEST])
    assert generation.examples
    assert server.requests[0].headers["authorization"] == "Bearer bearer-canary"
    assert "x-amz-date" not in server.requests[0].headers


def test_missing_botocore_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(InvalidInputError, match=re.escape('pip install "pgkd[bedrock]"')):
        BedrockTeacher(MODEL).check_ready()


@pytest.mark.parametrize("profile", [None, "nobody"])
def test_missing_credentials_are_explained(no_credentials, profile):
    with pytest.raises(TeacherAuthenticationError, match="Set AWS_ACCESS_KEY_ID"):
        BedrockTeacher(MODEL, profile=profile).check_ready()


def test_missing_region_is_explained(monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(InvalidInputError, match=r"pass `region=\.\.\.`"):
        BedrockTeacher(MODEL).check_ready()


def test_the_kill_switch():
    """Set in conftest.py for all tests."""
    with pytest.raises(TeacherError, match="amazonaws.com was blocked"):
        list(BedrockTeacher(MODEL).generate([REQUEST]))


def test_credentials_stay_in_memory(server, caplog):
    caplog.set_level("DEBUG")
    teacher = BedrockTeacher(MODEL, base_url=server.url)
    copy = clone(teacher)
    list(copy.generate([REQUEST]))
    # What AWS says of a wrong signature quotes the request.
    quoted = (
        "The request signature we calculated does not match the signature you provided.\n\nThe "
        f"Canonical String for this request should have been\n'POST\nx-amz-security-token:"
        f"{CREDENTIALS.token}'"
    )
    with pytest.raises(TeacherAuthenticationError) as caught:
        ask(server, [error("AccessDeniedException", quoted)])
    assert "does not match the signature" in str(caught.value)
    shown = [repr(teacher), str(teacher.get_params()), str(vars(copy)), repr(caught.value)]
    shown += [str(pickle.dumps(copy)), caplog.text]
    assert "canary" not in "".join(shown)
    assert "StringToSign" in caplog.text  # botocore's log is there, without the request itself


def test_api_key_stays_in_memory(server):
    teacher = BedrockTeacher(MODEL, base_url=server.url, api_key="bearer-canary")
    list(clone(teacher).generate([REQUEST]))
    assert server.requests[0].headers["authorization"] == "Bearer bearer-canary"
    shown = [repr(teacher), str(vars(teacher)), str(pickle.dumps(teacher))]
    assert "canary" not in "".join(shown)


# What a model refuses


def no_tools(body):
    if "toolConfig" in body:
        text = "This model doesn't support the toolConfig.toolChoice.tool field. Remove it."
        return error("ValidationException", text)
    return message({"text": json.dumps(TEXTS)}, reason="end_turn")


def test_model_without_forced_tools_has_structured_outputs(server):
    generations = ask(server, [no_tools], [REQUEST] * 5, max_concurrency=1)
    assert all(g.examples == (Example("where is it", "card"),) for g in generations)
    assert len(server.requests) == 6  # learnt once
    schema = server.requests[-1].body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(schema["schema"])["required"] == ["card", "rate"]


@pytest.mark.parametrize(
    "text",
    [
        "This model doesn't support tool use.",
        'The model returned the following errors: tool_choice: type "tool" and "any" are not '
        "supported for this model.",
    ],
)
def test_model_that_refuses_both_gets_the_prompt_alone(server, text):
    def answer(body):
        if "toolConfig" in body:
            return error("ValidationException", text)
        if "outputConfig" in body:
            text_ = "The model returned the following errors: output_config.format: Extra inputs"
            return error("ValidationException", text_)
        return message({"text": json.dumps(TEXTS)}, reason="end_turn")

    assert ask(server, [answer])[0].examples
    assert len(server.requests) == 3


def test_model_without_system_prompts_or_temperature(server):
    def answer(body):
        if "system" in body:
            return error("ValidationException", "This model doesn't support system messages.")
        if "temperature" in body["inferenceConfig"]:
            return error("ValidationException", "`temperature` is deprecated for this model.")
        return message()

    teacher = BedrockTeacher(MODEL, base_url=server.url, temperature=0.5)
    server.script = [answer]
    [generation] = teacher.generate([REQUEST])
    assert generation.examples
    system, user = teacher.render(REQUEST)
    blocks = server.requests[-1].body["messages"][0]["content"]
    assert [block["text"] for block in blocks] == [system["content"], user["content"]]


def test_extra_body(server):
    extra = {
        "inferenceConfig": {"topP": 0.9},
        "additionalModelRequestFields": {"thinking": {"type": "adaptive"}},
    }
    ask(server, extra_body=extra, max_tokens=50)
    body = server.requests[0].body
    assert body["inferenceConfig"] == {"maxTokens": 50, "topP": 0.9}
    assert body["additionalModelRequestFields"] == extra["additionalModelRequestFields"]


def test_long_labels_get_numbers(server):
    label = "Grain, oilseed; other crops"
    server.script = [message(tool_use({"1": ["wheat"]}))]
    [generation] = ask(server, requests=[GenerationRequest("1-1", {label: 1})])
    assert generation.examples == (Example("wheat", label),)


# Answers


def test_reasoning_is_no_part_of_the_answer(server):
    thought = {"reasoningContent": {"reasoningText": {"text": '{"rate": ["a thought"]}'}}}
    [generation] = ask(server, [message(thought, tool_use())])
    assert [e.text for e in generation.examples] == ["where is it"]


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_truncation(server, reason):
    cut = message(tool_use({"card": ["where is it"], "rate": ["one", "tw"]}), reason=reason)
    [generation] = ask(server, [cut, message(tool_use({"rate": ["two"]}))])
    assert [e.text for e in generation.examples] == ["where is it", "one", "two"]
    assert generation.rejected == {"answer cut off": 1}


@pytest.mark.parametrize("reason", ["guardrail_intervened", "content_filtered"])
def test_a_refusal_fails_its_request_only_and_is_paid_for(server, reason):
    def answer(body):
        if "Request 1-2" in json.dumps(body["messages"]):
            return message({"text": "Sorry."}, reason=reason)
        return message()

    requests = [GenerationRequest(f"1-{i}", {"card": 1}) for i in range(1, 5)]
    generations = {g.request.id: g for g in ask(server, [answer], requests, price=(1, 2))}
    assert generations["1-2"].error == f"The model refused: '{reason}: Sorry.'"
    assert generations["1-2"].usage == Usage(1, 100, 20, cost=pytest.approx(140e-6))
    assert sum(bool(g.examples) for g in generations.values()) == 3


@pytest.mark.parametrize("body", [b"<html>", {"output": None}, {"stopReason": "end_turn"}, [], {}])
def test_no_message(server, body):
    [generation] = ask(server, [body], max_retries=0)
    assert "no message" in generation.error


def test_cached_tokens_are_input_at_their_own_price(server):
    counted = message(cacheWriteInputTokens=400, cacheReadInputTokens=1000)
    [generation] = ask(server, [counted], price=(10, 0, 1))
    cost = (100 * 10 + 400 * 12.5 + 1000 * 1) / 1e6
    assert generation.usage == Usage(1, 1500, 20, cost=pytest.approx(cost), cached_tokens=1000)


@pytest.mark.parametrize("usage", [None, {}, {"inputTokens": -5, "outputTokens": "many"}])
def test_an_answer_is_not_lost_to_a_wrong_usage(server, usage):
    [generation] = ask(server, [{**message(), "usage": usage}])
    assert generation.examples
    assert generation.usage.cost is None
    assert generation.usage.input_tokens > 100  # estimated


def test_price_of_a_known_model():
    pytest.importorskip("genai_prices")
    tokens = Usage(1, 1_000_000, 0, cost=None)
    assert 0 < BedrockTeacher(MODEL).cost(tokens) < 10
    assert 0 < BedrockTeacher("amazon.nova-lite-v1:0").cost(tokens) < 1
    assert BedrockTeacher("no.such-model").cost(tokens) is None
    vpc = "https://vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com"
    assert BedrockTeacher(MODEL, base_url=vpc).knows_price()
    assert not BedrockTeacher(MODEL, base_url="http://127.0.0.1:1").knows_price()


# Errors


@pytest.mark.parametrize(
    "kind",
    [
        "ThrottlingException",
        "ModelNotReadyException",
        "ModelTimeoutException",
        "ModelErrorException",
        "InternalServerException",
        "ServiceUnavailableException",
    ],
)
def test_passing_faults(server, kind):
    [generation] = ask(server, [error(kind), message()])
    assert generation.examples
    assert generation.usage.n_requests == 2


@pytest.mark.parametrize(
    ("answer", "kind", "fix"),
    [
        (
            error("AccessDeniedException", "You don't have access to the model."),
            TeacherAuthenticationError,
            "check the AWS credentials",
        ),
        (error("ResourceNotFoundException"), TeacherError, "Check the model"),
        (
            error("ValidationException", "The provided model identifier is invalid."),
            TeacherError,
            "Check the model",
        ),
        (
            error(
                "ValidationException",
                "Invocation of model ID m with on-demand throughput isn’t supported. Retry your "
                "request with the ID or ARN of an inference profile that contains this model.",
            ),
            TeacherError,
            "inference profile",
        ),
    ],
)
def test_lasting_faults_fail_at_once(server, answer, kind, fix):
    with pytest.raises(kind, match=fix):
        ask(server, [answer])
    assert len(server.requests) == 1


def test_a_request_that_is_too_large_fails_alone(server):
    def answer(body):
        if "Request 1-2" in json.dumps(body["messages"]):
            return error("ValidationException", "Input is too long for requested model.")
        return message()

    requests = [GenerationRequest(f"1-{i}", {"card": 1}) for i in range(1, 5)]
    generations = {g.request.id: g for g in ask(server, [answer], requests)}
    assert "Input is too long" in generations["1-2"].error
    assert sum(bool(g.examples) for g in generations.values()) == 3


def test_expired_login_is_explained(server, monkeypatch):
    """What botocore raises while a role's credentials are fetched anew is mapped to our error."""

    def expired(self):
        raise UnauthorizedSSOTokenError()

    monkeypatch.setattr(Credentials, "get_frozen_credentials", expired)
    with pytest.raises(TeacherAuthenticationError, match="aws sso login"):
        ask(server)
    assert not server.requests
