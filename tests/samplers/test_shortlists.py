from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from pgkd.exceptions import AnnotatorError, TeacherError
from pgkd.inputs.text import fold_text
from pgkd.loop.buyer import Buyer
from pgkd.records import AnnotationRequest, Example, Generation, State, Usage
from pgkd.samplers import shortlists as annotating
from pgkd.samplers.shortlists import make_requests, read_labels
from pgkd.teachers.prompts.options import parse

CLASSES = ("a", "b", "c", "d")
EXAMPLES = tuple(Example(f"{label} number {i}", label) for label in CLASSES for i in range(3))
STATE = State(2, CLASSES, EXAMPLES, task_description="a task", class_descriptions={"a": "A"})


def make(texts, probabilities, seed=0, **params):
    params = {"prefix": "v", "n_candidates": 2} | params
    rng = np.random.default_rng(seed)
    return make_requests(STATE, texts, np.array(probabilities), rng, **params)


def test_shortlists_are_the_likeliest_in_the_order_of_the_classes():
    probabilities = [[0.1, 0.2, 0.3, 0.4], [0.6, 0.0, 0.1, 0.3]]
    [request] = make(["x", "y"], probabilities, texts_per_request=2)
    assert dict(zip(request.texts, request.shortlists)) == {"x": ("c", "d"), "y": ("a", "d")}
    assert (request.id, request.task_description) == ("2-v1", "a task")
    assert request.class_descriptions == {"a": "A"}


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 12))
def test_each_text_is_asked_about_once(seed, n_candidates, n):
    rng = np.random.default_rng(seed)
    texts = [f"text {i}" for i in range(n)]
    requests = make(texts, rng.random((n, 4)), n_candidates=n_candidates, texts_per_request=3)
    shortlists = {t: s for r in requests for t, s in zip(r.texts, r.shortlists)}
    assert sorted(t for r in requests for t in r.texts) == sorted(texts)
    assert len({r.id for r in requests}) == len(requests) == -(-n // 3)
    for text in texts:
        assert shortlists[text] == tuple(sorted(shortlists[text]))
        assert len(shortlists[text]) == min(n_candidates, 4)


def test_a_text_is_no_example_of_itself():
    for seed in range(20):
        requests = make(
            [EXAMPLES[0].text.upper() + "!", *(e.text for e in EXAMPLES[1:])],
            np.eye(4)[np.repeat(range(4), 3)],
            seed,
            texts_per_request=2,
            n_examples=9,
        )
        for request in requests:
            shown = {fold_text(e.text) for e in request.examples}
            assert shown
            assert not shown & set(map(fold_text, request.texts))


NEAR = replace(
    STATE,
    examples=tuple(
        Example(text, label)
        for text, label in (
            ("a loan", "a"),
            ("my card is late", "a"),
            ("My card is late!", "a"),
            ("is my card late?", "a"),
            ("my card was late", "a"),
            ("other words", "b"),
            ("rates of cards", "b"),
        )
    ),
)


def shown(texts, state=NEAR, **params):
    """The examples of each request for texts that are a or b."""
    params = {"prefix": "v", "n_candidates": 2} | params
    probabilities = np.tile([0.5, 0.4, 0.1, 0.0], (len(texts), 1))
    requests = make_requests(state, texts, probabilities, np.random.default_rng(0), **params)
    return [[e.text for e in request.examples] for request in requests]


def test_examples_are_the_nearest_ones_of_each_class():
    """Neither the text itself, however it is written, nor a text twice."""
    assert shown(["Is my card late"]) == [
        ["my card is late", "my card was late", "rates of cards", "other words"]
    ]
    assert shown(["Is my card late"], n_examples=1) == [["my card is late", "rates of cards"]]
    assert shown(["loan rates"], n_examples=1) == [["a loan", "rates of cards"]]
    assert shown(["x"], replace(STATE, examples=NEAR.examples[-2:])) == [
        ["other words", "rates of cards"]
    ]


@pytest.mark.parametrize("wrap", [np.array, csr_matrix])
def test_what_is_near_can_be_told(wrap):
    def embed(texts):
        """Texts are as near as their lengths."""
        angles = [len(text) / 20 for text in texts]
        return wrap([[np.cos(a), np.sin(a)] for a in angles])

    assert shown(["123456"], n_examples=1, embed=embed) == [["a loan", "other words"]]
    assert shown(["1" * 14], n_examples=1, embed=embed) == [["my card is late", "rates of cards"]]


def test_several_texts_have_the_nearest_examples_of_each():
    [examples] = shown(["card late", "loan rates"], n_examples=1, texts_per_request=2)
    assert sorted(examples) == ["a loan", "my card is late", "rates of cards"]


@pytest.mark.parametrize("texts_per_request", [1, 3])
def test_blocks_change_nothing(monkeypatch, texts_per_request):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcd "), 12)) for _ in range(23)]
    probabilities = rng.random((23, 4))
    whole = make(texts, probabilities, texts_per_request=texts_per_request)
    monkeypatch.setattr(annotating, "CELLS", 5 * len(EXAMPLES))
    compared = []
    compare = annotating._Retriever.compare
    monkeypatch.setattr(
        annotating._Retriever,
        "compare",
        lambda self, block: compared.append(len(block)) or compare(self, block),
    )
    assert make(texts, probabilities, texts_per_request=texts_per_request) == whole
    assert max(compared) <= 5
    assert sum(compared) == 23
    monkeypatch.setattr(annotating, "CELLS", 1)
    assert make(texts, probabilities, texts_per_request=texts_per_request) == whole


def test_single_texts_are_asked_about_in_their_order():
    """The first ones are all that is asked where a budget ends: the caller has put them first."""
    rng = np.random.default_rng(0)
    texts = [f"text {i}" for i in range(30)]
    requests = make(texts, rng.random((30, 4)))
    assert [r.texts for r in requests] == [(text,) for text in texts]
    assert [r.id for r in requests] == [f"2-v{i}" for i in range(1, 31)]


def test_sets_have_examples_of_each_label():
    examples = (Example("card and rate", ("a", "b")), Example("a pin", ("b",)), Example("x", ()))
    state = replace(NEAR, examples=examples, multilabel=True)
    assert shown(["the card"], state, n_examples=1) == [["card and rate"]]
    assert shown(["the pin"], state, n_examples=1) == [["card and rate", "a pin"]]
    [request] = make_requests(
        state,
        ["the card"],
        np.array([[0.9, 0.1, 0.2, 0.3]]),
        np.random.default_rng(0),
        prefix="a",
        n_candidates=2,
    )
    assert (request.multilabel, request.may_be_empty) == (True, True)


def test_no_examples():
    [request] = make(["x"], [[0.1, 0.2, 0.3, 0.4]], n_examples=0)
    assert request.examples == ()


def test_read_labels():
    def answer(number, texts, labels, **params):
        request = AnnotationRequest(f"1-{number}", texts, (CLASSES,) * len(texts))
        return Generation(request, tuple(map(Example, *zip(*labels))) if labels else (), **params)

    answers = [
        answer("v1", ("x", "y"), [("x", "a")]),  # y: none of these
        answer("v2", ("z",), [], error="refused"),
        answer("v3", ("u", "w"), [], rejected={"unreadable answer": 1}),
        answer("b1", ("y", "t"), [("y", "b"), ("t", "c")]),
    ]
    assert read_labels(answers[:3]) == {"x": "a", "y": None}
    assert read_labels(answers) == {"x": "a", "y": "b", "t": "c"}
    assert read_labels(answers, "1-b") == {"y": "b", "t": "c"}
    twice = answer("v4", ("x", "y", "x"), [("x", "a"), ("y", "b"), ("x", "c")])
    assert read_labels([twice]) == {"x": "a", "y": "b"}


class Failing:
    """Fails at some texts; it takes all requests or none, as a batch job does."""

    def __init__(self, *bad):
        self.bad = bad
        self.asked = []

    def generate(self, requests):
        return []

    def annotate(self, requests):
        for request in requests:
            self.asked.append(request.texts)
            for text in request.texts:
                if text in self.bad:
                    error = AnnotatorError(f"cannot read {text}")
                    error.usage = Usage(1)
                    raise error
        return [Generation(r, tuple(Example(t, "a") for t in r.texts)) for r in requests]


class Streaming(Failing):
    def annotate(self, requests):
        for request in requests:
            yield from super().annotate([request])


def ask(teacher, texts):
    requests = [
        AnnotationRequest(f"1-a{i}", tuple(texts[i : i + 2]), (("a", "b"),) * 2)
        for i in range(0, len(texts), 2)
    ]
    buyer = Buyer(teacher, max_cost=None, max_tokens=None, emit=lambda event: None)
    return buyer, buyer.ask(requests)


@pytest.mark.parametrize("cls", [Failing, Streaming])
def test_an_annotator_that_fails_loses_the_text_only(cls):
    with pytest.warns(UserWarning, match=r"2 of 5 requests failed.* cannot read t3"):
        buyer, generations = ask(cls("t3", "t4"), ["t1", "t2", "t3", "t5", "t4", "t6"])
    assert read_labels(generations) == dict.fromkeys(["t1", "t2", "t5", "t6"], "a")
    assert [g.request.texts for g in generations if g.error] == [("t3",), ("t4",)]
    assert buyer.usage.n_requests >= 4  # what failed counts as well


def test_what_was_answered_is_not_asked_again():
    teacher = Streaming("t3")
    with pytest.warns(UserWarning, match="1 of 3 requests failed"):
        ask(teacher, ["t1", "t2", "t3", "t4"])
    assert teacher.asked.count(("t1", "t2")) == 1


def test_an_annotator_that_fails_at_everything():
    texts = [f"t{i}" for i in range(16)]
    with pytest.raises(TeacherError, match="All 16 requests failed.*cannot read t0"):
        ask(Failing(*texts), texts)
    with pytest.warns(UserWarning, match="2 of 2 requests failed"):
        _, generations = ask(Failing("t1", "t2"), ["t1", "t2"])
    assert all(g.is_final for g in generations)  # of two texts, the texts may be what is odd


def test_an_annotator_that_answers_and_then_fails_is_not_asked_again():
    class Late(Failing):
        def annotate(self, requests):
            yield from super().annotate(requests)
            raise AnnotatorError("late")

    teacher = Late()
    _, generations = ask(teacher, ["t1", "t2"])
    assert [g.error for g in generations] == [None]
    assert len(teacher.asked) == 1


def test_a_text_that_a_cut_off_answer_leaves_out_is_not_without_a_label():
    request = AnnotationRequest("1-1", ("t1", "t2", "t3"), (("a", "b"),) * 3)
    examples, refused = parse('{"1": "a", "2": "none of these", "3": ', request)
    generation = Generation(request, examples, refused=refused)
    assert read_labels([generation]) == {"t1": "a", "t2": None}


def test_other_errors_end_the_annotation():
    class Broken(Failing):
        def annotate(self, requests):
            self.asked.append(requests)
            raise OSError("gone")

    teacher = Broken()
    with pytest.raises(TeacherError, match=r"Broken raised OSError\('gone'\)"):
        ask(teacher, ["t1", "t2"])
    assert len(teacher.asked) == 1
