import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd import PGKDClassifier
from pgkd.loop.naming import MAX_LENGTH, split_name, write_names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("card_arrival", "card arrival"),
        ("cardArrival", "card arrival"),
        ("card-arrival", "card arrival"),
        ("Card Arrival", "card arrival"),
        ("CARD_ARRIVAL", "CARD ARRIVAL"),
        ("getATMFee2", "get ATM fee2"),
        ("a/b.c:d|e", "a b c d e"),
        ("Überweisung_fehlt", "überweisung fehlt"),
        ("我的卡", "我的卡"),
        ("__", ""),
        ("", ""),
        ("17", ""),
        (17, ""),
        (True, ""),
        (None, ""),
    ],
)
def test_names_become_words(name, words):
    assert split_name(name) == words


@given(st.text())
def test_any_name_becomes_one_line(name):
    words = split_name(name)
    assert words == " ".join(words.split())
    assert split_name(words.upper()) == split_name(words.upper())


def test_names_that_are_the_same_words_are_left_out():
    texts = write_names(["card_late", "cardLate", "pin"], {})
    assert [text.text for text in texts] == ["pin"]
    described = write_names(["card_late", "cardLate"], {"card_late": "post", "cardLate": "rate"})
    assert [(t.text, t.source) for t in described] == [
        ("post", "description"),
        ("rate", "description"),
    ]


def test_twins_are_told(student):
    texts = ["a card", "the card", "a pin", "the pin", "a rate", "the rate"]
    y = ["card", "card", "Pin ", "pin", "rate", "rate"]
    with pytest.warns(UserWarning, match="'Pin ' and 'pin' differ in case and white space alone"):
        PGKDClassifier(student=student, random_state=0).fit(texts, y)


def test_a_description_that_repeats_the_name_counts_once():
    assert len(write_names(["pin"], {"pin": "Pin."})) == 1


def test_what_is_no_text_is_left_out():
    long = "word " * MAX_LENGTH
    assert write_names([long, "\ud83d", "!!", "ok"], {"ok": long})[0].text == "ok"
    assert len(write_names([long, "\ud83d", "!!", "ok"], {"ok": long})) == 1


def test_texts_have_labels_of_the_kind_of_the_others():
    [text] = write_names(["pin"], {}, multilabel=True)
    assert text.label == ("pin",)
    assert (text.cost, text.weight, text.verdict) == (0.0, 1.0, "accepted")
