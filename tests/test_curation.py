import pytest

from pgkd.curation import Curator, count_reasons
from pgkd.records import Example, Generation, GenerationRequest

KNOWN = ["My card has not arrived yet, where is it?", "How do I change my PIN?"]
GATE = ["The exchange rate you applied to my payment is wrong"]


def judge(curator, *texts, label="a"):
    request = GenerationRequest("1-1", {"a": 9})
    examples = tuple(Example(text, label) for text in texts)
    return curator.judge([Generation(request, examples)], cycle=1)


@pytest.fixture
def curator():
    return Curator(["a", "b"], KNOWN, GATE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I would like to top up by cheque", None),
        ("  \n ", "empty"),
        ("word " * 100, "too long"),
        ("my CARD has  not arrived yet, where is it?", "duplicate"),
        ("My card has not arrived yet... where is it??", "near duplicate"),
        ("the exchange rate you applied to my payment is wrong!", "close to a gate text"),
        ("The exchange rate you applied to my payment was wrong", "close to a gate text"),
    ],
)
def test_reasons(curator, text, reason):
    [judged] = judge(curator, text)
    assert judged.reason == reason
    assert judged.verdict == ("rejected" if reason else "accepted")


def test_unknown_label(curator):
    [judged] = judge(curator, "Some quite new text", label="z")
    assert judged.reason == "unknown label"


def test_within_and_across_batches(curator):
    first = judge(curator, "I lost my phone abroad", "i lost my phone abroad.")
    second = judge(curator, "I lost my phone abroad!", "Is there a fee for cash?")
    assert [t.reason for t in first + second] == [None, "duplicate", "duplicate", None]
    assert count_reasons(first + second) == {"duplicate": 2}


def test_contrasts_are_no_duplicates(curator):
    judged = judge(curator, "How do I change my name?", "How do I activate my card?")
    assert [t.verdict for t in judged] == ["accepted", "accepted"]


def test_other_scripts():
    curator = Curator([0], ["今日の為替レートはいくらですか"], ["забыл пин-код от карты"])
    judged = judge(
        curator,
        "今日の為替レートはいくらですか？",
        "забыл ПИН-код от карты",
        "カードが届きません",
        label=0,
    )
    assert [t.reason for t in judged] == ["duplicate", "close to a gate text", None]


def test_no_gate_text():
    assert judge(Curator(["a"], KNOWN, []), "Something new")[0].verdict == "accepted"
