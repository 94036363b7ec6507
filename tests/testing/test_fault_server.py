"""The fault server speaks as the providers do, and fails in the way it was told to."""

import asyncio
import copy
import functools
import gc
import json
import math
import operator
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from itertools import chain

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd.exceptions import InvalidInputError
from pgkd.records import AnnotationRequest, GenerationRequest
from pgkd.teachers.prompts.replies import answer_schema
from pgkd.teachers.transport.retry_after import read_retry_after
from pgkd.testing import Fault, FaultServer

SCHEMA = answer_schema(GenerationRequest("1-1", {"card": 3, "rate": 2}))
PROMPT = [{"role": "user", "content": "Request 1-1: write 5 texts."}]
VERSION = {"anthropic-version": "2023-06-01"}
OPENAI = {
    "model": "m",
    "messages": PROMPT,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "texts", "schema": SCHEMA, "strict": True},
    },
}
TOOL = {"name": "answer", "input_schema": SCHEMA}
ANTHROPIC = {
    "model": "m",
    "messages": PROMPT,
    "max_tokens": 100,
    "tools": [TOOL],
    "tool_choice": {"type": "tool", "name": "answer"},
}
LOOSE = {"type": "object", "properties": {"card": {"type": "array", "items": {"type": "string"}}}}
CLOSED = {**LOOSE, "additionalProperties": False}


def post(server, body=OPENAI, path=None, **options):
    if path is None:
        path = "messages" if "max_tokens" in body else "chat/completions"
    if path == "messages":
        options.setdefault("headers", VERSION)
    return httpx.post(f"{server.base_url}/{path}", json=body, trust_env=False, **options)


def content(response):
    return json.loads(response.json()["choices"][0]["message"]["content"])


def played(*script, body=OPENAI, **options):
    with FaultServer(list(script)) as server:
        return post(server, body, **options)


def test_openai_shape():
    with FaultServer() as server:
        first, second = post(server), post(server)
    assert first.headers["content-type"] == "application/json"
    document = first.json()
    assert (document["object"], document["model"]) == ("chat.completion", "m")
    assert document["choices"][0]["finish_reason"] == "stop"
    usage = document["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 2
    texts = content(first)
    assert {label: len(t) for label, t in texts.items()} == {"card": 3, "rate": 2}
    both = [*chain(*texts.values()), *chain(*content(second).values())]
    assert len(set(both)) == 10
    assert server.texts == both
    assert document["id"] != second.json()["id"]


def test_anthropic_tool():
    document = played(body=ANTHROPIC).json()
    assert (document["type"], document["role"]) == ("message", "assistant")
    assert document["stop_reason"] == "tool_use"
    [block] = document["content"]
    assert (block["type"], block["name"]) == ("tool_use", "answer")
    assert {label: len(t) for label, t in block["input"].items()} == {"card": 3, "rate": 2}
    assert document["usage"]["input_tokens"] > 0
    assert "prompt_tokens" not in document["usage"]


@pytest.mark.parametrize(
    "where",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
        {"output_format": {"type": "json_schema", "schema": CLOSED}},
    ],
)
def test_anthropic_structured_output(where):
    body = {"model": "m", "messages": PROMPT, "max_tokens": 9, **where}
    with FaultServer(n_texts=4) as server:
        document = post(server, body).json()
    assert document["stop_reason"] == "end_turn"
    assert len(json.loads(document["content"][0]["text"])["card"]) == 4


def test_labels_are_chosen_from_the_list():
    request = AnnotationRequest("1-1", ("hi", "win"), (("ham", "spam"), ("spam", "ham")))
    schema = {"name": "labels", "schema": answer_schema(request), "strict": True}
    body = {**OPENAI, "response_format": {"type": "json_schema", "json_schema": schema}}
    assert content(played(body=body)) == {"1": "A", "2": "A"}
    wrong = content(played(Fault.wrong_labels(), body=body))
    assert wrong.keys() == {"1", "2"}
    assert not {"A", "B", "C"} & set(wrong.values())


def test_without_a_schema():
    bare = {"model": "m", "messages": PROMPT}
    with FaultServer(['{"card": ["where is it"]}', Fault.none()], schema=SCHEMA) as server:
        assert content(post(server, bare)) == {"card": ["where is it"]}
        assert len(content(post(server, bare))["card"]) == 3
    assert "No schema" in played(body=bare).json()["choices"][0]["message"]["content"]
    assert played("Sure!", body=ANTHROPIC).json()["content"][0]["text"] == "Sure!"
    given = played('{"card": ["a"]}', body=ANTHROPIC).json()["content"][0]
    assert given["input"] == {"card": ["a"]}


def change(body, **fields):
    return {k: v for k, v in {**body, **fields}.items() if v is not None}


def named(**fields):
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, **fields}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (change(OPENAI, model=None), "must provide a model"),
        (change(OPENAI, messages=None), "'messages' must be"),
        (change(OPENAI, messages=[]), "not empty"),
        (change(OPENAI, messages=[{"role": "boss", "content": "x"}]), "Invalid role"),
        (change(OPENAI, messages=[{"role": "user"}]), "messages[0].content"),
        (change(OPENAI, temperature=3), "is not in [0, 2]"),
        (change(OPENAI, temperature="hot"), "is not in [0, 2]"),
        (change(OPENAI, max_tokens=9, max_completion_tokens=9), "at the same time"),
        (change(OPENAI, stream=True), "does not stream"),
        (change(OPENAI, response_format={"type": "yaml"}), "'yaml'"),
        (change(OPENAI, response_format=named(name="a b", schema=CLOSED)), "name"),
        (change(OPENAI, response_format=named(schema=LOOSE)), "'additionalProperties'"),
        (change(OPENAI, response_format=named(schema=CLOSED)), "Missing 'card'"),
    ],
)
def test_openai_refuses_what_openai_would(body, message):
    with FaultServer() as server:
        response = post(server, body, path="chat/completions")
    assert response.status_code == 400
    error = response.json()["error"]
    assert message in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error.keys() == {"message", "type", "param", "code"}
    assert not server.texts


def closed(**rule):
    schema = {**CLOSED, "properties": {"card": {"type": "array", **rule}}}
    return change(
        ANTHROPIC,
        tools=None,
        tool_choice=None,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (change(ANTHROPIC, model=None), "model: Field required"),
        (change(ANTHROPIC, messages=None), "messages: Field required"),
        (change(ANTHROPIC, max_tokens=None), "max_tokens: Field required"),
        (change(ANTHROPIC, max_tokens="9"), "max_tokens"),
        (change(ANTHROPIC, messages=[]), "at least one"),
        (change(ANTHROPIC, seed=3), "seed: Extra inputs"),
        (change(ANTHROPIC, temperature=1.5), "temperature: range: 0..1"),
        (change(ANTHROPIC, stream=True), "does not stream"),
        (change(ANTHROPIC, system=[]), "system: "),
        (change(ANTHROPIC, messages=[{"role": "system", "content": "x"}, *PROMPT]), "top-level"),
        (change(ANTHROPIC, messages=[{"role": "assistant", "content": "x"}]), "first message"),
        (change(ANTHROPIC, messages=[{"role": "user", "content": " "}]), "non-empty"),
        (change(ANTHROPIC, tools=[{**TOOL, "name": "a b"}]), "tools.0.custom.name"),
        (change(ANTHROPIC, tools=[{"name": "answer"}]), "input_schema"),
        (change(ANTHROPIC, tools=[{**TOOL, "strict": True}]), "'minItems' values"),
        (change(ANTHROPIC, tool_choice={"type": "tool", "name": "x"}), "'x' not found"),
        (change(ANTHROPIC, tool_choice="answer"), "tool_choice"),
        (closed(minItems=2), "'minItems' values other than 0 or 1"),
        (closed(maxItems=2), "'maxItems' is not supported"),
        (
            change(
                ANTHROPIC,
                tools=[{**TOOL, "input_schema": {"type": "object", "properties": {"a b": {}}}}],
            ),
            "Property keys should match",
        ),
        (
            change(ANTHROPIC, output_config={"format": {"type": "json_schema", "schema": LOOSE}}),
            "explicitly set to false",
        ),
        (
            change(
                ANTHROPIC,
                system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5,
            ),
            "maximum of 4",
        ),
    ],
)
def test_anthropic_refuses_what_anthropic_would(body, message):
    response = played(body=body, path="messages")
    assert response.status_code == 400
    document = response.json()
    assert document["type"] == "error"
    assert document["error"]["type"] == "invalid_request_error"
    assert message in document["error"]["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def places(value, path=()):
    """Every place in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from places(item, (*path, key))


STRICT = closed(minItems=1, items={"type": "string"})


@given(data=st.data())
def test_any_document_is_answered_or_refused(data):
    body = copy.deepcopy(data.draw(st.sampled_from([OPENAI, ANTHROPIC, STRICT])))
    *way, last = data.draw(st.sampled_from(list(places(body))))
    functools.reduce(operator.getitem, way, body)[last] = data.draw(JSON)
    with FaultServer() as server:  # an error of its own would be raised at the end
        path = "messages" if "max_tokens" in body else "chat/completions"
        response = post(server, body, path)
    assert response.status_code in (200, 400)
    assert ("error" in response.json()) == (response.status_code == 400)


def test_anthropic_wants_its_version():
    response = played(body=ANTHROPIC, headers={})
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "anthropic-version: header is required"
    response = played(body=ANTHROPIC, headers={"anthropic-version": "1999-01-01"})
    assert "not a valid version" in response.json()["error"]["message"]


def test_unknown_paths_and_methods():
    with FaultServer() as server:
        missing = post(server, path="completions")
        assert (missing.status_code, missing.json()["error"]["param"]) == (404, None)
        missing = httpx.post(f"{server.base_url}/complete", json={}, headers=VERSION)
        assert missing.json()["error"]["type"] == "not_found_error"
        with httpx.Client() as client:
            for method in ("GET", "HEAD", "PUT"):
                assert client.request(method, f"{server.base_url}/messages").status_code == 405
        garbage = httpx.post(f"{server.base_url}/chat/completions", content=b"{")
        assert (garbage.status_code, server.requests[-1].body) == (400, b"{")


def test_a_script_is_played_in_order_and_its_end_repeats():
    with FaultServer([Fault.error(500), Fault.error(503), Fault.none()]) as server:
        assert [post(server).status_code for _ in range(4)] == [500, 503, 200, 200]
        post(server, change(OPENAI, model=None))  # refused: no step is taken
        server.script = [Fault.error(401), Fault.none()]
        assert [post(server).status_code for _ in range(2)] == [401, 200]
    assert server.n_requests == len(server.requests) == 7


def test_steps_of_a_script():
    def answer(body):
        return Fault.error(404) if body["model"] == "m" else [1, 2]

    response = played((418, {"a": 1}, {"X-Kind": "pot"}))
    assert (response.status_code, response.json()) == (418, {"a": 1})
    assert response.headers["x-kind"] == "pot"
    assert played({"a": 1}).json() == {"a": 1}
    assert played(b"<html>").content == b"<html>"
    assert played(answer).status_code == 404
    assert played(answer, body=change(OPENAI, model="other")).json() == [1, 2]


@pytest.mark.parametrize("body", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
@pytest.mark.parametrize(
    ("fault", "low", "high"),
    [
        (Fault.rate_limit(), 1, 1),
        (Fault.rate_limit("seconds", delay=7), 7, 7),
        (Fault.rate_limit("ms", delay=0.25), 0.25, 0.25),
        (Fault.rate_limit("date", delay=5), 4.9, 6),
        (Fault.rate_limit("reset", delay=5), 4.9, 6),
        (Fault.rate_limit("reset", delay=90), 89.9, 91),
    ],
    ids=repr,
)
def test_rate_limits_say_when_to_come_back(body, fault, low, high):
    response = played(fault, body=body)
    assert response.status_code == 429
    assert low <= read_retry_after(response.headers) <= high
    assert "retry-after" in response.headers or "date" not in repr(fault)


def test_rate_limit_headers_are_the_providers_own():
    openai = played(Fault.rate_limit("reset", delay=0.5)).headers
    assert openai["x-ratelimit-reset-requests"] == "500ms"
    assert "retry-after" not in openai
    anthropic = played(Fault.rate_limit("reset"), body=ANTHROPIC).headers
    assert anthropic["anthropic-ratelimit-requests-reset"].endswith("Z")
    silent = played(Fault.rate_limit(None)).headers
    assert read_retry_after(silent) is None


@pytest.mark.parametrize(
    ("status", "openai", "anthropic"),
    [
        (401, "invalid_request_error", "authentication_error"),
        (429, "requests", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (529, "server_error", "overloaded_error"),
    ],
)
def test_errors_in_the_words_of_the_provider(status, openai, anthropic):
    fault = Fault.error(status, "no", {"X-Why": "test"}, code="insufficient_quota")
    first, second = played(fault), played(fault, body=ANTHROPIC)
    assert first.status_code == second.status_code == status
    assert first.headers["x-why"] == "test"
    assert first.json()["error"]["type"] == openai
    assert first.json()["error"]["code"] == "insufficient_quota"
    assert second.json()["error"]["type"] == anthropic
    assert second.json()["error"]["message"] == "no"


def test_connections_that_break():
    with pytest.raises(httpx.ReadError):
        played(Fault.reset_mid_body())
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        played(Fault.hang_up())
    with FaultServer([Fault.reset_mid_body(), Fault.none()]) as server, httpx.Client() as client:
        url = f"{server.base_url}/chat/completions"
        with client.stream("POST", url, json=OPENAI) as response:
            assert response.status_code == 200  # the head comes, and so does half of the body
            with pytest.raises(httpx.ReadError):
                response.read()
        assert not server.texts
        assert client.post(url, json=OPENAI).is_success


def test_slow_and_stalled_bodies():
    start = time.perf_counter()
    with pytest.raises(httpx.ReadTimeout):
        played(Fault.stall(30), timeout=0.2)
    assert time.perf_counter() - start < 5  # the server does not wait for its own fault
    start = time.perf_counter()
    assert content(played(Fault.slow_body(0.6), timeout=0.3))["card"]
    assert time.perf_counter() - start > 0.6


def test_huge_and_broken_documents():
    response = played(Fault.huge_body(3_000_000))
    assert len(response.content) == 3_000_000
    assert content(response)["card"]
    response = played(Fault.broken_document())
    assert response.is_success
    with pytest.raises(ValueError, match="Unterminated|Expecting"):
        response.json()


def test_truncated_answers_end_within_their_last_text():
    with FaultServer([Fault.truncated()]) as server:
        choice = post(server).json()["choices"][0]
        assert choice["finish_reason"] == "length"
        with pytest.raises(ValueError, match="Unterminated"):
            json.loads(choice["message"]["content"])
        assert len(server.texts) == 4
        assert all(text in choice["message"]["content"] for text in server.texts)
        # Anthropic closes what is open: the last text looks whole, and is not.
        document = post(server, ANTHROPIC).json()
        assert document["stop_reason"] == "max_tokens"
        *whole, cut = chain(*document["content"][0]["input"].values())
        assert server.texts[4:] == whole
        assert not cut.endswith(".")


def test_faults_of_what_the_model_says():
    wrong = content(played(Fault.wrong_labels()))
    assert not {"card", "rate"} & wrong.keys()
    assert {t for texts in content(played(Fault.duplicates())).values() for t in texts} == {
        "the same text again"
    }
    assert played(Fault.empty_choices()).json()["choices"] == []
    empty = played(Fault.empty_choices(), body=ANTHROPIC).json()
    assert (empty["content"], empty["stop_reason"]) == ([], "end_turn")
    message = played(Fault.refusal()).json()["choices"][0]["message"]
    assert message["content"] is None
    assert "sorry" in message["refusal"]
    refused = played(Fault.refusal(), body=ANTHROPIC).json()
    assert (refused["content"], refused["stop_reason"]) == ([], "refusal")


def test_wrong_usage():
    assert played(Fault.wrong_usage(None)).json()["usage"] is None
    usage = played(Fault.wrong_usage()).json()["usage"]
    assert usage["prompt_tokens"] == usage["completion_tokens"] == -1
    usage = played(Fault.wrong_usage(0), body=ANTHROPIC).json()["usage"]
    assert usage["input_tokens"] == usage["output_tokens"] == 0


async def ask_at_once(server, n, headers=None):
    limits = httpx.Limits(max_connections=n)
    async with httpx.AsyncClient(limits=limits, timeout=60, headers=headers) as client:

        async def ask():
            start = time.perf_counter()
            response = await client.post(f"{server.base_url}/chat/completions", json=OPENAI)
            return response.status_code, time.perf_counter() - start

        return await asyncio.gather(*(ask() for _ in range(n)))


def test_many_connections_at_once():
    start = time.perf_counter()
    with FaultServer(latency=1.5) as server:
        answers = asyncio.run(ask_at_once(server, 64))
    assert {status for status, _ in answers} == {200}
    assert min(seconds for _, seconds in answers) >= 1.5
    assert time.perf_counter() - start < 30  # one after the other: 96 s
    assert len(set(server.texts)) == 64 * 5


def test_latency_of_a_log_normal_distribution():
    with FaultServer(latency=(0.4, 0.5)) as server:
        drawn = [server._draw_latency() for _ in range(2001)]
        [(_, seconds)] = asyncio.run(ask_at_once(server, 1))
    assert 0.37 < statistics.median(drawn) < 0.43
    assert 0.45 < statistics.stdev(map(math.log, drawn)) < 0.55
    assert seconds > 0.05


def test_random_faults():
    def play(seed):
        rates = {429: 0.1, 503: 0.2, Fault.empty_choices(): 0.3}
        with FaultServer(rates=rates, seed=seed) as server, httpx.Client() as client:
            url = f"{server.base_url}/chat/completions"
            answers = [client.post(url, json=OPENAI) for _ in range(200)]
        return [(r.status_code, r.json().get("choices") == []) for r in answers]

    first = play(0)
    assert first == play(0) != play(1)
    shares = [first.count(kind) / 200 for kind in ((429, False), (503, False), (200, True))]
    assert shares == pytest.approx([0.1, 0.2, 0.3], abs=0.1)


def test_nothing_is_kept_unless_it_is_wanted():
    with FaultServer(record=False) as server:
        post(server)
    assert (server.requests, server.texts, server.n_requests) == ([], [], 1)


def test_requests_are_recorded_and_keys_are_not_shown():
    with FaultServer() as server:
        before = time.monotonic()
        post(server, headers={"Authorization": "Bearer sk-canary", "X-A": "1"})
    [request] = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-canary"
    assert request.body == OPENAI
    assert before < request.time < time.monotonic()
    assert "sk-canary" not in repr(request)
    assert "sk-canary" not in repr(vars(server))


def talk(server, *parts, pause=0.0):
    """Send bytes as they are, read until the server closes or says nothing more."""
    with socket.create_connection(("127.0.0.1", int(server.base_url[17:-3])), 2) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(*lines):
    return "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines, "", ""]).encode()


def test_bodies_in_chunks_and_pieces():
    content = json.dumps(OPENAI).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:40], content[40:]))
    chunked = head("Transfer-Encoding: chunked"), chunks, b"0\r\nTrailer: 1\r\n\r\n"
    with FaultServer() as server:
        assert talk(server, *chunked, pause=0.05).startswith(b"HTTP/1.1 200 OK\r\n")
        whole = head(f"content-length: {len(content)}") + content
        answer = talk(server, whole + whole)  # pipelined
        assert answer.count(b"HTTP/1.1 200 OK") == 2
        waiting = head(f"content-length: {len(content)}", "Expect: 100-continue")
        answer = talk(server, waiting, content, pause=0.05)
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
        last = head(f"content-length: {len(content)}", "Connection: close") + content
        assert talk(server, last + whole).count(b"HTTP/1.1 ") == 1
        old = whole.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        assert talk(server, old + whole).count(b"HTTP/1.1 ") == 1
    assert [r.body for r in server.requests] == [OPENAI] * 6


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (head("no colon"), 400),
        (head("content-length: many"), 400),
        (head("content-length: -1"), 400),
        (head("content-length: 99999999999"), 413),
        (head("transfer-encoding: chunked") + b"zz\r\n", 400),
        (head("transfer-encoding: chunked") + b"1" * 100_000 + b"\r\n", 400),
        (head("transfer-encoding: gzip, chunked"), 501),
        (head("x: " + "y" * 100_000), 431),
        (head("content-length: 100") + b"half", None),
        (b"", None),
    ],
)
def test_what_is_no_request(sent, status):
    with FaultServer() as server:
        answer = talk(server, sent)
        assert answer.startswith(b"HTTP/1.1 %d" % status if status else b"")
        assert bool(answer) == bool(status)
        assert post(server).is_success
    assert server.n_requests == 1


def test_an_error_of_the_script_is_not_swallowed():
    def broken(body):
        raise ZeroDivisionError("in the script")

    with pytest.raises(ZeroDivisionError, match="in the script"), FaultServer([broken]) as server:
        assert "ZeroDivisionError" in post(server).json()["error"]["message"]
    with pytest.raises(InvalidInputError, match="Got 3"), FaultServer([lambda body: 3]) as server:
        assert post(server).status_code == 500
    with (  # nor is one that keeps the answer from being sent
        pytest.raises(UnicodeEncodeError),
        FaultServer([(200, {}, {"X-Name": "日本"})]) as server,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        post(server)
    # That of the test comes first.
    with pytest.raises(KeyError, match="of the test"), FaultServer([broken]) as server:
        raise KeyError("of the test", post(server))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FaultServer(Fault.none()), "must be a list"),
        (lambda: FaultServer([500]), "Got 500 instead"),
        (lambda: FaultServer(latency=-1), "none below 0. Got -1"),
        (lambda: FaultServer(rates={429: 0.7, 500: 0.7}), "sum up to 1"),
        (lambda: FaultServer(rates={429: -0.1}), "sum up to 1"),
        (lambda: FaultServer(rates={200: 0.1}), "Got 200 instead"),
        (lambda: Fault.rate_limit("soon"), "Got 'soon' instead"),
        (lambda: FaultServer().base_url, "with FaultServer"),
    ],
)
def test_parameters_that_cannot_work(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_a_port_of_ones_own():
    with FaultServer() as server, FaultServer() as other:
        port = int(server.base_url[17:-3])
        assert other.base_url != server.base_url
        with pytest.raises(OSError, match="in use"), FaultServer(port=port):
            pass
    with FaultServer(port=port) as server:
        with pytest.raises(InvalidInputError, match="up already"):
            server.__enter__()
        assert post(server).is_success


@pytest.mark.filterwarnings("error")
def test_it_leaves_nothing_behind():
    n_threads = threading.active_count()
    with httpx.Client(timeout=5) as client:
        with FaultServer([Fault.none(), Fault.stall(60)], latency=0.1) as server:
            url = f"{server.base_url}/chat/completions"
            client.post(url, json=OPENAI)
            with pytest.raises(httpx.ReadTimeout):
                client.post(url, json=OPENAI, timeout=0.3)
        assert threading.active_count() == n_threads
        with pytest.raises(httpx.ConnectError):
            client.post(url, json=OPENAI)


@pytest.mark.filterwarnings("error")
def test_it_can_be_closed_while_a_client_does_not_read():
    content = json.dumps(OPENAI).encode()
    with socket.socket() as client:
        with FaultServer([Fault.huge_body(50_000_000)]) as server:
            client.connect(("127.0.0.1", int(server.base_url[17:-3])))
            client.sendall(head(f"content-length: {len(content)}") + content)
            assert client.recv(8) == b"HTTP/1.1"
        gc.collect()  # a connection left open would warn now


def test_as_a_process_of_its_own():
    command = [sys.executable, "-m", "pgkd.testing.fault_server", "--latency", "0.05,0.2"]
    command += ["--rate", "429=0.3", "--rate", "slow_body:0.1=0.7", "--n-texts", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        url = p.stdout.readline().strip()
        try:
            answers = [httpx.post(f"{url}/chat/completions", json=OPENAI) for _ in range(30)]
        finally:
            p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=30)
    assert {r.status_code for r in answers} == {200, 429}
    assert json.loads(out) == {"n_requests": 30, "n_faults": 30}
    assert (p.returncode, err) == (0, "")
    code = "from pgkd.testing.fault_server.__main__ import main; main(['--rate', 'no_fault=1'])"
    wrong = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "no status and no fault: 'no_fault'" in wrong.stderr
