"""A real server, asked by the real client of OpenAI."""

import json
import re
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import openai
import pytest
import uvicorn
from conftest import WORDS, write_text
from fastapi import FastAPI
from openai.types.chat import ChatCompletion
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

import pgkd
from pgkd import PGKDClassifier, read_logs
from pgkd.exceptions import InvalidInputError
from pgkd.serving import make_app, run

LABELLED = [(write_text(label, i), label) for i in range(20) for label in WORDS]
SURE, UNSURE = write_text("card", 3), "good morning"
SCHEMA = {"type": "object", "properties": {"intent": {"enum": sorted(WORDS)}}}


@contextmanager
def serving(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def model():
    student = make_pipeline(TfidfVectorizer(), LogisticRegression(C=100))
    return PGKDClassifier(student=student, random_state=0).fit(*map(list, zip(*LABELLED)))


@pytest.fixture
def llm(monkeypatch):
    """An application that answers always "pin", and what it was sent."""
    from fastapi import FastAPI, Request

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    app = FastAPI()
    app.state.asked, app.state.status = [], 200

    @app.post("/v1/chat/completions")
    async def complete(request: Request):
        from fastapi.responses import JSONResponse, StreamingResponse

        from pgkd.serving import chat

        body = await request.json()
        app.state.asked.append((body, request.headers.get("authorization")))
        if app.state.status != 200:
            return JSONResponse({"error": {"message": "no"}}, app.state.status)
        message = chat.write_answer(body, "pin", "label") or {"role": "assistant", "content": "?"}
        whole = chat.complete(body, message, "big-llm")
        if body.get("stream"):
            return StreamingResponse(chat.stream(body, whole), media_type="text/event-stream")
        return whole

    with serving(app) as url:
        app.state.url = f"{url}/v1"
        yield app.state


@contextmanager
def asking(model, **options):
    with (
        serving(make_app(model, name="intents", **options)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="sk-client", max_retries=0) as client,
    ):
        yield client


def ask(client, text, **options):
    messages = [
        {"role": "system", "content": "Classify the message."},
        {"role": "user", "content": text},
    ]
    return client.chat.completions.create(model="gpt-5-mini", messages=messages, **options)


def test_predict_and_what_is_around_it(model):
    with serving(make_app(model, name="intents", min_confidence=0.6)) as url, httpx.Client() as web:
        texts = [SURE, UNSURE, write_text("rate", 4)]
        answer = web.post(f"{url}/predict", json={"texts": texts}).json()["predictions"]
        assert [own["label"] for own in answer] == model.predict(texts).tolist()
        top = model.predict_proba(texts).max(axis=1)
        assert [own["confidence"] for own in answer] == pytest.approx(top.tolist())
        assert [own["is_unsure"] for own in answer] == [False, True, False]
        assert web.post(f"{url}/predict", json={"texts": []}).json() == {"predictions": []}
        assert web.post(f"{url}/predict", json={"texts": "one"}).status_code == 422
        assert web.post(f"{url}/predict", json={"texts": ["a"] * 10_001}).status_code == 422
        for headers in (
            {},
            {"Content-Type": "application/x-www-form-urlencoded"},
        ):  # curl's default
            answer = web.post(f"{url}/predict", content=b'{"texts": ["a"]}', headers=headers)
            assert answer.status_code == 422
            message = answer.json()["error"]["message"]
            assert "sent with the header `Content-Type: application/json`" in message
        half = b'{"texts": ["\\ud83d"]}'
        assert web.post(f"{url}/predict", content=half).status_code in (400, 422)
        assert web.get(f"{url}/health").json()["status"] == "ok"
        assert 'pgkd_texts_total{answered_by="model"} 3.0' in web.get(f"{url}/metrics").text
        assert "/predict" in web.get(f"{url}/openapi.json").json()["paths"]
        assert web.get(f"{url}/docs").status_code == 200


@pytest.mark.parametrize(
    "form",
    [
        {"response_format": {"type": "json_schema", "json_schema": "x"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": {"properties": {"a": {"enum": 5}}, "required": [["a"]]}},
            }
        },
        {"tools": [{"function": "x"}], "tool_choice": {"function": "x"}},
    ],
)
def test_a_form_that_is_none_is_refused(model, form):
    body = {"messages": [{"role": "user", "content": SURE}], **form}
    with serving(make_app(model)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert "`response_format` and `tools` must be" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "card"),
        ({"response_format": {"type": "text"}}, "card"),
        ({"response_format": {"type": "json_object"}}, '{"label": "card"}'),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA},
                }
            },
            '{"intent": "card"}',
        ),
    ],
)
def test_the_client_of_openai_gets_the_label_in_the_form_it_asks_for(model, asked, expected):
    with asking(model) as client:
        completion = ask(client, SURE, **asked)
        assert completion.choices[0].message.content == expected
        assert completion.choices[0].finish_reason == "stop"
        for counted in (False, True):
            options = {"stream_options": {"include_usage": True}} if counted else {}
            parts = [*ask(client, SURE, stream=True, **options, **asked)]
            assert [len(part.choices) for part in parts] == [1, 1] + [0] * counted
            said = [part.choices[0].delta.content for part in parts[:2]]
            assert "".join(filter(None, said)) == expected
        assert [own.id for own in client.models.list()] == ["intents"]


def test_a_function_that_must_be_called_is_called(model):
    function = {"name": "label_it", "parameters": SCHEMA}
    tools = [{"type": "function", "function": function}]
    choice = {"type": "function", "function": {"name": "label_it"}}
    with asking(model) as client:
        for tool_choice in (choice, "required"):
            answer = ask(client, SURE, tools=tools, tool_choice=tool_choice).choices[0]
            [call] = answer.message.tool_calls
            assert (call.function.name, call.function.arguments) == (
                "label_it",
                '{"intent": "card"}',
            )
            assert answer.finish_reason == "tool_calls"


def test_parsed_answers_of_the_client(model):
    from typing import Literal

    from pydantic import BaseModel

    class Intent(BaseModel):
        intent: Literal["card", "pin", "rate"]

    with asking(model) as client:
        completion = client.chat.completions.parse(
            model="m", messages=[{"role": "user", "content": SURE}], response_format=Intent
        )
        assert completion.choices[0].message.parsed == Intent(intent="card")


def test_the_llm_is_asked_where_the_model_is_unsure_and_its_answers_are_learnt(
    model, llm, tmp_path
):
    keep = tmp_path / "calls.jsonl"
    with asking(model, upstream=llm.url, min_confidence=0.6, keep=keep) as client:
        assert ask(client, SURE).model == "intents"
        assert not llm.asked
        completion = ask(client, UNSURE, temperature=0.5)
        assert (completion.model, completion.choices[0].message.content) == ("big-llm", "pin")
        [(body, key)] = llm.asked
        assert (body["temperature"], key) == (0.5, "Bearer sk-client")
        parts = list(ask(client, UNSURE + " again", stream=True))
        assert "".join(p.choices[0].delta.content or "" for p in parts if p.choices) == "pin"
    assert "sk-client" not in keep.read_text()
    logs = read_logs(keep)
    assert (logs.texts, logs.labels) == ((UNSURE, UNSURE + " again"), ("pin", "pin"))
    X, y = map(list, zip(*LABELLED))
    again = PGKDClassifier(student=model.student_, random_state=0).fit(X, y, logs=logs)
    assert [t.text for t in again.synthetic_ if t.source == "log"] == list(logs.texts)


@pytest.mark.parametrize("status", [429, 503, None])
def test_the_model_answers_when_the_llm_is_down(model, llm, status, tmp_path):
    llm.status = status
    url = llm.url if status else "http://127.0.0.1:9/v1"
    keep = tmp_path / "calls.jsonl"
    with asking(model, upstream=url, min_confidence=0.6, keep=keep) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": UNSURE}]
        )
        assert raw.headers["x-answered-by"] == "model instead of llm"
        assert raw.parse().choices[0].message.content == model.predict([UNSURE])[0]
    assert not keep.exists()


def test_what_the_llm_refuses_is_passed_on(model, llm):
    llm.status = 401
    with (
        asking(model, upstream=llm.url, min_confidence=0.6) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        ask(client, UNSURE)


def test_a_form_with_room_for_more_goes_to_the_llm_or_is_refused(model, llm):
    properties = {"intent": {"enum": sorted(WORDS)}, "reason": {"type": "string"}}
    schema = {"properties": properties, "required": ["intent", "reason"]}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    with asking(model, upstream=llm.url, min_confidence=0.6) as client:
        assert ask(client, SURE, response_format=form).model == "big-llm"
    with (
        asking(model) as client,
        pytest.raises(openai.BadRequestError, match="one property.* Got 'intent', 'reason' inst"),
    ):
        ask(client, SURE, response_format=form)


@pytest.mark.parametrize("options", [["A", "B"], ["pin", "rate"]])
def test_an_enum_of_other_classes_is_refused_as_such(model, options):
    schema = {"properties": {"category": {"enum": options}}, "required": ["category"]}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    function = {"name": "label_it", "parameters": schema}
    tools = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    for asked in ({"response_format": form}, tools):
        with asking(model) as client, pytest.raises(openai.BadRequestError) as caught:
            ask(client, SURE, **asked)
        message = caught.value.body["message"]
        assert "'category' must allow every class of the model: 'card', 'pin', 'rate'" in message
        assert f"Got {options[0]!r}, {options[1]!r} instead" in message


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"no", b'{"messages": []}', b'{"messages": [{"role": "user"}]}', b"9"]
)
def test_requests_that_cannot_be_answered(model, body):
    with serving(make_app(model)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_other_paths_say_what_there_is(model):
    with asking(model) as client:
        with pytest.raises(openai.NotFoundError, match="this service has /v1/chat/completions"):
            client.responses.create(model="m", input=SURE)
        client.base_url = str(client.base_url).removesuffix("/v1/")  # as it is often forgotten
        with pytest.raises(openai.NotFoundError, match="this service has /v1/chat/completions"):
            ask(client, SURE)


def test_an_llm_that_would_never_be_asked_is_refused(model):
    with pytest.raises(InvalidInputError, match="would never be asked"):
        make_app(model, upstream="http://127.0.0.1:9/v1")


def test_several_labels(tmp_path):
    X = [f"{a} {b}" for a in ("card", "pin") for b in ("late", "lost", "here")] * 3
    y = [[a, b] for a in ("card", "pin") for b in ("late", "lost", "here")] * 3
    student = make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression(C=100)))
    clf = PGKDClassifier(student=student, random_state=0).fit(X, y)
    clf.save(tmp_path / "model")
    schema = {"properties": {"topics": {"type": "array", "items": {"enum": clf.classes_.tolist()}}}}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    with asking(pgkd.load(tmp_path / "model")) as client:
        content = ask(client, "card late", response_format=form).choices[0].message.content
        assert json.loads(content) == {"topics": ["card", "late"]}
        assert json.loads(ask(client, "card late").choices[0].message.content) == ["card", "late"]


def test_a_port_that_is_taken_is_told_before_the_model_is_opened():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"port {taken} of '127.0.0.1' .*another"):
            run("no such model", port=taken)


@pytest.mark.parametrize("place", ["", "/intents"])
def test_the_page_of_the_api_loads_nothing_from_elsewhere(model, place):
    """Neither by itself nor within another application."""
    app = make_app(model)
    if place:
        outer = FastAPI()
        outer.mount(place, app)
        app = outer
    with serving(app) as address:
        first = httpx.get(f"{address}{place}/", follow_redirects=True)
        assert first.url.path == f"{place}/docs"
        page = httpx.get(f"{address}{place}/docs").text
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(loaded) >= 3
        for path in [*loaded, f"{place}/openapi.json"]:
            assert path.startswith(f"{place}/"), path
            assert httpx.get(f"{address}{path}").status_code == 200


def test_the_page_of_the_api_says_what_the_service_is(model):
    shown = make_app(model, name="intents").openapi()
    assert shown["info"]["title"] == "intents"
    assert "3 classes" in shown["info"]["description"]
    tags = {tag["name"] for tag in shown["tags"]}
    for methods in shown["paths"].values():
        for method in methods.values():
            assert set(method["tags"]) <= tags
            assert len(method["summary"].split()) > 3  # FastAPI's own is the function's name
    said = shown["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    example = ChatCompletion.model_validate(said["application/json"]["example"], strict=True)
    assert example.choices[0].message.content == "a label"
