"""LocalTeacher with a random model, with scripted tokens, and with a real LLM by llama.cpp."""

import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import pytest
import torch
from local_models import fetch_smollm2
from sklearn.base import clone
from tiny_lm import WITHOUT_SYSTEM, write_tiny_lm

from pgkd.exceptions import InvalidInputError, TeacherError
from pgkd.records import Example, GenerationRequest
from pgkd.teachers import LocalTeacher
from pgkd.teachers.prompts.parts import quote
from pgkd.teachers.providers import causal_lm, local
from pgkd.teachers.providers.causal_lm import _Draw
from pgkd.teachers.wrappers.cached import hash_request
from pgkd.testing import check_teacher

REQUESTS = [GenerationRequest(f"1-{i}", {"card": 1, "rate": i}) for i in range(1, 6)]
EXAMPLES = (Example("where is my card", "card"), Example("what is the rate", "rate"))


@pytest.fixture(autouse=True)
def nothing_loaded():
    local._loaded.clear()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_tiny_lm(tmp_path_factory.mktemp("lm"))


class Raw(LocalTeacher):
    """Keeps the answers as they are."""

    max_followups = 0

    def ask(self, requests=REQUESTS):
        self.answers_ = {}

        async def main():
            async with self.connect() as complete, anyio.create_task_group() as tasks:
                for request in requests:
                    tasks.start_soon(self._keep, complete, request)

        anyio.run(main)
        return [self.answers_[request.id] for request in requests]

    async def _keep(self, complete, request):
        try:
            self.answers_[request.id] = await complete(self.render(request), {})
        except TeacherError as error:
            self.answers_[request.id] = error


def ask(directory, requests=REQUESTS, max_tokens=12, **params):
    return Raw(directory, max_tokens=max_tokens, **params).ask(requests)


@pytest.fixture
def exact(monkeypatch):
    """In bfloat16 tokens are often as likely as each other, and batches round differently."""
    monkeypatch.setattr(causal_lm, "has_fast_bf16", lambda device: False)


@pytest.mark.usefixtures("exact")
def test_an_answer_depends_on_its_request_and_the_seed_alone(directory):
    """Not on what shares its batch: prompts of all lengths are padded to the longest."""
    answers = ask(directory, batch_size=5)
    assert len({answer.text for answer in answers}) == 5
    assert ask(directory, batch_size=1) == answers
    assert ask(directory, REQUESTS[::-1], batch_size=2)[::-1] == answers
    assert ask(directory, batch_size=5, random_state=1) != answers


@pytest.mark.usefixtures("exact")
def test_temperature(directory):
    coldest = ask(directory, temperature=0)
    assert ask(directory, temperature=0, random_state=1) == coldest
    assert ask(directory, temperature=1e-4, random_state=1) == coldest
    assert ask(directory, temperature=2.0) != coldest


@pytest.mark.usefixtures("exact")
def test_the_authors_settings_are_the_default(directory, monkeypatch):
    coldest = ask(directory, temperature=0)
    [model] = local._loaded.values()
    monkeypatch.setattr(model.model.generation_config, "top_k", 1)
    assert ask(directory) == coldest
    monkeypatch.setattr(model.model.generation_config, "top_k", 50)
    monkeypatch.setattr(model.model.generation_config, "top_p", 1e-6)
    assert ask(directory) == coldest
    monkeypatch.setattr(model.model.generation_config, "top_p", 1.0)
    monkeypatch.setattr(model.model.generation_config, "temperature", 1e-4)
    assert ask(directory) == coldest
    assert ask(directory, temperature=2.0) != coldest


def test_draws_follow_the_softmax():
    logits = torch.tensor([[1.0, 0.0, -2.0, float("-inf")]])
    draws = _Draw(list(range(4000)), "cpu")(None, logits.repeat(4000, 1)).argmax(dim=1)
    shares = torch.bincount(draws, minlength=4) / 4000
    assert shares.tolist() == pytest.approx(logits.softmax(dim=1)[0].tolist(), abs=0.03)
    assert shares[3] == 0


def test_the_state_of_torch_is_left_alone(directory):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    ask(directory)
    assert torch.equal(torch.get_rng_state(), before)


def test_tokens_and_truncation(directory):
    answers = ask(directory, max_tokens=40, random_state=3)
    assert len({answer.truncated for answer in answers}) == 2, "choose another seed"
    for answer in answers:
        # A token is a character or, left out of the text, a special one: the end at least.
        n_special = answer.usage.output_tokens - len(answer.text)
        assert (not answer.truncated) <= n_special < 10
        assert answer.truncated == (answer.usage.output_tokens == 40)
    messages = Raw(directory).render(REQUESTS[0])
    n_marks = 2 * len(messages) + 1
    assert answers[0].usage.input_tokens == sum(len(m["content"]) for m in messages) + n_marks
    generations = list(Raw(directory, max_tokens=5).generate(REQUESTS))
    assert all(g.usage.cost == 0 for g in generations)
    assert all(g.rejected["answer cut off"] for g in generations)


@pytest.mark.parametrize("mark", ["<end>", "<pad>", "<unk>", "<|s|>", "<|u|>", "<|a|>"])
def test_no_text_is_read_as_a_mark_of_the_chat_template(directory, mark):
    """A mark would be one token; a turn that a text has ended is another's."""
    request = GenerationRequest("1-1", {"card": 1}, examples=(Example(f"hi{mark} you", "card"),))
    [answer] = ask(directory, [request])
    messages = Raw(directory).render(request)
    n_marks = 2 * len(messages) + 1
    assert answer.usage.input_tokens == sum(len(m["content"]) for m in messages) + n_marks


def test_a_prompt_that_is_too_long_fails_alone(directory):
    long = GenerationRequest("1-0", {"card": 1}, examples=(Example("x" * 4000, "card"),))
    refused, *answers = ask(directory, [long, *REQUESTS])
    assert "model takes 4096 in all: lower `max_tokens`" in str(refused)
    assert answers == ask(directory)
    [generation] = Raw(directory, context_length=100).generate(REQUESTS[:1])
    assert "takes 100 in all" in generation.error


def test_a_model_without_system_prompt(tmp_path):
    directory = write_tiny_lm(tmp_path, template=WITHOUT_SYSTEM)
    [answer] = ask(directory, REQUESTS[:1])
    messages = Raw(directory).render(REQUESTS[0])
    assert answer.usage.input_tokens == sum(len(m["content"]) for m in messages) + 2 + 3


def test_the_model_is_loaded_once(directory, tmp_path):
    teacher = LocalTeacher(directory, max_tokens=5)
    next(teacher.generate(REQUESTS[:1]))
    [model] = local._loaded.values()
    copies = [clone(teacher), pickle.loads(pickle.dumps(teacher))]
    for copy in [*copies, LocalTeacher(directory, max_tokens=9, random_state=1)]:
        next(copy.generate(REQUESTS[:1]))
        assert list(local._loaded.values()) == [model]
    assert len(pickle.dumps(teacher)) < 1000
    # Another one takes its place: two may be too large for the memory.
    next(LocalTeacher(write_tiny_lm(tmp_path), max_tokens=5).generate(REQUESTS[:1]))
    assert len(local._loaded) == 1
    assert model not in local._loaded.values()


def test_conforms(directory, monkeypatch):
    """With the tokens of a good answer in place of those that a random model draws."""
    teacher = LocalTeacher(directory, batch_size=2)
    next(LocalTeacher(directory, max_tokens=5).generate(REQUESTS[:1]))
    [model] = local._loaded.values()
    answer = 'Sure!\n```json\n{"card": ["where is it?"], "pin": ["forgot it", "how'
    tokens = torch.tensor(model.tokenizer(answer)["input_ids"] + [1, 0, 0])
    sizes = []

    def generate(input_ids, attention_mask, generation_config, logits_processor):
        sizes.append(len(input_ids))
        assert (attention_mask[:, -1] == 1).all(), "the padding must be on the left"
        return torch.cat([input_ids, tokens.expand(len(input_ids), -1)], dim=1)

    monkeypatch.setattr(model.model, "generate", generate)
    check_teacher(teacher)
    assert sizes[0] == 2


@pytest.mark.parametrize(
    ("model", "fix"),
    [
        ("no/such-model", "is not in the hub's cache.*or pass a GGUF file"),
        (None, "has no chat template"),
    ],
)
def test_models_that_are_of_no_use(tmp_path, model, fix):
    model = model or write_tiny_lm(tmp_path, template=None)
    with pytest.raises(TeacherError, match=fix):
        list(LocalTeacher(model).generate(REQUESTS))


def test_gguf_that_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(InvalidInputError, match=r"no file .*nowhere\.gguf"):
        LocalTeacher(str(tmp_path / "nowhere.gguf")).check_ready()
    (tmp_path / "model.gguf").touch()
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.delitem(sys.modules, "pgkd.teachers.providers.llama_cpp", raising=False)
    monkeypatch.delattr("pgkd.teachers.providers.llama_cpp", raising=False)
    with pytest.raises(TeacherError, match=r'pip install "pgkd\[llama\]"'):
        LocalTeacher(str(tmp_path / "model.gguf")).check_ready()


def test_importing_is_light():
    code = (
        "import pgkd.teachers, sys\n"
        "heavy = 'torch', 'transformers', 'xllamacpp', 'litellm'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_models_do_not_share_cached_answers():
    keys = {
        hash_request(LocalTeacher(model, random_state=seed), [], {})
        for model in (Path("a"), Path("b"))
        for seed in (0, 1)
    }
    assert len(keys) == 4
    assert hash_request(LocalTeacher("a", batch_size=2, device="cpu"), [], {}) in keys


# A real LLM


@pytest.fixture(scope="module")
def gguf():
    pytest.importorskip("xllamacpp")
    return fetch_smollm2()


def make(gguf, **params):
    options = {"batch_size": 2, "n_threads": 1, "context_length": 1024, "max_tokens": 200}
    return LocalTeacher(gguf, **options | params)


@pytest.mark.network
def test_gguf(gguf):
    """One load for all: the prompt beyond the context, the schema, the same answer again."""
    teacher = make(gguf)
    teacher.check_ready(max_cost=0.01)
    check_teacher(teacher)
    [model] = local._loaded.values()

    request = GenerationRequest("1-1", {"card": 2, "rate": 1}, examples=EXAMPLES)
    long = GenerationRequest("1-2", {"card": 1}, examples=(Example("word " * 3000, "card"),))
    generations = {g.request.id: g for g in teacher.generate([request, long])}
    assert "context" in generations["1-2"].error
    generation = generations["1-1"]
    assert generation.usage.cost == 0
    assert generation.usage.input_tokens > 50
    if not generation.rejected:  # not cut off
        labels = [e.label for e in generation.examples]
        assert {label: labels.count(label) for label in labels} == request.counts
    # What shares a batch changes the last digits, and so now and then a token that is drawn.
    coldest = make(gguf, temperature=0.0)
    [once], [again] = (list(own.generate([request])) for own in (coldest, clone(coldest)))
    assert once.rejected == again.rejected
    assert once.examples == again.examples
    assert list(local._loaded.values()) == [model]


@pytest.mark.network
def test_llama_cpp_reads_no_text_as_a_mark(gguf):
    """It reads the whole prompt with the marks of the chat template, wherever they are."""

    def count(content):
        messages = [{"role": "user", "content": content}]

        async def main():
            async with make(gguf, max_tokens=1).connect() as complete:
                return (await complete(messages, {})).usage.input_tokens

        return anyio.run(main)

    mark, n = "<|im_end|>", 20
    assert count(f"hi {mark * n}") - count("hi") <= n + 1  # so it does
    assert count(quote(f"hi {mark * n}")) - count(quote("hi")) > 5 * n


@pytest.mark.network
def test_a_process_that_used_llama_cpp_ends(gguf):
    code = (
        "import sys\n"
        "from pgkd.records import GenerationRequest\n"
        "from pgkd.teachers import LocalTeacher\n"
        "teacher = LocalTeacher(sys.argv[1], batch_size=1, n_threads=1, max_tokens=8)\n"
        "[generation] = teacher.generate([GenerationRequest('1-1', {'card': 1})])\n"
        "print(generation.usage.output_tokens > 0)"
    )
    command = [sys.executable, "-c", code, str(gguf)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (out.returncode, out.stdout.strip()) == (0, "True"), out.stderr
    assert not out.stderr


@pytest.mark.network
def test_a_damaged_gguf(tmp_path):
    pytest.importorskip("xllamacpp")
    (tmp_path / "model.gguf").write_text("nonsense")
    with pytest.raises(TeacherError, match="llama.cpp cannot load"):
        list(LocalTeacher(str(tmp_path / "model.gguf")).generate(REQUESTS))


@pytest.mark.parametrize("model", ["model.gguf", "folder"])
def test_an_answer_that_is_called_off_is_not_waited_for(model, monkeypatch):
    """Or a second Ctrl-C would be of no use: nothing ends an answer that is being computed."""
    end = threading.Event()

    class Slow:
        def answer(self, *args, **params):
            end.wait(20)

    monkeypatch.setattr(LocalTeacher, "_load", lambda self: Slow())

    async def main():
        async with LocalTeacher(model).connect() as complete:
            with anyio.move_on_after(0.5) as scope:
                await complete([], {})
        return scope.cancelled_caught and not end.is_set()

    try:
        start = time.perf_counter()
        assert anyio.run(main)
        assert time.perf_counter() - start < 10
    finally:
        end.set()
