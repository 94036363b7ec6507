"""Batches of OpenAI and Anthropic, on an emulated server."""

import json
import logging
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from batch_server import CANCELLED, EXPIRED, BatchServer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.exceptions import TeacherAuthenticationError, TeacherError
from pgkd.records import AnnotationRequest, Completion, GenerationRequest, Usage
from pgkd.system.store import ACTIVE_STORE, FILE_NAME, RunStore
from pgkd.teachers import (
    AnthropicTeacher,
    BudgetedTeacher,
    CachedTeacher,
    FunctionTeacher,
    OpenAITeacher,
    RecordedTeacher,
)
from pgkd.teachers.transport import batch
from pgkd.teachers.wrappers.cached import hash_request
from pgkd.testing import check_teacher

TEACHERS = {"openai": OpenAITeacher, "anthropic": AnthropicTeacher}
KEY = "sk-canary-7351"


def make_requests(n, begin=1):
    return [GenerationRequest(f"1-{i}", {"card": 1, "rate": 1}) for i in range(begin, begin + n)]


@pytest.fixture(autouse=True)
def short_moment(monkeypatch):
    monkeypatch.setattr(batch, "MOMENT", 0.1)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with BatchServer() as server:
        yield server


@pytest.fixture(params=list(TEACHERS))
def make(request, server):
    """Make a teacher that asks the server."""

    def make(**params):
        options = {"batch": True, "poll_interval": 0.05, "max_retries": 0}
        url = f"{server.url}/v1"
        return TEACHERS[request.param]("m", base_url=url, **options | params)

    make.provider = request.param
    return make


def ask(teacher, requests):
    """Return the generations in the order of the requests."""
    generations = {g.request.id: g for g in teacher.generate(requests)}
    return [generations[request.id] for request in requests]


def find_id(body):
    """Find the id of a request in its body."""
    text = json.dumps(body)
    return text[text.index("Request 1-") :].split()[1].rstrip(":")


def test_all_requests_in_one_batch(make, server):
    """Limits of concurrency and rate do not hold them back."""
    server.n_polls = 2
    teacher = make(max_concurrency=1, requests_per_minute=1, tokens_per_minute=1, api_key=KEY)
    generations = ask(teacher, make_requests(100))
    assert [len(members) for members in server.batches] == [100]
    assert all(len(g.examples) == 2 and not g.rejected for g in generations)
    assert len({e.text for g in generations for e in g.examples}) == 200
    key = "x-api-key" if make.provider == "anthropic" else "authorization"
    assert all(KEY in headers[key] for headers in server.headers)


def test_each_request_gets_its_own_answer(make, server):
    def play(body, number):
        text = json.dumps({"card": [f"text of {find_id(body)}\u2028with a line separator"]})
        if make.provider == "openai":
            return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        content = [{"type": "text", "text": text}]
        usage = {"input_tokens": 1, "output_tokens": 1}
        return {"content": content, "stop_reason": "end_turn", "usage": usage}

    server.play = play
    for generation in ask(make(), make_requests(9)):
        text = f"text of {generation.request.id}\u2028with a line separator"
        assert [e.text for e in generation.examples] == [text]


def test_half_the_price(make):
    usage = Usage(1, 1_000_000, 1_000_000, cost=None)
    assert make(price=(2, 10)).cost(usage) == 6
    assert make(price=(2, 10), batch=False).cost(usage) == 12
    assert make().cost(usage) is None
    [generation] = ask(make(price=(2, 10)), make_requests(1))
    taken = generation.usage
    assert taken.cost == pytest.approx((2 * taken.input_tokens + 10 * taken.output_tokens) / 2e6)
    assert taken.input_tokens > 50


def test_price_of_a_known_model():
    pytest.importorskip("genai_prices")
    usage = Usage(1, 1_000_000, 0, cost=None)
    for kind, model in ((OpenAITeacher, "gpt-5-mini"), (AnthropicTeacher, "claude-haiku-4-5")):
        assert kind(model, batch=True).cost(usage) == kind(model).cost(usage) / 2 > 0


def test_a_failure_is_its_own_request_s(make, server):
    server.play = lambda body, number: {"1-3": 400, "1-5": 413}.get(find_id(body))
    generations = ask(make(), make_requests(6))
    failed = [g.request.id for g in generations if g.error]
    assert failed == ["1-3", "1-5"]
    assert all(g.examples for g in generations if not g.error)
    assert len(server.batches) == 1


def test_what_expired_is_submitted_again(make, server):
    server.play = lambda body, number: (
        EXPIRED if number == 1 and find_id(body) in ("1-2", "1-3") else None
    )
    if make.provider == "openai":
        server.end = {"status": "expired"}
    generations = ask(make(), make_requests(5))
    assert all(g.examples for g in generations)
    assert [len(members) for members in server.batches] == [5, 2]
    assert {find_id(body) for _, body in server.batches[1]} == {"1-2", "1-3"}


def test_what_always_expires_is_given_up(make, server):
    server.play = lambda body, number: EXPIRED if find_id(body) == "1-1" else None
    lost, served = ask(make(), make_requests(2))
    assert "did not get round to this request in 3 batches" in lost.error
    assert served.examples
    assert len(server.batches) == 3


@pytest.mark.parametrize("status", [429, 500, 529])
def test_passing_faults_are_submitted_again(make, server, status):
    server.play = lambda body, number: (
        status if (number == 1 and find_id(body) == "1-1") or find_id(body) == "1-2" else None
    )
    generations = ask(make(), make_requests(3))
    assert [bool(g.examples) for g in generations] == [True, False, True]
    assert f"answered {status}" in generations[1].error
    assert [len(members) for members in server.batches] == [3, 2, 1]


def test_what_was_cancelled_is_not(make, server):
    server.play = lambda body, number: CANCELLED if find_id(body) == "1-1" else None
    cancelled, served = ask(make(), make_requests(2))
    assert "cancelled" in cancelled.error
    assert served.examples
    assert len(server.batches) == 1


def test_a_cancelled_openai_batch_may_be_silent_about_what_it_did_not_do(server):
    server.end = {"status": "cancelled", "output_file_id": None}
    teacher = OpenAITeacher("m", base_url=f"{server.url}/v1", batch=True, poll_interval=0.05)
    [generation] = ask(teacher, make_requests(1))
    assert "was cancelled" in generation.error
    assert len(server.batches) == 1


def test_a_parameter_that_is_refused_is_left_out_of_the_next_batch(make, server):
    server.play = lambda body, number: 400 if "temperature" in body else None
    generations = ask(make(temperature=0.5), make_requests(4))
    assert all(g.examples for g in generations)
    assert [len(members) for members in server.batches] == [4, 4]


def test_a_request_without_a_future(make, server):
    """What no other request would survive either ends it, as outside a batch."""
    server.play = lambda body, number: 401
    with pytest.raises(TeacherAuthenticationError):
        ask(make(), make_requests(2))


def test_the_interval_grows(make, server):
    server.n_polls = 7
    ask(make(poll_interval=0.5), make_requests(1))
    times = [seconds for seconds, _ in server.polls]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) == 7
    for gap, asked in zip(gaps, [0.03, 0.06, 0.12, 0.25, 0.5, 0.5, 0.5]):
        assert asked * 0.9 < gap < asked + 0.3


def test_a_server_out_of_reach_loses_no_batch(make, server):
    server.n_polls, server.outages_later = 1, [500, 503, 429, 529]
    assert all(g.examples for g in ask(make(), make_requests(2)))
    assert not server.outages
    assert len(server.batches) == 1


def test_a_server_out_of_reach_for_long_ends_it(make, server, monkeypatch):
    monkeypatch.setattr(batch, "PATIENCE", 0.3)
    server.n_polls, server.outages_later = 1, [500] * 1000
    with pytest.raises(TeacherError, match=r"batch_1' is under way.*`run_dir`"):
        ask(make(), make_requests(1))


def test_a_server_without_batches(make, server):
    teacher = make().set_params(base_url=f"{server.url}/other/v1")
    with pytest.raises(TeacherError, match="takes no batches"):
        ask(teacher, make_requests(1))


def test_conforms(make):
    check_teacher(make())


def test_the_kill_switch(make, server):
    teacher = make().set_params(base_url="https://api.example.com/v1")
    with pytest.raises(TeacherError, match="PGKD_BLOCK_PAID_CALLS"):
        ask(teacher, make_requests(1))


# What is remembered

SCRIPT = """
import sys
from pgkd.records import GenerationRequest
from pgkd.teachers import AnthropicTeacher, CachedTeacher, OpenAITeacher
from pgkd.teachers.transport import batch
provider, url, path, n = sys.argv[1:]
batch.MOMENT = 0.3
kind = {"openai": OpenAITeacher, "anthropic": AnthropicTeacher}[provider]
teacher = CachedTeacher(kind("m", base_url=url, batch=True, poll_interval=0.05, price=(1, 1)), path)
requests = [GenerationRequest(f"1-{i}", {"card": 1, "rate": 1}) for i in range(1, int(n) + 1)]
generations = list(teacher.generate(requests))
print(sum(len(g.examples) for g in generations), sum(g.usage.n_requests for g in generations))
"""


def test_a_killed_process_s_batch_is_collected(make, server, tmp_path):
    path = tmp_path / "run.sqlite"
    command = [sys.executable, "-c", SCRIPT, make.provider, f"{server.url}/v1", str(path), "6"]
    server.running.clear()
    with subprocess.Popen(command) as process:
        while not server.polls:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    n_polls = len(server.polls)
    server.running.set()
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["12", "6"]
    assert len(server.polls) > n_polls
    assert [len(members) for members in server.batches] == [6]
    # Once more: now the answers themselves are there.
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["12", "0"]
    assert len(server.batches) == 1


@pytest.fixture
def leave_under_way(make, monkeypatch):
    """Submit a batch and do not wait for it, as a process that dies."""

    async def die(self, batch, keys):
        raise TeacherError("died")

    def leave(path, requests):
        with monkeypatch.context() as patched:
            patched.setattr(batch._BatchTransport, "_wait_for", die)
            with pytest.raises(TeacherError, match="died"):
                ask(CachedTeacher(make(), path), requests)

    return leave


def test_other_requests_go_into_a_new_batch(make, server, tmp_path, leave_under_way):
    path = tmp_path / "run.sqlite"
    leave_under_way(path, make_requests(4))
    generations = ask(CachedTeacher(make(), path), make_requests(4, begin=3))
    assert all(g.examples for g in generations)
    batches = [{find_id(body) for _, body in members} for members in server.batches]
    assert batches == [{"1-1", "1-2", "1-3", "1-4"}, {"1-5", "1-6"}]


def test_another_request_is_no_old_one(make, server, tmp_path, leave_under_way):
    path = tmp_path / "run.sqlite"
    leave_under_way(path, make_requests(1))
    ask(CachedTeacher(make(max_tokens=77), path), make_requests(1))
    assert len(server.batches) == 2


def test_a_batch_that_is_gone_is_submitted_again(make, server, tmp_path, leave_under_way):
    path = tmp_path / "run.sqlite"
    leave_under_way(path, make_requests(2))
    server.gone.add("batch_1")
    assert all(g.examples for g in ask(CachedTeacher(make(), path), make_requests(2)))
    assert len(server.batches) == 2


def test_what_failed_is_submitted_again_next_time(make, server, tmp_path):
    path = tmp_path / "run.sqlite"
    server.play = lambda body, number: 400 if number == 1 else None
    assert ask(CachedTeacher(make(), path), make_requests(1))[0].error
    assert ask(CachedTeacher(make(), path), make_requests(1))[0].examples
    assert len(server.batches) == 2


def test_a_batch_that_failed_as_a_whole(server, tmp_path):
    path = tmp_path / "run.sqlite"
    problem = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
    server.end = {"status": "failed", "errors": {"object": "list", "data": [problem]}}
    url = f"{server.url}/v1"
    teacher = CachedTeacher(OpenAITeacher("m", base_url=url, batch=True, poll_interval=0.05), path)
    with pytest.raises(TeacherError, match="Enqueued token limit reached"):
        ask(teacher, make_requests(2))
    server.end = {}
    assert all(g.examples for g in ask(teacher, make_requests(2)))
    assert [len(members) for members in server.batches] == [2, 2]


def test_an_unreadable_answer_is_not_collected_again_and_again(make, server, tmp_path):
    server.play = lambda body, number: {"choices": []} if number == 1 else None
    teacher = CachedTeacher(make(max_retries=1), tmp_path / "run.sqlite")
    assert ask(teacher, make_requests(1))[0].examples
    assert len(server.batches) == 2


def test_without_a_store_nothing_is_remembered(make, server):
    teacher = make()
    for _ in range(2):
        assert all(g.examples for g in ask(teacher, make_requests(2)))
    assert len(server.batches) == 2


def test_through_all_wrappers(make, server, tmp_path):
    path = tmp_path / "run.sqlite"
    inner = BudgetedTeacher(make(price=(1, 1), max_concurrency=1), path, max_cost=1.0)
    teacher = CachedTeacher(RecordedTeacher(tmp_path / "answers.jsonl", inner), path)
    assert all(g.examples for g in ask(teacher, make_requests(30)))
    assert [len(members) for members in server.batches] == [30]
    keys = [key for key, _ in server.batches[0]]
    assert RunStore(path).find_batches([*keys, "other"]) == dict.fromkeys(keys, "batch_1")


def test_an_answer_is_the_same_in_a_batch_and_outside(make):
    hashes = {hash_request(make(batch=batch), [], {}) for batch in (True, False)}
    assert len(hashes) == 1


def test_the_store_is_that_of_the_session(tmp_path):
    """And of no other one."""
    seen = []

    class Teacher(FunctionTeacher):
        def connect(self):
            seen.append(ACTIVE_STORE.get())
            return super().connect()

    teacher = Teacher(lambda messages: Completion('{"card": ["one"]}'))
    ask(CachedTeacher(teacher, tmp_path / "a.sqlite"), make_requests(1))
    ask(teacher, make_requests(1))
    assert seen[0].path == tmp_path / "a.sqlite"
    assert seen[1] is None
    assert ACTIVE_STORE.get() is None


def test_keys_are_not_remembered(make, server, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    teacher = CachedTeacher(make(api_key=KEY), tmp_path / "run.sqlite")
    ask(teacher, make_requests(2))
    assert "Batch batch_1 submitted, with 2 requests" in caplog.text
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert KEY not in caplog.text
    assert KEY.encode() not in files


def test_fit(make, server, tmp_path, data):
    """Few batches, at half the price, and none when the run is repeated."""

    def fit():
        student = make_pipeline(TfidfVectorizer(), LogisticRegression())
        options = {"max_cycles": 2, "samples_per_cycle": 6, "max_cost": 1.0, "random_state": 0}
        teacher = make(price=(1, 2))
        return PGKDClassifier(teacher, student, run_dir=tmp_path, **options).fit(*data)

    clf = fit()
    n_batches = len(server.batches)
    assert sum(map(len, server.batches)) == clf.usage_.n_requests > n_batches
    usage = clf.usage_
    assert usage.cost == pytest.approx((usage.input_tokens + 2 * usage.output_tokens) / 2e6)
    assert fit().usage_.n_requests == 0
    assert len(server.batches) == n_batches
    assert (tmp_path / FILE_NAME).exists()


def test_logprobs_in_batches(server):
    """A model that refuses them costs a second batch, and no answer."""
    candidates = [{"token": t, "logprob": p} for t, p in (("A", -0.1), ("B", -3.0), ("C", -4.0))]
    logprobs = {"content": [{**candidates[0], "top_logprobs": candidates}]}
    choice = {"message": {"content": "A"}, "finish_reason": "stop", "logprobs": logprobs}
    requests = [AnnotationRequest(f"1-a{i}", ("x",), (("card", "pin"),)) for i in range(3)]
    teacher = OpenAITeacher("m", base_url=f"{server.url}/v1", batch=True, poll_interval=0.05)
    server.play = lambda body, number: {"choices": [choice]}
    for generation in teacher.annotate(requests):
        assert generation.probabilities["x"]["card"] > 0.9
    assert [len(members) for members in server.batches] == [3]
    assert all(body["top_logprobs"] == 20 for _, body in server.batches[0])

    server.batches.clear()
    server.play = lambda body, number: (
        403 if "logprobs" in body else {"choices": [{**choice, "logprobs": None}]}
    )
    generations = list(teacher.annotate(requests))
    assert [g.error for g in generations] == [None] * 3
    assert all(g.examples and not g.probabilities for g in generations)
    assert [len(members) for members in server.batches] == [3, 3]


@pytest.mark.parametrize("failure", ["empty", "error"])
def test_a_failure_in_a_batch_is_not_collected_again(make, server, failure, tmp_path):
    """A second run gets a new batch, not the answer that is nothing."""
    choice = {"message": {"content": ""}, "finish_reason": "stop"}
    if failure == "error":
        choice |= {"finish_reason": "error", "error": {"code": 502}}
    body = {"choices": [choice], "content": [], "stop_reason": "end_turn"}
    server.play = lambda request, number: body
    first = CachedTeacher(make(), tmp_path / FILE_NAME)
    first.teacher.max_followups = 0
    assert ask(first, make_requests(1))[0].examples == ()
    n_batches = len(server.batches)
    server.play = lambda request, number: None
    again = CachedTeacher(make(), tmp_path / FILE_NAME)
    assert ask(again, make_requests(1))[0].examples
    assert len(server.batches) == n_batches + 1
