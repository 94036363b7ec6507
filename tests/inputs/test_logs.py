"""Logs from tables and files, whole and broken."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import WORDS, WordTeacher, write_hard
from hypothesis import given
from hypothesis import strategies as st
from label_set_data import STUDENT, write_texts
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.validation import _check_method_params

import pgkd
from pgkd import Evidence, Logs, PGKDClassifier, read_logs
from pgkd.exceptions import InvalidInputError
from pgkd.records import Usage

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
    long = "x" * 200_000
    path.write_text(f"text,label\nhi,other\n{long},card\nN\0L,card\nyo,other\nonly a text\n")
    logs = read_logs(path)
    if sys.version_info < (3, 11):  # whose csv refuses a NUL
        assert logs.texts == ("hi", long, "yo")
        assert logs.skipped == {"broken line": 1, "no label": 1}
    else:
        assert logs.texts == ("hi", long, "N\0L", "yo")
        assert logs.skipped == {"no label": 1}
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


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ([7, "hi"], ["a", "b"], "texts of logs must be str. Got 7 at position 0"),
        (["hi", None], ["a", "b"], "texts of logs must be str. Got None at position 1"),
        (["half \ud83d"], ["a"], "texts of logs must be str"),
        (["hi", "yo"], ["a", None], "labels of logs must be.*Got None at position 1"),
        (["hi"], [float("nan")], "labels of logs must be.*Got nan"),
        (["hi"], [{"a": 1}], r"labels of logs must be.*Got \{'a': 1\}"),
        (["hi"], [["a", {}]], r"labels of logs must be.*Got \('a', \{\}\)"),
    ],
)
def test_logs_made_by_hand_are_checked(texts, labels, message):
    with pytest.raises(InvalidInputError, match=message):
        Logs(texts, labels)


def test_they_are_part_of_the_package():
    assert {"Logs", "read_logs"} <= set(pgkd.__all__)


# From the logs to the student

ROWS = [(write_hard(label, i), label) for i in range(300, 330) for label in WORDS]


@pytest.fixture
def logged(tmp_path):
    """What a classifier by LLM has logged, a line of it broken."""
    chats = [
        {"request": {"messages": chat(text)}, "response": reply(json.dumps({"label": label}))}
        for text, label in ROWS
    ]
    return write_lines(tmp_path / "logs.jsonl", [*chats, '{"request": {"mess'])


def test_logged_chats_teach(student, hard, hard_test, logged):
    X, y = hard[0][:12], hard[1][:12]
    clf = PGKDClassifier(student=student, routes=(), random_state=0)
    clf.fit(X, y, logs=read_logs(logged))
    assert [(step.route, step.taken) for step in clf.history_] == [
        ("labelled", True),
        ("logs", True),
    ]
    assert clf.score(*hard_test) > clone(student).fit(X, y).score(*hard_test) + 0.1
    assert [(row.text, row.label) for row in clf.synthetic_] == ROWS
    assert {(row.source, row.request_id, row.cost, row.cycle) for row in clf.synthetic_} == {
        ("log", "", 0.0, 1)
    }
    assert clf.usage_ == Usage()
    assert f"| logs | {len(ROWS)} | +" in str(clf.report())


def test_logged_chats_alone_teach(student, hard_test, logged):
    clf = PGKDClassifier(student=student, random_state=0).fit(logs=read_logs(logged))
    assert clf.classes_.tolist() == sorted(WORDS)
    assert clf.score(*hard_test) > 0.7
    assert clf.comparison_ is None
    assert "Nothing vouches for this student" in str(clf.report())
    assert "| logs | 90 | not judged |" in str(clf.report())


def test_copies_of_labelled_texts_are_no_new_ones(student, hard):
    copies = Logs((hard[0][0].upper() + "!", *(text for text, _ in ROWS)), ("pin", *LABELS * 30))
    clf = PGKDClassifier(student=student, routes=(), random_state=0).fit(*hard, logs=copies)
    assert clf.synthetic_[0].reason == "duplicate"
    step = clf.history_[1]
    assert step.rejected["duplicate"] == 1
    assert step.n_generated == len(clf.synthetic_) == 91
    assert step.n_accepted == 91 - sum(step.rejected.values())
    assert "**rejected: duplicate** (1 in step 1)" in str(clf.report())


def test_they_come_before_the_teacher_and_cost_nothing(student, hard):
    logs = Logs(*zip(*ROWS))
    clf = PGKDClassifier(
        WordTeacher(write=write_hard),
        student,
        routes=("names", "write"),
        max_cycles=1,
        samples_per_cycle=6,
        evidence=Evidence(keep_all=True, probe_size=0),
        random_state=0,
    )
    plans = [clf.plan(*hard, logs=own) for own in (None, logs)]
    assert plans[0] == plans[1]
    clf.fit(*hard, logs=logs)
    assert [step.route for step in clf.history_] == ["labelled", "names", "logs", "write"]
    assert clf.history_[2].usage == Usage()
    assert clf.history_[3].usage == clf.usage_


def test_logs_of_several_labels():
    texts, sets = write_texts(60, 0)
    more = write_texts(200, 2)
    test = write_texts(200, 1)
    clf = PGKDClassifier(student=STUDENT, routes=(), scoring="f1_macro", random_state=0)
    clf.fit(texts, sets, logs=Logs(*more))
    assert clf.history_[1].taken
    assert clf.score(*test) > clf.refit(lambda row: False).score(*test) + 0.05
    with pytest.warns(UserWarning, match="1 of 2 texts of the logs have labels that are no class"):
        clf.fit(texts, sets, logs=Logs(("a dear refund", "a bird"), ("fee", "bird")))
    assert [(row.label, row.reason) for row in clf.synthetic_ if row.verdict == "rejected"] == [
        ("bird", "unknown label")
    ]
    assert clf.synthetic_[0].label == ("fee",)


def test_a_file_has_labels_as_str(student):
    X = ["my card", "a card", "my pin", "a pin"]
    logs = Logs(["the card is late", "pin code"], ["7", "8"])
    clf = PGKDClassifier(student=student, evidence=Evidence(keep_all=True), random_state=0)
    clf.fit(X, [7, 7, 8, 8], logs=logs)
    assert {(t.text, t.label) for t in clf.synthetic_} == set(zip(logs.texts, [7, 8]))


def test_logs_in_cross_validation(student, hard):
    clf = PGKDClassifier(student=student, routes=(), random_state=0)
    alone, taught = (
        cross_val_score(clf, *hard, cv=3, params={"logs": logs}).mean()
        for logs in (None, Logs(*zip(*ROWS)))
    )
    assert taught > alone + 0.05


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a", 1, "b"), "The labels of the logs must be labels of one type"),
        ((1.5, 2.5, 3.5), "The labels of the logs must be class labels"),
        ((("a",), ("a", "b"), ("b",)), r"must have one label. Got \('a',\)"),
        (("a", "a", "a"), r"must be told the classes. Got \['a'\]"),
        ((), "must be told the classes"),
    ],
)
def test_logs_that_do_not_tell_the_classes(student, labels, message):
    with pytest.raises(InvalidInputError, match=message):
        PGKDClassifier(student=student).fit(logs=Logs(TEXTS[: len(labels)], labels))


def test_lines_that_are_nested_deeply_are_broken_and_no_more(tmp_path):
    label = "[" * 400 + "]" * 400  # which JSON reads, and nothing that goes into it
    lines = ["[" * 10**6, f'{{"text": "deep", "label": {label}}}', "1" * 10**6]
    lines += [f'{{"messages": {label}, "choices": {label}}}', '{"text": "hi", "label": "other"}']
    path = tmp_path / "logs.jsonl"
    path.write_text("\n".join(lines))
    logs = read_logs(path)
    assert logs.texts == ("hi",)
    assert sum(logs.skipped.values()) == 4
