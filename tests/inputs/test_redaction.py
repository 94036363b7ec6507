import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.redaction import Redactor, count_changed


def test_a_text_is_redacted_once():
    asked = []
    redactor = Redactor(lambda text: asked.append(text) or text.upper(), X=["a", "b", "a"])
    assert asked == ["a", "b"]
    assert [redactor("a"), redactor("c"), redactor("c")] == ["A", "C", "C"]
    assert asked == ["a", "b", "c"]
    redactor.forget(["c", "never seen"])
    assert redactor("c") == "C"
    assert asked == ["a", "b", "c", "c"]


def fail(text):
    if text == "bad":
        raise KeyError("name")
    return text


@pytest.mark.parametrize(
    ("redact", "why"),
    [
        (fail, r"For X\[2\] it raised KeyError\('name'\)"),
        (lambda text: None if text == "bad" else text, r"Got NoneType for X\[2\]"),
        (lambda text: b"" if text == "bad" else text, r"Got bytes for X\[2\]"),
        (lambda text: "\ud83d" if text == "bad" else text, r"a lone surrogate for X\[2\]"),
    ],
)
def test_an_error_names_the_place(redact, why):
    with pytest.raises(InvalidInputError, match=why):
        Redactor(redact, X=["a", "b", "bad"])


def test_a_pickle_has_no_text():
    redactor = Redactor(str.upper, X=["canary"])
    pickled = pickle.dumps(redactor)
    assert b"canary" not in pickled.lower()
    assert pickle.loads(pickled)("a") == "A"


@given(st.text(), st.text())
def test_changed_characters_are_some_of_the_texts(text, redacted):
    assert 0 <= count_changed(text, redacted) <= len(text)
    assert count_changed(text, text) == 0
    assert count_changed(text, "") == len(text)


def test_changed_characters():
    assert count_changed("I am Ann from Bonn", "I am X from Y") == len("AnnBonn")
    long = "word " * 20_000
    assert count_changed(f"{long}Ann", f"{long}X") == 3
