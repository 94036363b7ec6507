"""OpenAITeacher against llama.cpp's server and a real, if tiny, LLM."""

import pytest
from local_models import fetch_smollm2, serve

from pgkd.exceptions import TeacherError
from pgkd.records import AnnotationRequest, Example, GenerationRequest
from pgkd.teachers import OpenAITeacher
from pgkd.testing import check_teacher

pytestmark = pytest.mark.network
EXAMPLES = (Example("where is my card", "card"), Example("what is the rate", "rate"))


@pytest.fixture(scope="module")
def base_url():
    pytest.importorskip("xllamacpp")
    with serve(fetch_smollm2(), n_parallel=2, context_per_slot=1024) as base_url:
        yield base_url


def test_conforms(base_url):
    check_teacher(OpenAITeacher("smollm2", base_url=base_url, max_tokens=200))


def test_schema_is_obeyed(base_url):
    """A model that rambles when left alone: counts and classes are the schema's doing."""
    request = GenerationRequest("1-1", {"card": 2, "rate": 1}, examples=EXAMPLES)
    teacher = OpenAITeacher("smollm2", base_url=base_url, max_tokens=300, price=(1, 2))
    generations = list(teacher.generate([request, *[GenerationRequest("1-2", {"card": 1})]]))
    assert {g.request.id for g in generations} == {"1-1", "1-2"}
    for generation in generations:
        usage = generation.usage
        assert usage.input_tokens > 50
        assert usage.output_tokens > 5
        assert usage.cost == pytest.approx((usage.input_tokens + 2 * usage.output_tokens) / 1e6)
        if not generation.rejected:  # not cut off
            labels = [e.label for e in generation.examples]
            assert {label: labels.count(label) for label in labels} == generation.request.counts


def test_log_probabilities(base_url):
    """They are those of the letters, before the schema rules tokens out."""
    request = AnnotationRequest("1-a1", ("where is my card",), (("card", "rate"),), EXAMPLES)
    teacher = OpenAITeacher("smollm2", base_url=base_url, temperature=0.0)
    [generation] = teacher.annotate([request])
    probabilities = generation.probabilities["where is my card"]
    assert list(probabilities) == ["card", "rate"]
    assert sum(probabilities.values()) == pytest.approx(1)
    assert all(0 < p < 1 for p in probabilities.values())
    for example in generation.examples:  # or it is "none of these"
        assert example.label == max(probabilities, key=probabilities.get)


def test_a_prompt_beyond_the_context_fails_alone(base_url):
    long = GenerationRequest("1-1", {"card": 1}, examples=(Example("word " * 3000, "card"),))
    short = GenerationRequest("1-2", {"card": 1}, examples=EXAMPLES)
    teacher = OpenAITeacher("smollm2", base_url=base_url, max_tokens=100)
    generations = {g.request.id: g for g in teacher.generate([long, short])}
    assert "context" in generations["1-1"].error
    assert generations["1-2"].error is None


def test_a_server_that_dies_is_an_error(base_url):
    port = int(base_url.split(":")[2].split("/")[0])
    teacher = OpenAITeacher("smollm2", base_url=f"http://127.0.0.1:{port}/nowhere", max_retries=0)
    with pytest.raises(TeacherError, match="404"):
        list(teacher.generate([GenerationRequest("1-1", {"card": 1})]))
