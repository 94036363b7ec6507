import pytest

from pgkd.curation.curator import Curator, count_reasons
from pgkd.records import Example, Generation, GenerationRequest, Refusal

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


@pytest.mark.parametrize("block", [500, 2, 1])
def test_blocks_change_no_verdict(curator, monkeypatch, block):
    monkeypatch.setattr("pgkd.curation.curator.BLOCK", block)
    request = GenerationRequest("1-1", {"a": 9})
    texts = [
        ["Is there a fee for cash abroad?", "half an emoji \ud83d"],
        ["Is there a fee for cash abroad", GATE[0], "How do I change my PIN??"],
        [],
        ["Is there a fee for cash, abroad?", "I lost my phone"],
    ]
    generations = [
        Generation(
            request,
            tuple(Example(text, "a") for text in own),
            refused=(Refusal("unknown label", "some text", "z"),),
        )
        for own in texts
    ]
    reasons = [t.reason for t in curator.judge(generations, cycle=1)]
    refused = "unknown label"
    assert reasons == [
        *(None, "malformed", refused),
        *("duplicate", "close to a gate text", "duplicate", refused),
        refused,
        *("near duplicate", None, refused),
    ]


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
