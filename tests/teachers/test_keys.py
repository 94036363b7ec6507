"""A canary key is given to a teacher, and searched for in all that it leaves behind."""

import copy
import json
import logging
import pickle
import sys
import threading
import traceback
import types
import warnings
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.exceptions import TeacherAuthenticationError, TeacherError
from pgkd.records import AnnotationRequest, GenerationRequest
from pgkd.system.secret import Secret, redact
from pgkd.teachers import (
    AnthropicTeacher,
    BedrockTeacher,
    LiteLLMTeacher,
    OpenAITeacher,
    RecordedTeacher,
)
from pgkd.teachers.transport import batch
from pgkd.testing import Fault, FaultServer

CANARY = "sk-canary-7351"
#: What a header can hold; each is echoed in other spellings by JSON, Python and addresses.
KEYS = [CANARY, "sk canary 7351", 'sk-"canary"/\\7351<&>\'%']
#: What it cannot.
BROKEN = ["sk-canary\n7351", "sk-canäry-7351", "sk-canary\u200b7351", "sk-canary\x007351"]
REQUEST = GenerationRequest("1-1", {"card": 1})
LABELLING = AnnotationRequest("1-a1", ("my card",), (("card", "pin"),))
TEACHERS = {
    "openai": OpenAITeacher,
    "anthropic": AnthropicTeacher,
    "bedrock": lambda *args, **params: BedrockTeacher(*args, region="us-east-1", **params),
    "openai batch": lambda *args, **params: OpenAITeacher(*args, batch=True, **params),
    "anthropic batch": lambda *args, **params: AnthropicTeacher(*args, batch=True, **params),
}


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.setattr(batch, "MOMENT", 0.02)
    for name in ("ANTHROPIC_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)


class Echo(BaseHTTPRequestHandler):
    """Repeats the key that it was sent in the reason, a header and the body, as JSON and as is."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sent = self.headers.get("x-api-key") or self.headers.get("authorization", "")
        key = sent.removeprefix("Bearer ")
        server.keys.append(key)
        content = json.dumps({"error": {"message": f"Wrong key: {key}"}, "raw": repr(key)})
        content = f"{content} {key}".encode("latin-1")
        self.send_response(server.status, f"No {key}")
        for name, value in {"X-Echo": key, "Location": server.location}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST

    def log_message(self, *args):
        pass


@contextmanager
def echo(status, location="/"):
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.status, server.location, server.keys = status, location, []
        server.url = f"http://127.0.0.1:{server.server_port}/v1"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def show(error):
    """All that can be shown of an error: its causes, contexts, attributes, and the variables."""
    shown, seen = [], []
    while error is not None and error not in seen:
        seen.append(error)
        told = traceback.TracebackException.from_exception(error, capture_locals=True, compact=True)
        told.stack[:] = [frame for frame in told.stack if frame.filename != __file__]
        shown += [*told.format(), repr(error), str(vars(error)), repr(error.args)]
        error = error.__cause__ or error.__context__
    return "".join(shown)


def ask(teacher, request=REQUEST):
    """Ask, and return what is shown of the answer or of the error, with all warnings."""
    serve = teacher.annotate if isinstance(request, AnnotationRequest) else teacher.generate
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            shown = repr(list(serve([request])))
        except TeacherError as error:
            shown = show(error)
    return shown + "".join(str(w.message) for w in caught)


def spell(key):
    return {key, json.dumps(key)[1:-1], repr(key)[1:-1], repr(json.dumps(key)[1:-1])[1:-1]}


@pytest.fixture(params=["argument", "environment"])
def teacher(request, monkeypatch):
    if request.param == "argument":
        return OpenAITeacher("m", base_url="http://127.0.0.1:9/v1", api_key=CANARY, max_retries=0)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    return OpenAITeacher("m", base_url="http://127.0.0.1:9/v1", max_retries=0)


def test_objects(teacher):
    clf = PGKDClassifier(teacher)
    shown = [repr(clf), str(clf.get_params()), repr(clone(clf)), str(vars(teacher))]
    shown.append(repr(pickle.dumps(clf)))
    assert CANARY not in "".join(shown)


@pytest.mark.parametrize("key", [CANARY, CANARY.encode(), 7351])
def test_a_key_is_wrapped_however_it_comes(key):
    teacher = OpenAITeacher("m").set_params(api_key=key)
    assert isinstance(teacher.api_key, Secret)
    copies = [teacher, clone(teacher), copy.copy(teacher), copy.deepcopy(teacher)]
    shown = repr([*copies, *map(vars, copies), teacher.api_key.__getstate__()])
    assert "7351" not in shown + repr(pickle.dumps(teacher))


def test_errors_and_logs(teacher, caplog):
    caplog.set_level(logging.DEBUG)
    [generation] = teacher.generate([REQUEST])
    assert generation.error
    assert CANARY not in generation.error + caplog.text


@pytest.mark.parametrize("request_", [REQUEST, LABELLING])
@pytest.mark.parametrize("status", [200, 307, 400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("name", TEACHERS)
def test_a_server_that_repeats_the_key(name, status, request_, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    key = KEYS[(status + len(name)) % len(KEYS)]
    with echo(status) as server:
        teacher = TEACHERS[name]("m", base_url=server.url, api_key=f" {key}\n", max_retries=0)
        shown = ask(teacher, request_)
        assert server.keys[0] == key  # outer white space is no part of it
    shown += caplog.text + "".join(capfd.readouterr())
    assert len(shown) > 1000
    for spelling in spell(key):
        assert spelling not in shown


@pytest.mark.parametrize("key", KEYS)
def test_each_key_is_concealed_in_each_spelling(key, caplog):
    caplog.set_level(logging.DEBUG)
    with echo(401) as server:
        teacher = OpenAITeacher("m", base_url=server.url, api_key=key, max_retries=0)
        shown = ask(teacher) + caplog.text
    assert "Wrong key: ***" in shown
    for spelling in spell(key):
        assert spelling not in shown


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_never_carries_the_key(name, status):
    with echo(200) as other, echo(status, location=other.url) as server:
        teacher = TEACHERS[name]("m", base_url=server.url, api_key=CANARY, max_retries=0)
        shown = ask(teacher)
        assert server.keys
        assert not other.keys
    assert "redirect" in shown
    assert CANARY not in shown


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("key", BROKEN)
def test_a_key_that_no_header_can_hold_is_refused_before_anything_is_sent(name, key, data):
    with echo(200) as server:
        teacher = TEACHERS[name]("m", base_url=server.url, api_key=key, price=(1, 1))
        with pytest.raises(TeacherAuthenticationError, match="no HTTP header can hold") as caught:
            PGKDClassifier(teacher).fit(*data)
        shown = show(caught.value) + ask(teacher)
        assert not server.keys
    assert "`api_key`" in shown
    assert not any(part in shown for part in (key, repr(key)[1:-1], ascii(key)[1:-1], "7351"))


@pytest.mark.parametrize("key", [BROKEN[0], BROKEN[1]])
def test_such_a_key_in_the_environment(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(TeacherAuthenticationError, match="in OPENAI_API_KEY has") as caught:
        OpenAITeacher("m").check_ready()
    assert "7351" not in show(caught.value)


@pytest.mark.parametrize("key", ["", " \n", None])
def test_an_empty_key_is_none(key):
    with FaultServer() as server:
        list(OpenAITeacher("m", base_url=server.base_url, api_key=key).generate([REQUEST]))
        assert "authorization" not in server.requests[0].headers
    with pytest.raises(TeacherAuthenticationError, match="No API key"):
        OpenAITeacher("m", api_key=key).check_ready()


def test_a_key_of_another_type():
    with pytest.raises(TeacherAuthenticationError, match="must be a str. Got bytes"):
        OpenAITeacher("m", api_key=CANARY.encode()).check_ready()


@pytest.mark.parametrize("fault", [Fault.hang_up(), Fault.stall(1), Fault.reset_mid_body()])
def test_broken_connections(fault, caplog):
    caplog.set_level(logging.DEBUG)
    with FaultServer([fault]) as server:
        options = {"base_url": server.base_url, "timeout": 0.2, "max_retries": 0}
        for make in (OpenAITeacher, AnthropicTeacher):
            with pytest.raises(TeacherError) as caught:
                raise_first(make("m", api_key=CANARY, **options))
            assert CANARY not in show(caught.value) + caplog.text


def raise_first(teacher):
    """Raise the error as it is: `generate` shows the text of it alone."""
    import anyio

    async def run():
        async with teacher.connect() as complete:
            await complete(teacher.render(REQUEST), {"properties": {}})

    anyio.run(run)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_a_broken_proxy(variable, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(variable, "nonsense://127.0.0.1:9")
    teacher = AnthropicTeacher("m", base_url="http://127.0.0.2:9", api_key=CANARY, max_retries=0)
    with pytest.raises(TeacherError, match="proxy") as caught:
        list(teacher.generate([REQUEST]))
    assert CANARY not in show(caught.value) + caplog.text


@pytest.mark.parametrize("source", ["argument", "environment"])
def test_litellm(source, monkeypatch, caplog):
    """Its errors have the key in the message, in attributes and in the variables of tracebacks."""
    caplog.set_level(logging.DEBUG)
    module = types.ModuleType("litellm")

    def completion(**arguments):
        key = arguments["api_key"] or CANARY
        logging.getLogger("LiteLLM").debug("POST with %s", key)
        error = RuntimeError(f"Wrong key: {key}")
        error.status_code, error.body = 401, {"message": key}
        error.response = httpx.Response(401, headers={"X-Echo": key})
        raise error

    module.completion = completion
    monkeypatch.setitem(sys.modules, "litellm", module)
    if source == "environment":
        monkeypatch.setenv("MISTRAL_API_KEY", CANARY)
    key = CANARY if source == "argument" else None
    teacher = LiteLLMTeacher("m", base_url="http://127.0.0.1:9", api_key=key)
    assert CANARY not in ask(teacher) + caplog.text
    with pytest.raises(TeacherAuthenticationError, match="no HTTP header"):
        LiteLLMTeacher("m", base_url="http://127.0.0.1:9", api_key=BROKEN[0]).check_ready()


def test_what_aws_signs_with(monkeypatch, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    for name, value in {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "AKIACANARY7351",
        "AWS_SECRET_ACCESS_KEY": "secret-canary-7351\n",
        "AWS_SESSION_TOKEN": "token-canary-7351",
    }.items():
        monkeypatch.setenv(name, value)
    with echo(403) as server:
        teacher = BedrockTeacher("m", base_url=server.url, region="us-east-1", max_retries=0)
        shown = ask(teacher)
        assert "403" in shown
        for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.setenv(name, "canary\n7351-é")
            broken = ask(teacher)
            assert "the AWS credentials has a character" in broken
            shown += broken
    secrets = ("secret-canary-7351", "token-canary-7351", "7351-é", "7351-\\")
    assert not [secret for secret in secrets if secret in shown + caplog.text]


@pytest.mark.parametrize("key", ["none", "EMPTY", "x"])
def test_a_short_key_does_not_change_texts(key):
    """As servers that need none are given."""
    with FaultServer([f'{{"card": ["{key} of it"]}}']) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, api_key=key)
        [generation] = teacher.generate([REQUEST])
    assert generation.examples[0].text == f"{key} of it"
    assert redact(key) == key


@pytest.mark.filterwarnings("ignore:The probe of the teacher says nothing")  # it labels nothing
def test_files(tmp_path, data, caplog):
    """Even of a server whose texts have the key."""
    caplog.set_level(logging.DEBUG)
    n = iter(range(1000))

    def answer(body):
        schema = body["response_format"]["json_schema"]["schema"]
        return json.dumps({name: [f"{CANARY} {next(n)}"] for name in schema["properties"]})

    with FaultServer([answer]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, api_key=CANARY)
        clf = PGKDClassifier(
            RecordedTeacher(tmp_path / "recording.jsonl", teacher),
            make_pipeline(TfidfVectorizer(), LogisticRegression()),
            max_cycles=1,
            samples_per_cycle=6,
            max_tokens=1_000_000,
            run_dir=tmp_path / "run",
            random_state=0,
        ).fit(*data)
        assert any(CANARY in str(request.headers) for request in server.requests)
    clf.save(tmp_path / "model")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"recording.jsonl", "run.sqlite", "pgkd.json"} <= {path.name for path in files}
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    shown = [clf.report(), clf.report().to_dict(), clf.synthetic_, clf.history_, caplog.text]
    assert CANARY not in "".join(map(str, shown)) + repr(pickle.dumps(clf))
