"""Bad input gets a clear error before the teacher is asked."""

from enum import Enum, IntEnum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_classifier
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from pgkd.exceptions import InvalidInputError, TeacherAuthenticationError
from pgkd.samplers import UnguidedSampler
from pgkd.teachers import FunctionTeacher, OpenAITeacher

X = ["aa bb", "aa cc", "dd ee", "dd ff"] * 3
Y = ["x", "x", "y", "y"] * 3


class Intent(str, Enum):
    CARD_LATE = "card late"
    PIN = "pin"


class Number(IntEnum):
    THREE = 3
    SEVEN = 7


class Plain(Enum):
    A = "a b"
    B = "b"


class Untouchable(BaseEstimator):
    def generate(self, requests):
        raise AssertionError("the teacher was asked")


def classifier(**params):
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    return make_classifier(**{"teacher": Untouchable(), "student": student, **params})


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("aa bb", r"Got a single str instead: pass \[text\]"),
        ("tickets.csv", "Got the file 'tickets.csv' instead: read it, and pass its texts"),
        (Path("data") / "a.b", "Got the file 'data.a.b' instead: read it"),
        (pd.DataFrame({"text": X}), r"Got a DataFrame instead: pass its text column"),
        ({"text": X}, "Got a dict instead"),
        (np.array([X, X]), r"array of shape \(2, 12\)"),
        ([*X[:-1], 3], "Got 3 at position 11 instead: convert X with str"),
        ([*X[:-1], None], "Got None at position 11 instead: drop the missing texts"),
        ([*X[:-1], pd.NA], "Got <NA> at position 11 instead: drop the missing texts"),
        ([*X[:-1], float("nan")], "Got nan at position 11 instead: drop the missing texts"),
        ([text.encode() for text in X], r"Got b'aa bb' at position 0 instead: decode.*\.decode"),
        (np.array([text.encode() for text in X]), r"decode the texts"),
        ([X], r"Got \['aa bb'.*at position 0"),
        ([], "Got no text"),
        (iter(X), "pass list"),
        (7, "pass list"),
        (np.array("aa bb"), r"Got ndarray instead: pass list"),
        ([bytearray(b"aa"), *X[1:]], r"Got bytearray\(b'aa'\) at position 0 instead"),
    ],
)
def test_texts(X, message):
    with pytest.raises(InvalidInputError, match=message):
        classifier().fit(X, Y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y is None"),
        (Y[:-1], "Got 12 texts and 11 labels"),
        (["x"] * 12, "Got one class, 'x'"),
        ([*Y[:-1], None], "1 missing label.*position 11"),
        ([*Y[:-1], float("nan")], "1 missing label.*position 11"),
        (pd.Series([*Y[:-1], pd.NA]), "1 missing label.*position 11"),
        (pd.Series([*Y[:-1], None], dtype="string"), "1 missing label"),
        (np.linspace(0, 1, 12), "Unknown label type"),
        (np.eye(12), "12 columns have no names.*class_names"),
        (2 * np.eye(12), "12 columns, so it must be an indicator matrix.*Got 2.0"),
        ([*Y[:-1], 3], "labels of one type"),
        ([True] * 6 + [2] * 6, "labels of one type. Got bool and number"),
        ([b"x", b"y"] * 6, r"Got b'x' at position 0 instead: pass label\.decode\(\)"),
        (np.array([b"x", b"y"] * 6), r"pass label\.decode\(\)"),
        ([Plain.A, Plain.B] * 6, r"Got <Plain.A: 'a b'> at position 0 instead: pass label\.value"),
        (["a\0", "a"] * 6, r"Got 'a\\x00': strip the NUL"),
        (["a\0", "b"] * 6, r"Got 'a\\x00': strip the NUL"),
        ([2**70, 1] * 6, "Got 1180591620717411303424: pass such numbers as str"),
        (["a\ud83d", "b"] * 6, r"Got 'a\\ud83d' instead: drop its surrogates"),
        ([["a\ud83d"], ["b"]] * 6, r"Got 'a\\ud83d' instead: drop its surrogates"),
        (["card", "card "] * 6, r"more than white space.* Got 'card' and 'card '.*strip"),
        (["card", "card\u200b"] * 6, r"can be seen. Got 'card' and 'card\\u200b'"),
        (["caf\u00e9", "cafe\u0301"] * 6, r"can be seen. Got 'cafe\\u0301' and 'caf\\xe9'"),
        (["a b", "a\n b"] * 6, "more than white space"),
        ([["card"], ["card "]] * 6, "more than white space"),
        ("xy" * 6, "Got str instead: pass a list"),
        ({"x": 1}, "Got dict instead: pass a list"),
        (iter(Y), "Got list_iterator instead: pass a list"),
        (np.repeat(["2026-01-01", "2026-01-02"], 6).astype("M8[D]"), "pass str"),
    ],
)
def test_labels(y, message):
    with pytest.raises(InvalidInputError, match=message):
        classifier().fit(X, y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"patience": 0}, r"The 'patience' parameter of Evidence must be an int"),
        ({"max_cycles": -1}, "'max_cycles'"),
        ({"samples_per_cycle": 1.5}, "'samples_per_cycle'"),
        ({"validation_fraction": 1.0}, "'validation_fraction'"),
        ({"feedback": "oof"}, "'feedback'"),
        ({"scoring": 3}, "'scoring'"),
        ({"scoring": "acuracy"}, "acuracy"),
        ({"synthetic_weight": 0}, "'synthetic_weight'"),
        ({"max_cost": -1}, "'max_cost'"),
        ({"random_state": "zero"}, "'random_state'"),
        ({"class_descriptions": {"x": "about x"}}, "no description of 'y'"),
        ({"class_descriptions": {"x": "a", "z": "c"}}, "description of 'y' .*, but one of 'z'"),
        (
            {"class_descriptions": {"x": "a", "y": "b", 1: "c"}},
            "keys of the type of the labels, str",
        ),
        ({"class_descriptions": ["a", "b"]}, "'class_descriptions'"),
        ({"class_descriptions": {"x": "a", "y": "\ud83d"}}, "description of 'y'.*surrogates"),
        ({"class_descriptions": {"x": "a", "y": "b", "y ": "c"}}, "more than white space"),
        ({"class_names": ["x", "y", "z\0"]}, "class_names.*strip the NUL"),
        ({"task_description": "to sort \ud83d"}, "`task_description` parameter.*surrogates"),
        ({"routes": "write"}, r"Got 'write': pass routes=\('write',\)\."),
        ({"routes": ["writing"]}, "`routes` parameter of PGKDClassifier must be a sequence"),
        ({"evidence": "oof"}, "`evidence` parameter of PGKDClassifier must be an Evidence"),
        ({"probe_size": -1}, "'probe_size' parameter of Evidence"),
        ({"teacher": FunctionTeacher}, "Got the class FunctionTeacher instead"),
        ({"teacher": "gpt-5"}, "must be an object with a method `generate`"),
        ({"student": LogisticRegression}, r"pass `LogisticRegression\(...\)`"),
        ({"student": LinearSVC()}, "must be an object with a method `predict_proba`"),
        ({"sampler": UnguidedSampler}, "Got the class UnguidedSampler"),
        ({"sampler": object()}, "must be an object with a method `propose`"),
        ({"callbacks": [print]}, "must be an object with a method `on_event`"),
    ],
)
def test_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        classifier(**params).fit(X, Y)


def test_unknown_parameter():
    with pytest.raises(TypeError, match="max_cycle"):
        make_classifier(max_cycle=3)
    with pytest.raises(ValueError, match="Invalid parameter 'max_cycle'"):
        classifier().set_params(max_cycle=3)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"X_val": ["a"]}, "`X_val` was given without `y_val`"),
        ({"y_val": ["x"]}, "`y_val` was given without `X_val`"),
        ({"X_val": ["a", "b"], "y_val": ["x"]}, "Got 2 texts and 1 labels"),
        ({"X_val": ["a", "b"], "y_val": ["x", "z"]}, r"y_val has 1 label.*'z'"),
        ({"X_val": "a", "y_val": ["x"]}, "X_val must be a list"),
    ],
)
def test_validation_data(validation, message):
    with pytest.raises(InvalidInputError, match=message):
        classifier().fit(X, Y, **validation)


def test_weights_that_the_student_does_not_take():
    class Plain(LogisticRegression):
        def fit(self, X, y):
            raise AssertionError("trained")

    student = make_pipeline(TfidfVectorizer(), Plain())
    with pytest.raises(InvalidInputError, match="takes no `sample_weight`"):
        classifier(student=student).fit(X, Y, sample_weight=[1] * 12)
    with pytest.raises(InvalidInputError, match="`synthetic_weight` is not 1"):
        classifier(student=student, synthetic_weight=0.5).fit(X, Y)


def test_missing_key_and_price_are_said_at_once(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(TeacherAuthenticationError, match="set OPENAI_API_KEY"):
        classifier(teacher=OpenAITeacher("gpt-5-mini")).fit(X, Y)
    local = OpenAITeacher("qwen", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(InvalidInputError, match=r"max_cost=1.0 cannot be held.*Pass `price="):
        classifier(teacher=local, max_cost=1.0).fit(X, Y)
    with pytest.raises(InvalidInputError, match=r"max_cost=1.0 cannot be held.*Pass `price="):
        classifier(teacher=local, max_cost=1.0).plan(X, Y)


@pytest.mark.parametrize(
    "texts",
    [tuple(X), np.array(X), np.array(X, dtype=object), pd.Series(X, index=range(50, 62))],
)
@pytest.mark.parametrize(
    "labels",
    [Y, np.array(Y, dtype=object), pd.Series(Y), [y == "x" for y in Y], [len(t) % 2 for t in Y]],
)
def test_what_is_accepted(texts, labels):
    if len(set(labels)) < 2:
        labels = [3, 3, 10, 10] * 3
    clf = classifier(max_cycles=0).fit(texts, labels)
    assert clf.score(X, labels) == 1
    assert clf.predict(X).dtype == clf.classes_.dtype
    assert set(clf.predict(X).tolist()) == set(labels)


def test_predict_checks_its_texts_too():
    clf = classifier(max_cycles=0).fit(X, Y)
    with pytest.raises(InvalidInputError, match="single str"):
        clf.predict("a b")
    assert clf.predict([]).shape == (0,)
    assert clf.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize("members", [list(Intent), list(Number)])
@pytest.mark.parametrize("wrap", [list, lambda y: np.array(y, dtype=object), pd.Series])
def test_of_an_enum_the_values_are_taken(members, wrap):
    first, second = members
    y = wrap([first, first, second, second] * 3)
    descriptions = dict.fromkeys(members, "all about it")
    clf = classifier(max_cycles=0, class_descriptions=descriptions, class_names=members).fit(X, y)
    assert clf.classes_.tolist() == [member.value for member in members]
    assert list(map(type, clf.classes_.tolist())) == [type(first.value)] * 2
    assert clf.predict(X[:3]).tolist() == [first, first, second]
    assert clf.score(X, y) == 1
    clf = classifier(max_cycles=0).fit(X, y, X_val=["aa", "dd"], y_val=members)
    assert clf.classes_.tolist() == [member.value for member in members]


@pytest.mark.parametrize(
    "y",
    [
        np.array([1, 1, 2, 2] * 3, dtype=object),
        pd.Series([1, 1, 2, 2] * 3, dtype=object),
        [np.int8(1), np.int8(1), np.int8(2), np.int8(2)] * 3,
        np.array([True, True, False, False] * 3, dtype=object),
        np.array(Y, dtype=np.dtypes.StringDType()),
        pd.Series(Y, dtype="string"),
        pd.Series(Y, dtype="category"),
        pd.Series([1, 1, 0, 0] * 3, dtype="Int64"),
        pd.Series([True, True, False, False] * 3, dtype="boolean"),
    ],
)
def test_what_equals_a_list_is_taken_as_one(y):
    clf = classifier(max_cycles=0).fit(X, y)
    same = classifier(max_cycles=0).fit(X, y.tolist() if hasattr(y, "tolist") else list(y))
    assert list(map(type, clf.classes_.tolist())) == list(map(type, same.classes_.tolist()))
    assert clf.predict(X).tolist() == same.predict(X).tolist() == list(y)


def test_copies_of_one_text_leave_nothing_to_hold_out():
    with pytest.raises(InvalidInputError, match="60 training texts are copies.*'same'.*different"):
        classifier(validation_fraction=0.2).fit(["same"] * 60, ["x", "y"] * 30)
