"""What users of other libraries ran into, each as a test of this one."""

import json
import time

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.exceptions import TeacherError
from pgkd.records import Completion, GenerationRequest, Usage
from pgkd.samplers import UnguidedSampler
from pgkd.teachers import CachedTeacher, FunctionTeacher, LLMTeacher, OpenAITeacher
from pgkd.testing import Fault, FaultServer

# The teacher here labels nothing.
pytestmark = pytest.mark.filterwarnings("ignore:The probe of the teacher says nothing")

STUDENT = make_pipeline(TfidfVectorizer(), LogisticRegression())
REQUESTS = [GenerationRequest(f"1-{i}", {"card": 1, "rate": 1}) for i in range(1, 5)]


class Writer(LLMTeacher):
    """Counts what it is asked, in its class: `fit` clones teachers."""

    asked = 0

    def __init__(self, temperature=0.0, max_tokens=500, version="the code changes"):
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.version = version

    def complete(self, messages, *, schema):
        Writer.asked += 1
        answer = {name: [f"please {name} {Writer.asked}"] for name in schema["properties"]}
        return Completion(json.dumps(answer), Usage(1, 100, 20, cost=None))


@pytest.fixture(autouse=True)
def _reset():
    Writer.asked = 0


def fit(teacher, data, **params):
    params = {"max_cycles": 1, "samples_per_cycle": 6, "random_state": 0} | params
    sampler = UnguidedSampler(texts_per_request=2)
    return PGKDClassifier(teacher, STUDENT, sampler, **params).fit(*data)


def test_a_stale_cache__curator_148(data, tmp_path):
    """Another temperature is another request."""
    fit(Writer(), data, run_dir=tmp_path)
    n = Writer.asked
    with pytest.warns(UserWarning, match="holds a run with other `teacher`"):
        fit(Writer(temperature=1.0), data, run_dir=tmp_path)
    assert Writer.asked == 2 * n


def test_an_over_keyed_cache__curator_135_697(data, tmp_path, monkeypatch):
    """What does not change an answer reuses it: code, limits, more cycles, another student."""
    fit(Writer(), data, run_dir=tmp_path)
    n = Writer.asked
    monkeypatch.setattr(Writer, "new_code", lambda self: None, raising=False)
    with pytest.warns(UserWarning, match="holds a run with other `teacher`"):
        fit(Writer(max_tokens=9_000), data, run_dir=tmp_path)
    fit(Writer(), data, run_dir=tmp_path, max_cost=None, scoring="accuracy", verbose=0)
    assert Writer.asked == n
    fit(Writer(), data, run_dir=tmp_path, max_cycles=2)
    assert n < Writer.asked < 2 * n  # the second cycle only


def test_resume_does_not_hang__distilabel_1065(data, tmp_path):
    """After a crash the same call goes on, with what is there already."""

    class Dies(Writer):
        def complete(self, messages, *, schema):
            if Writer.asked == 2:
                raise SystemExit("kernel died")
            return super().complete(messages, schema=schema)

    Dies.__qualname__ = "Writer"
    Dies.max_concurrency = 1
    with pytest.raises(BaseException, match="kernel died"):
        fit(Dies(), data, run_dir=tmp_path)
    start = time.perf_counter()
    clf = fit(Writer(), data, run_dir=tmp_path)
    assert time.perf_counter() - start < 60
    assert clf.usage_.n_requests == Writer.asked - 2


def test_the_cost_is_estimated_first__distilabel_462(data):
    teacher = Writer()
    clf = PGKDClassifier(teacher, STUDENT, max_cycles=2, random_state=0)
    assert clf.plan(*data).input_tokens[0] > 0
    assert Writer.asked == 0


def test_no_random_label_for_an_invalid_answer__scikit_llm_14():
    with FaultServer([Fault.wrong_labels()]) as server:
        generations = list(OpenAITeacher("m", base_url=server.base_url).generate(REQUESTS))
    assert not [example for g in generations for example in g.examples]
    assert all(g.rejected["unknown label"] for g in generations)


def test_no_back_off_on_a_wrong_key__scikit_llm():
    with FaultServer([Fault.error(401)]) as server:
        start = time.perf_counter()
        with pytest.raises(TeacherError, match="Check OPENAI_API_KEY"):
            list(OpenAITeacher("m", base_url=server.base_url).generate(REQUESTS[:1]))
    assert server.n_requests == 1
    assert time.perf_counter() - start < 5


def test_retry_after_is_heeded__litellm_4387():
    with FaultServer([Fault.rate_limit("seconds", delay=2), Fault.none()]) as server:
        list(OpenAITeacher("m", base_url=server.base_url).generate(REQUESTS[:1]))
    first, second = (request.time for request in server.requests)
    assert second - first > 1.95


def test_an_unknown_price_is_not_zero__litellm_3496():
    with FaultServer() as server:
        [generation] = OpenAITeacher("m", base_url=server.base_url).generate(REQUESTS[:1])
    assert generation.usage.output_tokens > 0
    assert generation.usage.cost is None


def test_tokens_of_broken_answers_are_counted__instructor_341():
    with FaultServer([Fault.truncated(), Fault.none()]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, price=(1.0, 1.0))
        [generation] = teacher.generate(REQUESTS[:1])
    assert generation.usage.n_requests == server.n_requests == 2
    one = 1e6 * generation.usage.cost
    assert one == generation.usage.input_tokens + generation.usage.output_tokens > 0


def test_an_over_long_prompt_fails_alone__autolabel_433():
    with FaultServer([Fault.error(400, "maximum context length exceeded"), Fault.none()]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url)
        generations = list(teacher.generate(REQUESTS))
    assert sum(bool(g.error) for g in generations) == 1
    assert sum(len(g.examples) == 2 for g in generations) == 3


def test_a_stalled_server_does_not_hang__autolabel_591():
    with FaultServer([Fault.stall(60), Fault.none()]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, timeout=0.5)
        start = time.perf_counter()
        generations = list(teacher.generate(REQUESTS))
    assert time.perf_counter() - start < 30
    assert all(len(g.examples) == 2 for g in generations)


def test_a_body_that_trickles_in_does_not_hang():
    with FaultServer([Fault.slow_body(30)]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, max_retries=0, timeout=1.0)
        start = time.perf_counter()
        [generation] = teacher.generate(REQUESTS[:1])
    assert time.perf_counter() - start < 15
    assert "No whole answer from" in generation.error


def test_failures_are_not_cached(tmp_path):
    with FaultServer([Fault.error(400), Fault.none()]) as server:
        teacher = CachedTeacher(
            OpenAITeacher("m", base_url=server.base_url), tmp_path / "run.sqlite"
        )
        [failed] = teacher.generate(REQUESTS[:1])
        [served] = teacher.generate(REQUESTS[:1])
    assert failed.error
    assert len(served.examples) == 2


def test_paid_calls_are_blocked(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    teacher = OpenAITeacher("gpt-5-mini")
    for ask in (teacher.check_ready, lambda: list(teacher.generate(REQUESTS))):
        with pytest.raises(TeacherError, match="blocked, because PGKD_BLOCK_PAID_CALLS is set"):
            ask()
    monkeypatch.setenv("PGKD_BLOCK_PAID_CALLS", "0")
    teacher.check_ready()


def test_a_function_is_not_blocked():
    answer = '{"card": ["where is it"], "rate": ["how much"]}'
    [generation] = FunctionTeacher(lambda messages: answer).generate(REQUESTS[:1])
    assert len(generation.examples) == 2
