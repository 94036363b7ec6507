"""Teachers that are down, go down, hang, drip or send nonsense: told at once, and nothing is lost.

Real sockets and processes; `benchmarks` of the time to disk are in docs/reliability.md.
"""

import gzip
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import WORDS, write_text
from reliability.bad_server import DOCUMENT, FAULTS, BadServer, head, whole
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import CascadeClassifier, Evidence, PGKDClassifier
from pgkd.exceptions import TeacherAuthenticationError, TeacherError, TeacherUnavailableError
from pgkd.records import GenerationRequest
from pgkd.samplers import UnguidedSampler
from pgkd.system.store import RunStore
from pgkd.teachers import (
    AnthropicTeacher,
    BedrockTeacher,
    CachedTeacher,
    FunctionTeacher,
    LiteLLMTeacher,
    OpenAITeacher,
    RecordedTeacher,
)
from pgkd.testing import Fault, FaultServer
from pgkd.testing.fault_server import wire

#: Answers whose time to disk is measured.
N_ANSWERS = 200
REQUEST = GenerationRequest("1-1", {"card": 1})
TEXTS = [write_text(label, i) for i in range(8) for label in WORDS]
LABELS = list(WORDS) * 8


class Counted(LogisticRegression):
    n_trainings = 0

    def fit(self, X, y, sample_weight=None):
        Counted.n_trainings += 1
        return super().fit(X, y, sample_weight)


def make_classifier(teacher, run_dir=None, **params):
    params = {"max_cycles": 3, "samples_per_cycle": 6, "random_state": 0} | params
    return PGKDClassifier(
        teacher,
        make_pipeline(TfidfVectorizer(), Counted()),
        UnguidedSampler(texts_per_request=2),
        routes=("write",),
        evidence=Evidence(probe_size=0),
        run_dir=run_dir,
        **params,
    )


def fit(teacher, run_dir=None, **params):
    """Fit; return the classifier, its trainings and warnings."""
    Counted.n_trainings = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = make_classifier(teacher, run_dir, **params).fit(TEXTS, LABELS)
    return clf, Counted.n_trainings, [str(w.message) for w in caught]


@pytest.fixture
def nobody():
    """An address where nothing listens, and which nobody else can take."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


# Down from the start


def check_refused(teacher, error, *words, seconds=8.0):
    """Assert that nothing is trained, and that the message tells cause and fix, in time."""
    Counted.n_trainings, start = 0, time.perf_counter()
    with pytest.raises(error) as caught:
        make_classifier(teacher).fit(TEXTS, LABELS)
    assert time.perf_counter() - start < seconds
    assert Counted.n_trainings == 0
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("make", [OpenAITeacher, AnthropicTeacher])
def test_nothing_listens(make, nobody):
    words = nobody, "Is the server up, and is `base_url` right?"
    check_refused(make("m", base_url=nobody), TeacherUnavailableError, *words)


def test_nothing_listens_to_a_cascade(nobody):
    teacher = OpenAITeacher("m", base_url=nobody)
    Counted.n_trainings = 0
    with pytest.raises(TeacherUnavailableError, match="Is the server up"):
        CascadeClassifier(make_pipeline(TfidfVectorizer(), Counted()), teacher).fit(TEXTS, LABELS)
    assert Counted.n_trainings == 0


def test_nothing_listens_where_bedrock_should_be(nobody):
    teacher = BedrockTeacher("m", base_url=nobody, region="us-east-1", api_key="key")
    check_refused(teacher, TeacherUnavailableError, nobody, "Is the server up")


def test_no_such_host(monkeypatch):
    monkeypatch.setenv("PGKD_BLOCK_PAID_CALLS", "0")
    url = "http://no-such-host.invalid/v1"
    check_refused(OpenAITeacher("m", base_url=url), TeacherUnavailableError, url, "base_url")


def test_a_certificate_that_nobody_trusts():
    with BadServer(lambda: whole(b"{}"), tls=True) as server:
        words = server.base_url, "is not trusted", "SSL_CERT_FILE"
        check_refused(OpenAITeacher("m", base_url=server.base_url), TeacherError, *words)
        assert server.n_connections == 1


def test_a_certificate_that_was_named_is_trusted(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(Path(__file__).with_name("untrusted.pem")))
    with BadServer(lambda: whole(b"{}"), tls=True) as server:
        OpenAITeacher("m", base_url=server.base_url).check_reachable()


@pytest.mark.parametrize("make", [OpenAITeacher, AnthropicTeacher])
def test_a_key_that_is_refused(make):
    content = b'{"error": {"message": "Incorrect API key provided: sk-wrong"}}'
    with BadServer(lambda: whole(content, "401 Unauthorized")) as server:
        teacher = make("m", base_url=server.base_url, api_key="sk-wrong")
        error, fix = TeacherAuthenticationError, f"Check {make.key_variable} or `api_key`"
        check_refused(teacher, error, server.origin, "401", fix)
        assert server.n_connections == 1


@pytest.mark.parametrize(
    "fault",
    ["closes", "is a gateway without a server", "has an endless head"],
)
def test_nothing_that_speaks_http_is_there(fault):
    with BadServer(FAULTS[fault]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url)
        check_refused(teacher, TeacherUnavailableError, server.base_url, "s the server up")


@pytest.mark.parametrize(
    "fault", ["hangs", "drips a body", "drips a head", "speaks another language"]
)
def test_a_server_that_does_not_come_to_an_end(fault, monkeypatch):
    monkeypatch.setattr("pgkd.teachers.transport.http.PRESENCE", 0.5)
    with BadServer(FAULTS[fault]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url)
        check_refused(teacher, TeacherUnavailableError, server.base_url, "in 0.5 s")


@pytest.mark.parametrize(
    "answer",
    [
        whole(b'{"detail": "Not Found"}', "404 Not Found"),
        whole(b"", "405 Method Not Allowed"),
        whole(b'{"error": "slow down"}', "429 Too Many Requests"),
        whole(b"not implemented", "501 Not Implemented", "text/plain"),
        whole(b'{"error": {"message": "Missing scopes: api.model.read"}}', "403 Forbidden"),
        whole(b'{"error": {"message": "Missing scopes: model.read"}}', "401 Unauthorized"),
        whole(b"", "307 Temporary Redirect", "text/plain", "location: /v1/models/"),
        whole(b'{"data": []}'),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_server_is_there_that_lists_no_models(answer):
    with BadServer(lambda: answer) as server:
        OpenAITeacher("m", base_url=server.base_url, max_retries=0).check_reachable()
        AnthropicTeacher("m", base_url=server.base_url, api_key="k").check_reachable()


def test_a_redirect_to_another_place_is_named():
    where = "location: https://127.0.0.1:9/v1/models"
    answer = whole(b"", "308 Permanent Redirect", "text/plain", where)
    fix = "pass the final address as `base_url`"
    with BadServer(lambda: answer) as server, pytest.raises(TeacherError, match=fix):
        OpenAITeacher("m", base_url=server.base_url).check_reachable()


def test_a_page_for_people_is_warned_of():
    told = "is a page for people, and no API: is `base_url` right"
    with BadServer(FAULTS["answers HTML"]) as server, pytest.warns(UserWarning, match=told):
        OpenAITeacher("m", base_url=server.base_url).check_reachable()


def test_litellm_tells_where_it_cannot_ask(nobody):
    with pytest.raises(TeacherUnavailableError, match="Is the server up"):
        LiteLLMTeacher("openai/m", base_url=nobody, api_key="k").check_reachable()
    LiteLLMTeacher("openai/m", api_key="k").check_reachable()  # it alone knows the address


def test_what_has_no_server_is_not_looked_for(nobody, tmp_path):
    """A function, a replay and a teacher of the user's own work as before."""
    FunctionTeacher(lambda messages: "").check_reachable()
    (tmp_path / "answers.jsonl").write_text("")
    RecordedTeacher(tmp_path / "answers.jsonl").check_reachable()
    down = OpenAITeacher("m", base_url=nobody)
    with pytest.raises(TeacherUnavailableError):
        RecordedTeacher(tmp_path / "new.jsonl", down).check_reachable()
    with pytest.raises(TeacherUnavailableError):
        CachedTeacher(down, tmp_path / "run.sqlite").check_reachable()


def test_a_teacher_that_is_not_needed_may_be_down(tmp_path):
    """What is finished goes on without it; answers that are kept are used, with a warning."""
    with FaultServer(n_texts=2) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, max_retries=0)
        first, _, _ = fit(teacher, tmp_path)
    second, n, found = fit(teacher, tmp_path)
    assert (n, found) == (1, [])
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    third, _, [warning] = fit(teacher, tmp_path)
    assert f"Answers that are kept in {str(tmp_path / 'run.sqlite')!r} are used" in warning
    for clf in (second, third):
        assert clf.synthetic_ == first.synthetic_
        assert clf.usage_.n_requests == 0
        assert (clf.predict_proba(TEXTS) == first.predict_proba(TEXTS)).all()


# Down from a cycle on


class Closing:
    """Closes the server after so many steps that it was paid for."""

    def __init__(self, server, n_left):
        self.server, self.n_left = server, n_left

    def on_event(self, event):
        if event.kind == "step" and event.value.route == "write":
            self.n_left -= 1
            if not self.n_left:
                self.server.__exit__(None, None, None)


def test_a_teacher_that_goes_down_and_comes_back(tmp_path):
    """The best so far with the cause; and when it is back, what a run without a break had found."""

    def write(body):
        names = json.loads(json.dumps(body))["response_format"]["json_schema"]["schema"]
        seed = sum(map(ord, json.dumps(body["messages"])))
        return json.dumps(
            {n: [write_text(n, seed + i) for i in range(2)] for n in names["properties"]}
        )

    with FaultServer([write]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, max_retries=1)
        whole_run, _, _ = fit(teacher, tmp_path / "whole")
    server = FaultServer([write], port=server._port)
    server.__enter__()
    clf, _, found = fit(teacher, tmp_path / "cut", callbacks=[Closing(server, 2)])
    assert clf.stop_reason_ == "teacher_error"
    assert clf.n_cycles_ == 2
    assert clf.score(TEXTS, LABELS) > 0.5
    [warning] = [w for w in found if "The teacher failed" in w]
    assert teacher.base_url in warning
    assert "Is the server up" in warning
    assert "what had been found to help by step 2" in warning
    with FaultServer([write], port=server._port):
        again, _, found = fit(teacher, tmp_path / "cut")
    assert found == []
    assert again.stop_reason_ == whole_run.stop_reason_ == "max_cycles"
    assert again.synthetic_ == whole_run.synthetic_
    assert (again.predict_proba(TEXTS) == whole_run.predict_proba(TEXTS)).all()


class Hanging:
    """Lets the server hang from the first step on that it was paid for, and notes the time."""

    def __init__(self, server):
        self.server = server

    def on_event(self, event):
        if event.kind == "step" and event.value.route == "write":
            self.server.script, self.since = [Fault.stall(60)], time.monotonic()


def test_a_teacher_that_hangs_from_a_cycle_on(monkeypatch):
    """Not each of many requests waits for it: without any answer, it is down."""
    monkeypatch.setattr(OpenAITeacher, "deadline", 2.0)
    with FaultServer(n_texts=2) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, timeout=1.0, max_concurrency=2)
        hanging = Hanging(server)
        clf, _, found = fit(teacher, samples_per_cycle=40, callbacks=[hanging])
        seconds = time.monotonic() - hanging.since
    assert (clf.stop_reason_, clf.n_cycles_) == ("teacher_error", 1)
    assert seconds < 2.0 + 2 * 1.0 + 3.0  # the last try, and a busy machine
    [warning] = [w for w in found if "The teacher failed" in w]
    assert "No request was answered for" in warning
    assert "raise it if the server is slow" in warning


# Nonsense


@pytest.mark.parametrize("fault", FAULTS)
def test_nonsense_is_told_within_the_time_limit(fault, tmp_path):
    """`timeout` is for the whole answer, and nothing of a failure is kept."""
    with BadServer(FAULTS[fault]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, timeout=1.0, max_retries=1)
        start = time.perf_counter()
        try:
            [generation] = CachedTeacher(teacher, tmp_path / "run.sqlite").generate([REQUEST])
            told = generation.error
        except TeacherError as error:
            told = str(error)
        seconds = time.perf_counter() - start
        time.sleep(0.1)
        assert server.n_sent < 2 * 64 * 2**20 + 2**25  # of two tries
    assert seconds < 2 * 1.0 + 0.5 + 3.0  # two tries, a wait between them, a busy machine
    assert "127.0.0.1" in told
    assert any(fix in told for fix in ("base_url", "timeout", "502 Bad Gateway")), told
    assert RunStore(tmp_path / "run.sqlite").is_empty()


def test_an_answer_may_come_in_small_pieces_and_packed():
    """What is read piece by piece is what was sent."""
    packed = gzip.compress(DOCUMENT.encode())
    start = head(len(packed), "200 OK", "application/json", "content-encoding: gzip")
    with BadServer(lambda: (bytes([byte]) for byte in start + packed)) as server:
        [generation] = OpenAITeacher("m", base_url=server.base_url).generate([REQUEST])
    assert [example.text for example in generation.examples] == ["where is my card"]


# On disk


def time_syncs(tmp_path):
    """Return the seconds that the disk takes to keep a page."""
    found = []
    with (tmp_path / "page").open("wb") as file:
        for _ in range(50):
            file.write(bytes(4096))
            file.flush()
            start = time.monotonic()
            os.fsync(file.fileno())
            found.append(time.monotonic() - start)
    return found


def test_answers_are_on_disk_at_once(tmp_path, monkeypatch, record_property):
    """From the last byte that the server sent to the end of the transaction."""
    sent, kept = [], []
    put = RunStore.put

    def put_and_note(self, key, answer):
        put(self, key, answer)
        kept.append(time.monotonic())

    async def note_and_send(*args, **params):  # the time before it, to be fair
        sent.append(time.monotonic())
        await send(*args, **params)

    send = wire.send
    monkeypatch.setattr(wire, "send", note_and_send)
    monkeypatch.setattr(RunStore, "put", put_and_note)
    requests = [GenerationRequest(f"1-{i}", {"card": 5}) for i in range(1, N_ANSWERS + 1)]
    with FaultServer() as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, max_concurrency=1)
        list(CachedTeacher(teacher, tmp_path / "run.sqlite").generate(requests))
    with closing(sqlite3.connect(tmp_path / "run.sqlite", isolation_level=None)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM answers").fetchone() == (N_ANSWERS,)
    waits, syncs = 1000 * (np.array(kept) - np.array(sent)), 1000 * np.array(time_syncs(tmp_path))
    told = ", ".join(
        f"{name}: median {np.median(found):.1f} ms, p99 {np.quantile(found, 0.99):.1f} ms"
        for name, found in [("answers", waits), ("fsync alone", syncs)]
    )
    record_property("from the last byte to the disk", told)
    # The quicker ones tell: a busy machine has the others wait for a core, or for the disk.
    assert np.quantile(waits, 0.2) < 10 + np.median(syncs), told


# Asked again


SCRIPT = """
import sys
sys.path[:0] = {path!r}
from test_teacher_trouble import fit
from pgkd.teachers import OpenAITeacher
fit(OpenAITeacher("m", base_url={url!r}, max_concurrency=2), {run_dir!r}, samples_per_cycle=12)
"""


def read_keys(server):
    """Return the key and the document of each request."""
    found = []
    for request in server.requests:
        found.append((request.headers["idempotency-key"], json.dumps(request.body, sort_keys=True)))
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_what_a_killed_process_had_asked_has_the_same_key(tmp_path):
    held = Fault.stall(60)
    with FaultServer([Fault.none(), Fault.none(), held, held]) as server:
        script = SCRIPT.format(
            path=[str(Path(__file__).parent), str(Path(__file__).parents[1])],
            url=server.base_url,
            run_dir=str(tmp_path / "run"),
        )
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while server.n_requests < 4:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        answered, lost = read_keys(server)[:2], read_keys(server)[2:]
        server.script, server.requests = (), []
        subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
        again = read_keys(server)
    assert len({key for key, _ in answered + lost}) == 4
    assert set(lost) <= set(again)
    assert not set(answered) & set(again)
    assert len({key for key, _ in again}) == len({body for _, body in again}) == len(again)


def test_a_key_lasts_until_there_is_an_answer():
    """No answer: the same key. One that was no good: another, or it would come again."""
    script = [Fault.hang_up(), Fault.reset_mid_body(), Fault.error(500), Fault.none()]
    with FaultServer(script) as server:
        [generation] = OpenAITeacher("m", base_url=server.base_url).generate([REQUEST])
    assert generation.examples
    keys = [key for key, _ in read_keys(server)]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_a_key_tells_nothing_and_is_of_one_server():
    keys = []
    for _ in range(2):
        with FaultServer() as server:
            list(OpenAITeacher("m", base_url=server.base_url).generate([REQUEST]))
            keys.append(server.requests[0].headers["idempotency-key"])
    assert len(set(keys)) == 2
    assert all(len(key) == 64 and set(key) <= set("0123456789abcdef") for key in keys)
