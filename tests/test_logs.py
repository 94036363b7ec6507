"""Logs from tables and files, whole and broken."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.validation import _check_method_params

import pgkd
from pgkd import Logs, read_logs
from pgkd.exceptions import InvalidInputError

TEXTS = ["where is my card", "what is the rate", "forgot the pin"]
LABELS = ["card", "rate", "pin"]


def pairs(logs):
    return list(zip(logs.texts, logs.labels))


def write_lines(path, records):
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records))
    return path


def chat(text="where is my card", system="Classify the message."):
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def reply(content, **fields):
    return {"choices": [{"message": {"role": "assistant", "content": content, **fields}}]}


def test_tables(tmp_path):
    expected = list(zip(TEXTS, LABELS))
    table = pd.DataFrame({"message": TEXTS, "intent": LABELS, "at": range(3)})
    table.to_csv(tmp_path / "logs.CSV", index=False)
    records = table.to_dict("records")
    names = {"text": "message", "label": "intent"}
    lines = write_lines(tmp_path / "logs.jsonl", records)
    for source in (
        table,
        {"message": TEXTS, "intent": LABELS},
        records,
        iter(records),
        tmp_path / "logs.CSV",
        str(tmp_path / "logs.CSV"),
        lines,
        write_lines(tmp_path / "array.json", [json.dumps(records)]),
    ):
        logs = read_logs(source, **names)
        assert pairs(logs) == expected
        assert logs.skipped == {}


def test_labels_are_of_the_kinds_that_y_has():
    logs = read_logs({"text": list("abcd"), "label": np.array([3, 1, 2, 3])})
    assert [type(label) for label in logs.labels] == [int] * 4
    assert read_logs([{"text": "a", "label": ["x", " y "]}]).labels == (("x", "y"),)
    assert read_logs([{"text": "a", "label": False}]).labels == (False,)
    assert read_logs([{"text": " a ", "label": " card\n"}]) == Logs(("a",), ("card",))


@pytest.mark.parametrize(
    "record",
    [
        {"request": {"messages": chat()}, "response": reply("card")},
        {"request": {"body": {"messages": chat()}}, "response": {"body": reply(" card\n")}},
        {"messages": chat(), **reply('{"label": "card"}')},
        {"messages": chat(), "response": reply('```json\n{"1": "card"}\n```')},
        {"messages": chat(), "response": "card"},
        {"input": chat(), "output": {"role": "assistant", "content": "card"}},
        {"input": chat(), "output": [{"role": "assistant", "content": [{"text": "card"}]}]},
        {"messages": [*chat(), {"role": "assistant", "content": "card"}]},
        {"messages": [*chat("hi"), {"role": "assistant", "content": "other"}, *chat()[1:]]}
        | reply("card"),
        {"messages": chat(), **reply('{"label": "card", "why": "it says so"}')},
        {"request": json.dumps({"messages": chat()}), "response": json.dumps(reply("card"))},
        {"messages": chat()}
        | reply(None, tool_calls=[{"function": {"arguments": '{"intent": "card"}'}}]),
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "where is my card"}]},
                {"role": "assistant", "content": "card"},
            ]
        },
    ],
)
def test_chat_completions(record, tmp_path):
    assert pairs(read_logs([record])) == [("where is my card", "card")]
    assert pairs(read_logs(write_lines(tmp_path / "x.jsonl", [record]))) == [
        ("where is my card", "card")
    ]


@pytest.mark.parametrize(
    "record",
    [
        {"messages": chat()},
        {"messages": chat(), "choices": []},
        {"messages": chat(), **reply(None, refusal="I cannot.")},
        {"messages": chat()[:1], **reply("card")},
        {"messages": chat(), **reply('{"a": "card", "b": "rate"}')},
        {"messages": chat(), **reply('{"label": {"x": 1}}')},
        {"messages": "where is my card", **reply("card")},
        # The answer is to an earlier text.
        {"messages": [*chat("hi"), {"role": "assistant", "content": "other"}, *chat()[1:]]},
        {"text": "where is my card"},
        {"text": 7, "label": "card"},
        {"text": float("nan"), "label": "card"},
        {"text": "?!", "label": "card"},
        {"text": "half \ud83d", "label": "card"},
        {"text": "where is my card", "label": None},
        {"text": "where is my card", "label": float("nan")},
        {"text": "where is my card", "label": " "},
        {"text": "where is my card", "label": []},
        {"text": "where is my card", "label": [{"a": 1}]},
        ["where is my card", "card"],
        "where is my card",
        None,
    ],
)
def test_records_that_say_nothing_are_counted(record):
    logs = read_logs([record, {"text": "hi", "label": "other"}])
    assert pairs(logs) == [("hi", "other")]
    assert sum(logs.skipped.values()) == 1


def test_an_answer_that_is_a_number_is_a_name():
    assert read_logs([{"messages": chat(), **reply("7")}]).labels == ("7",)
    assert read_logs([{"messages": chat(), **reply('{"label": 7}')}]).labels == (7,)


def test_broken_lines(tmp_path):
    good = {"text": "hi", "label": "other"}
    path = write_lines(
        tmp_path / "x.jsonl", ['{"text": "cut o', good, "", "[" * 100_000, "\ufeff", "7"]
    )
    logs = read_logs(path)
    assert pairs(logs) == [("hi", "other")]
    assert logs.skipped == {"broken line": 3, "no text and label": 1}
    path = tmp_path / "x.csv"
    path.write_text(f"text,label\nhi,other\n{'x' * 200_000},card\nyo,other\nonly a text\n")
    logs = read_logs(path)
    assert logs.texts == ("hi", "yo")
    assert logs.skipped == {"broken line": 1, "no label": 1}
    path.write_bytes("\ufefftext,label\r\ncaf\xe9,other\r\n".encode("latin-1", "ignore"))
    assert read_logs(path).texts == ("caf\ufffd",)


def test_copies_and_contradictions():
    logs = read_logs(
        {
            "text": ["Hi!", "hi", "my card", "my card", "My card.", "pin"],
            "label": ["other", "other", "card", "pin", "card", "pin"],
        }
    )
    assert pairs(logs) == [("Hi!", "other"), ("pin", "pin")]
    assert logs.skipped == {"copy": 2, "two labels": 2}
    assert repr(logs) == "Logs(2 texts, 4 records skipped)"


def test_records_of_any_other_kind():
    records = [{"q": "hi", "a": {"l": "other"}}, {"q": "no answer"}, {"q": "none"}, {"q": "one"}]

    def read(record):
        if record["q"] == "none":
            return None
        if record["q"] == "one":
            return ("one",)
        return record["q"], record["a"]["l"]

    logs = read_logs(records, read=read)
    assert pairs(logs) == [("hi", "other")]
    assert logs.skipped == {
        "`read` raised KeyError": 1,
        "no text and label": 1,
        "`read` raised ValueError": 1,
    }
    table = pd.DataFrame({"q": ["hi"], "a": ["other"]})
    assert pairs(read_logs(table, read=lambda row: (row["q"], row["a"]))) == [("hi", "other")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "they are empty"),
        ([{"text": "hi"}, {"messages": []}], "'no text and label': 2.*pass `read=`"),
        ({"message": TEXTS, "label": LABELS}, r"no column 'text', but \['message', 'label'\]"),
        ({"text": TEXTS, "label": LABELS[:1]}, "equally long.*'text': 3, 'label': 1"),
        (7, "Got int instead"),
        (b"hi", "Got bytes instead"),
        ("no/such/file.jsonl", r"'no/such/file.jsonl' cannot be read \(No such file"),
    ],
)
def test_nothing_usable(source, message):
    with pytest.raises(InvalidInputError, match=message):
        read_logs(source)


def test_the_error_names_the_file_and_what_was_wrong_with_it(tmp_path):
    path = write_lines(tmp_path / "odd.jsonl", ["{", {"a": 1}])
    with pytest.raises(InvalidInputError, match=r"odd\.jsonl.*'broken line': 1.*`messages`"):
        read_logs(path)
    path = tmp_path / "odd.csv"
    path.write_text("message,label\nhi,other\n")
    with pytest.raises(InvalidInputError, match="no column 'text'.*text='message'"):
        read_logs(path)


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["text", "label", "messages", "role", "content", "choices", "message"]
                    ),
                    inner | st.just("user"),
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
        max_size=9,
    )
)
def test_no_record_is_fatal_and_each_is_counted(records):
    logs = read_logs([*records, {"text": "a good one of the logs", "label": "other"}])
    assert len(logs.texts) + sum(logs.skipped.values()) == len(records) + 1
    assert all(isinstance(text, str) and text.strip() for text in logs.texts)


def test_cross_validation_leaves_them_whole():
    logs = Logs(TEXTS, LABELS)
    assert logs.texts == tuple(TEXTS)
    passed = _check_method_params(TEXTS, {"logs": logs}, indices=[0])
    assert passed["logs"] is logs
    with pytest.raises(InvalidInputError, match="Got 3 texts and 1 labels"):
        Logs(TEXTS, LABELS[:1])
    with pytest.raises(InvalidInputError, match="a sequence of texts"):
        Logs("hi", "a")


def test_they_are_part_of_the_package():
    assert {"Logs", "read_logs"} <= set(pgkd.__all__)
