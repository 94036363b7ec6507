"""OpenAITeacher against a real HTTP server that plays a script."""

import json
import pickle
import time
import warnings
from dataclasses import replace

import pytest
from sklearn.base import clone

from pgkd.exceptions import TeacherAuthenticationError, TeacherError
from pgkd.records import AnnotationRequest, Example, GenerationRequest, Usage
from pgkd.teachers import CachedTeacher, OpenAITeacher, RecordedTeacher
from pgkd.teachers.transport.chat_completions import read_logprobs
from pgkd.teachers.waiting import Limits
from pgkd.testing import Fault, FaultServer, check_teacher

REQUEST = GenerationRequest("1-1", {"card": 1, "rate": 1})
TEXTS = {"card": ["where is it"]}


def completion(content=None, **choice):
    return {
        "choices": [
            {
                "message": {"role": "assistant", "content": content or json.dumps(TEXTS)},
                "finish_reason": "stop",
                **choice,
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20},
    }


@pytest.fixture
def server():
    with FaultServer([completion()]) as server:
        yield server


def ask(server, script=None, requests=(REQUEST,), **params):
    if script is not None:
        server.script = script
    return list(OpenAITeacher("m", base_url=server.base_url, **params).generate(list(requests)))


def test_request_and_answer(server):
    [generation] = ask(
        server,
        api_key="sk-1",
        temperature=0.5,
        max_tokens=99,
        price=(1, 2),
        extra_body={"top_p": 0.9},
    )
    [received] = server.requests
    assert received.path == "/v1/chat/completions"
    assert received.headers["authorization"] == "Bearer sk-1"
    body = received.body
    assert (body["model"], body["temperature"], body["top_p"]) == ("m", 0.5, 0.9)
    assert body["max_completion_tokens"] == 99
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["card", "rate"]
    assert generation.examples[0].text == "where is it"
    assert generation.usage == Usage(1, 100, 20, cost=pytest.approx(140e-6))


def test_conforms(server):
    check_teacher(OpenAITeacher("m", base_url=server.base_url))


def test_conforms_on_a_server_that_goes_wrong():
    check_teacher(lambda base_url: OpenAITeacher("m", base_url=base_url, api_key="sk-canary"))


def test_unknown_price_is_none(server):
    assert ask(server)[0].usage.cost is None


def test_price_of_a_known_model():
    pytest.importorskip("genai_prices")
    teacher = OpenAITeacher("gpt-5-mini")
    assert 0 < teacher.cost(Usage(1, 1_000_000, 0, cost=None)) < 10
    assert OpenAITeacher("no-such-model").cost(Usage(1, 1, 1, cost=None)) is None
    assert not OpenAITeacher("gpt-5-mini", base_url="http://127.0.0.1:1/v1").knows_price()


def test_server_without_schemas(server):
    """The schema is refused once, then left out; the prompt still asks for JSON."""

    def answer(body):
        refused = "response_format" in body
        unsupported = Fault.error(400, "response_format is not supported")
        return unsupported if refused else completion()

    generations = ask(server, [answer], [REQUEST] * 5, max_concurrency=1)
    assert all(g.examples for g in generations)
    assert len(server.requests) == 6


def test_old_and_new_name_of_the_token_limit(server):
    def answer(body):
        if "max_completion_tokens" in body:
            return Fault.error(400, "Unknown parameter", param="max_completion_tokens")
        return completion()

    ask(server, [answer], max_tokens=50)
    assert server.requests[-1].body["max_tokens"] == 50


def test_reasoning_models_refuse_a_temperature(server):
    def answer(body):
        if "temperature" in body:
            return Fault.error(400, "'temperature' does not support 0.5 with this model")
        return completion()

    assert ask(server, [answer], temperature=0.5)[0].examples


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_passing_faults(server, status):
    later = Fault.error(status, headers={"Retry-After": "0"})
    [generation] = ask(server, [later, Fault.hang_up(), completion()])
    assert generation.examples
    assert len(server.requests) == 3


@pytest.mark.parametrize("retry_after", ["ms", "seconds", "date", "reset"])
def test_waits_as_the_server_asks(server, retry_after):
    start = time.perf_counter()
    ask(server, [Fault.rate_limit(retry_after, delay=1.1), completion()])
    assert 1 < time.perf_counter() - start < 4


@pytest.mark.parametrize(
    ("status", "kind", "fix"),
    [
        (401, TeacherAuthenticationError, "Check OPENAI_API_KEY"),
        (403, TeacherAuthenticationError, "Check OPENAI_API_KEY"),
        (404, TeacherError, "Check the model 'm' and `base_url`"),
        (402, TeacherError, "no credit left"),
    ],
)
def test_lasting_faults_fail_at_once(server, status, kind, fix):
    with pytest.raises(kind, match=fix):
        ask(server, [Fault.error(status)])
    assert len(server.requests) == 1


def test_exhausted_quota_is_no_rate_limit(server):
    with pytest.raises(TeacherError, match="no credit left"):
        ask(server, [Fault.error(429, code="insufficient_quota")])
    assert len(server.requests) == 1


def test_a_prompt_that_is_too_long_fails_alone(server):
    def answer(body):
        if "Request 1-2" in body["messages"][1]["content"]:
            return Fault.error(400, "the request exceeds the available context size")
        return completion()

    requests = [GenerationRequest(f"1-{i}", {"card": 1}) for i in range(1, 5)]
    generations = {g.request.id: g for g in ask(server, [answer], requests)}
    assert "exceeds the available context" in generations["1-2"].error
    assert sum(bool(g.examples) for g in generations.values()) == 3


@pytest.mark.parametrize(
    "body", [b"<html>", {"choices": []}, {"choices": [{"message": None}]}, [], {}]
)
def test_no_chat_completion(server, body):
    [generation] = ask(server, [body], max_retries=0)
    assert "no chat completion" in generation.error


def test_empty_content_and_truncation(server):
    null = completion()
    null["choices"][0]["message"]["content"] = None
    # Asked again, once, for what a broken answer lacks.
    assert ask(server, [null])[0].rejected == {"unreadable answer": 2}
    cut = completion(json.dumps(TEXTS)[:-1] + ', "rate": ["wh', finish_reason="length")
    server.requests.clear()
    [generation] = ask(server, [cut, completion('{"rate": ["which rate"]}')])
    assert [e.label for e in generation.examples] == ["card", "rate"]
    assert generation.rejected == {"answer cut off": 1}
    assert generation.usage.n_requests == 2
    schema = server.requests[1].body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["rate"]


def test_a_refusal_is_paid_for(server):
    [generation] = ask(server, [Fault.refusal()], price=(1, 2))
    assert "The model refused" in generation.error
    usage = generation.usage
    assert (usage.n_requests, usage.cached_tokens) == (1, 0)
    assert usage.input_tokens > usage.output_tokens > 0
    assert usage.cost == pytest.approx((usage.input_tokens + 2 * usage.output_tokens) / 1e6)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        -1,
        "none",
        {"prompt_tokens": "many"},
        {"prompt_tokens": 100},
        {"completion_tokens": 20},
        {"prompt_tokens": True, "completion_tokens": 20},
        {"prompt_tokens": 10**30, "completion_tokens": 20},
    ],
)
def test_tokens_that_are_not_counted_are_estimated_and_have_no_cost(server, usage):
    with pytest.warns(UserWarning, match="does not tell how many tokens") as caught:
        [generation] = ask(server, [Fault.wrong_usage(usage)], price=(1, 2))
    assert len(caught) == 1
    assert generation.examples
    assert generation.usage.cost is None
    assert 100 < generation.usage.input_tokens < 500
    assert 3 < generation.usage.output_tokens < 100


def test_no_server():
    [generation] = ask(type("", (), {"base_url": "http://127.0.0.1:9/v1"}), max_retries=0)
    assert "Is the server up" in generation.error


def test_stalled_server_times_out_and_is_asked_less_at_once(server, monkeypatch):
    overloaded = []
    monkeypatch.setattr(Limits, "_adapt", lambda self, value: overloaded.append(value))
    [generation] = ask(server, [Fault.stall(1)], timeout=0.1, max_retries=1)
    assert "in 0.1 s, the `timeout`: raise it" in generation.error
    assert len(server.requests) == 2
    assert overloaded == [True, True]


def test_key_from_the_environment_at_call_time(server, monkeypatch):
    teacher = OpenAITeacher("m", base_url=server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-late")
    list(teacher.generate([REQUEST]))
    assert server.requests[0].headers["authorization"] == "Bearer sk-late"


def test_key_stays_in_memory(server):
    teacher = OpenAITeacher("m", base_url=server.base_url, api_key="sk-canary")
    copies = clone(clone(teacher))
    list(copies.generate([REQUEST]))
    assert server.requests[0].headers["authorization"] == "Bearer sk-canary"
    shown = [repr(teacher), str(teacher.get_params()), str(vars(teacher)), repr(copies)]
    assert "sk-canary" not in "".join(shown)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert b"sk-canary" not in pickle.dumps(teacher, protocol)
    restored = pickle.loads(pickle.dumps(teacher))
    list(restored.generate([REQUEST]))
    assert "authorization" not in server.requests[1].headers


def test_an_unknown_price_is_warned_of(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("PGKD_BLOCK_PAID_CALLS", "0")
    with pytest.warns(UserWarning, match="price of .no-such-model. is not known"):
        OpenAITeacher("no-such-model").check_ready()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OpenAITeacher("no-such-model", price=(1.0, 2.0)).check_ready()
        OpenAITeacher("m", base_url="http://127.0.0.1:9/v1").check_ready()  # costs nothing there


# Log probabilities

LABELLING = AnnotationRequest("1-a1", ("where is it",), (("card", "pin"),))
#: Natural logs of 0.6, 0.2 and 0.2: of the letter of an option, "card" has 0.75 then.
CANDIDATES = [
    {"token": t, "logprob": p} for t, p in (("A", -0.5108), ("B", -1.6094), ("C", -1.6094))
]


def token(text, candidates=(), **fields):
    return {
        "token": text,
        "logprob": -0.5108,
        "bytes": None,
        "top_logprobs": list(candidates),
    } | fields


def choice(content='{"1": "A"}', logprobs=None):
    return completion(content, logprobs=logprobs)


def spoken(*tokens):
    return {"content": [token('{"1": "'), *tokens, token('"}')], "refusal": None}


def annotate(server, script, requests=(LABELLING,), wrap=lambda teacher: teacher, **params):
    server.script = script
    teacher = wrap(OpenAITeacher("m", base_url=server.base_url, **params))
    return list(teacher.annotate(list(requests)))


def test_logprobs_become_probabilities(server):
    [generation] = annotate(server, [choice(logprobs=spoken(token("A", CANDIDATES)))])
    assert generation.examples == (Example("where is it", "card"),)
    assert generation.probabilities["where is it"] == pytest.approx(
        {"card": 0.75, "pin": 0.25}, abs=1e-3
    )
    [received] = server.requests
    assert (received.body["logprobs"], received.body["top_logprobs"]) == (True, 20)


def test_logprobs_are_asked_for_with_a_choice_only(server):
    ask(server)
    several = AnnotationRequest("1-a1", ("x",), (("card", "pin"),), multilabel=True)
    annotate(server, [choice('{"1": ["A"]}')], [several])
    assert len(server.requests) == 2
    assert all(not {"logprobs", "top_logprobs"} & r.body.keys() for r in server.requests)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "You are not allowed to request logprobs from this model"),  # OpenAI, o4-mini
        (400, "Unable to submit request because Logprobs is not supported for this model."),
        (400, "`logprobs` is not supported with this model"),  # Groq
        (400, "Please remove 'logprobs'/'top_logprobs' from your request."),
        (422, "top_logprobs: Extra inputs are not permitted"),
        (400, "Requested sample logprobs of 20, which is greater than max allowed: 5"),
    ],
)
def test_a_server_that_refuses_logprobs_is_asked_without(server, status, message):
    def answer(body):
        refused = {"logprobs", "top_logprobs"} & body.keys()
        return Fault.error(status, message) if refused else choice()

    requests = [replace(LABELLING, id=f"1-a{i}") for i in range(4)]
    generations = annotate(server, [answer], requests, max_concurrency=1)
    assert [g.error for g in generations] == [None] * 4
    assert all(g.examples and not g.probabilities for g in generations)
    assert len(server.requests) == 5  # refused once
    assert "response_format" in server.requests[-1].body


def test_a_key_that_is_refused_is_no_refusal_of_logprobs(server):
    with pytest.raises(TeacherAuthenticationError):
        annotate(server, [Fault.error(403, "Country, region, or territory not supported")])
    assert len(server.requests) == 1


BROKEN = [
    None,
    [],
    "no",
    {},
    {"content": None},
    {"content": "A"},
    {"content": [None, 7, "A"]},
    spoken(),
    spoken(None),
    spoken({"token": "A"}),
    spoken(token("A", logprob=None)),
    spoken(token("A", logprob="-0.1")),
    spoken(token("A", logprob=10**400)),
    spoken(token(None, CANDIDATES)),
    spoken(token("B", CANDIDATES)),  # not the answer
    {"content": [token("A", CANDIDATES)] * 2},
]


@pytest.mark.parametrize("logprobs", BROKEN)
def test_broken_logprobs_cost_no_answer(server, logprobs):
    [generation] = annotate(server, [choice(logprobs=logprobs)])
    assert generation.examples == (Example("where is it", "card"),)
    assert generation.probabilities == {}
    assert generation.error is None
    assert len(server.requests) == 1


def test_partial_logprobs_are_used_as_far_as_they_go(server):
    odd = [None, 7, {"token": "A"}, {"token": 1, "logprob": -1}, {"token": "\ud83d", "logprob": -9}]
    for chosen in (
        token("A", [*odd, *CANDIDATES]),
        token("A", CANDIDATES, logprob=None),
        token("A", [*CANDIDATES, {"token": "D", "logprob": -3.4e38}]),
    ):
        server.requests.clear()
        [generation] = annotate(server, [choice(logprobs={"content": [None, chosen, {}]})])
        probabilities = generation.probabilities["where is it"]
        assert probabilities == pytest.approx({"card": 0.75, "pin": 0.25}, abs=1e-3)
    [generation] = annotate(server, [choice(logprobs=spoken(token("A")))])  # no candidates
    assert generation.probabilities["where is it"]["card"] > 0.5


def test_the_chosen_token_is_first():
    for logprob in (-1.6094, None):  # its own, or that among the candidates
        [candidates] = read_logprobs({"content": [token("C", CANDIDATES, logprob=logprob)]})
        assert list(candidates) == ["C", "A", "B"]
        assert candidates["C"] == -1.6094


def test_caches_and_recordings_keep_logprobs(server, tmp_path):
    script = [
        choice(logprobs=spoken(token("A", [*CANDIDATES, {"token": "\ud83d", "logprob": -9}])))
    ]
    first = annotate(server, script)
    for wrap in (
        lambda teacher: CachedTeacher(teacher, tmp_path / "run.sqlite"),
        lambda teacher: RecordedTeacher(tmp_path / "answers.jsonl", teacher),
    ):
        server.requests.clear()
        bought = annotate(server, script, wrap=wrap)
        kept = annotate(server, [Fault.error(500)], wrap=wrap)
        assert len(server.requests) == 1
        assert kept[0].probabilities == bought[0].probabilities == first[0].probabilities
    [replayed] = RecordedTeacher(tmp_path / "answers.jsonl").annotate([LABELLING])
    assert replayed.probabilities == first[0].probabilities
