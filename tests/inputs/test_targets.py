"""What y may be, and how labels with several classes are written inside."""

from enum import Enum

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.labels import agree, indicate, tidy, to_array, to_sets
from pgkd.inputs.targets import Target, check_target, check_validation, find_kind

Y = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
SETS = [("z", "c"), (), ("a",)]
NAMES = ["z", "a", "c"]


@pytest.mark.parametrize(
    "y",
    [
        pd.DataFrame(Y, columns=NAMES),
        pd.DataFrame(Y.astype(bool), columns=NAMES),
        pd.DataFrame(Y.astype(float), columns=NAMES),
    ],
)
def test_a_data_frame_names_its_columns(y):
    target = check_target(y, 3)
    assert target.kind == "indicator"
    assert target.classes.tolist() == NAMES  # in their order
    assert target.y.tolist() == SETS
    np.testing.assert_array_equal(target.for_fit, Y)


@pytest.mark.parametrize("y", [Y, Y.astype(bool), Y.tolist(), csr_matrix(Y), pd.DataFrame(Y)])
def test_a_bare_matrix_has_numbers_or_names(y):
    target = check_target(y, 3)
    assert (target.kind, target.is_named) == ("indicator", False)
    assert target.classes.tolist() == [0, 1, 2]
    named = check_target(y, 3, class_names=NAMES)
    assert named.is_named
    assert named.y.tolist() == SETS


@pytest.mark.parametrize(
    "y",
    [
        [["c", "z"], [], ["a"]],
        [{"c", "z"}, set(), {"a"}],
        [("z", "c", "z"), (), ("a",)],
        pd.Series([["c", "z"], [], ["a"]]),
        np.array([["c", "z"], [], ["a"]], dtype=object),
        [np.array(["z", "c"]), np.array([], dtype=str), np.array(["a"])],
    ],
)
def test_lists_of_labels(y):
    target = check_target(y, 3)
    assert target.kind == find_kind(y) == "sets"
    assert target.classes.tolist() == ["a", "c", "z"]
    assert target.y.tolist() == [("c", "z"), (), ("a",)]


def test_lists_of_one_length_are_no_matrix():
    assert check_target([["a"], ["b"]], 2).y.tolist() == [("a",), ("b",)]
    assert check_target([["a", "b"], ["b", "c"]], 2).y.tolist() == [("a", "b"), ("b", "c")]
    target = check_target([[3, 5], [5, 7]], 2)
    assert target.y.tolist() == [(3, 5), (5, 7)]
    assert target.for_fit.tolist() == [[1, 1, 0], [0, 1, 1]]
    assert check_target([[0], [1]], 2).kind == "sets"


@pytest.mark.parametrize("y", [["a", "b"], [0, 1], [True, False], pd.Series(["a", "b"])])
def test_one_label_a_text(y):
    target = check_target(y, 2)
    assert (target.kind, target.multilabel, len(target.classes)) == ("labels", False, 2)
    assert find_kind(y) == "labels"


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y[:2], "3 texts and 2 rows of labels"),
        ([["a"], ["b"]], "3 texts and 2 rows of labels"),
        ([["a"], "b", ["c"]], r"list, tuple or set of labels.*'b' at position 1: pass \['b'\]"),
        ([["a"], None, ["c"]], r"Got None at position 1: pass \[\] for a text without a label"),
        ([["a"], [b"b"], ["c"]], r"Got b'b' among the labels at position 1: pass label\.decode"),
        ([["a"], [None], ["c"]], "None among the labels at position 1"),
        ([["a"], [["b"]], ["c"]], r"\['b'\] among the labels at position 1"),
        ([["a"], [float("nan")], ["c"]], "nan among the labels at position 1"),
        ([["a"], [3], ["c"]], "labels of one type"),
        ([["a"], ["a"], ["a"]], "at least two classes"),
        ([[], [], []], "a label for some text"),
        (np.zeros((3, 2)), "a label for some text.*all are 0"),
        (np.array([[0, 1], [2, 0], [0, 0]]), "indicator matrix of 0 and 1.*Got 2"),
        (np.array([[0, np.nan], [1, 0], [0, 0]]), "Got nan"),
        (np.array([["a", "b"]] * 3), "indicator matrix of 0 and 1.*Got 'a'"),
    ],
)
def test_what_y_cannot_be(y, message):
    with pytest.raises(InvalidInputError, match=message):
        check_target(y, 3)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "3 columns of y must have as many different names"),
        (["a", "b", "b"], "as many different names"),
        (["a", "b", 3], "labels of one type"),
    ],
)
def test_class_names_are_checked(names, message):
    with pytest.raises(InvalidInputError, match=message):
        check_target(Y, 3, class_names=names)


def test_columns_with_two_rows_of_names():
    columns = pd.MultiIndex.from_tuples([("topic", "a"), ("topic", "b"), ("topic", "c")])
    y = pd.DataFrame(Y, columns=columns)
    with pytest.raises(InvalidInputError, match=r"one row of column names. Got 2 rows.*droplevel"):
        check_target(y, 3)
    assert check_target(y.droplevel(0, axis=1), 3).classes.tolist() == ["a", "b", "c"]
    assert check_target(y, 3, class_names=NAMES).classes.tolist() == NAMES


def test_of_an_enum_the_values_are_taken():
    intent = Enum("Intent", {"CARD_LATE": "card late", "PIN": "pin"}, type=str)
    sets = check_target([list(intent), [intent.PIN], []], 3)
    matrix = check_target(pd.DataFrame([[1, 1], [0, 1], [0, 0]], columns=list(intent)), 3)
    for target in (sets, matrix):
        assert target.classes.tolist() == ["card late", "pin"]
        assert target.y.tolist() == [("card late", "pin"), ("pin",), ()]
        assert target.check_more([[intent.PIN]], 1, "y_val").tolist() == [("pin",)]
    more = pd.DataFrame([[1, 0]], columns=list(intent)[::-1])
    assert matrix.check_more(more, 1, "y_val").tolist() == [("pin",)]


@pytest.mark.parametrize("y", [["b", "a", "b"], [["b"], ["a"], ["b", "a"]]])
def test_class_names_may_have_no_text(y):
    target = check_target(y, 3, class_names=["c", "long name", "b", "a"])
    assert target.classes.tolist() == ["a", "b", "c", "long name"]
    assert target.y.tolist() == check_target(y, 3).y.tolist()
    with pytest.raises(InvalidInputError, match="name every class of y, which has the label 'b'"):
        check_target(y, 3, class_names=["a", "c"])


def test_validation_labels_are_of_the_same_classes():
    target = check_target(pd.DataFrame(Y, columns=NAMES), 3)
    for y in (
        [["c", "z"]],
        np.array([[1, 0, 1]]),
        pd.DataFrame([[1, 1, 0]], columns=["c", "z", "a"]),  # in another order
    ):
        assert check_validation(["t"], y, target)[1].tolist() == [("z", "c")]
    for y, message in (
        ([["b"]], r"y_val has 1 label.*'b'"),
        (["c"], "as y is. Got one label a text"),
        (np.array([[1, 0]]), r"for each of the 3 classes.*\(1, 2\)"),
        (pd.DataFrame([[1, 0]], columns=["c", "b"]), r"must have the columns of y"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            check_validation(["t"], y, target)


def test_indicator_and_sets_are_one():
    classes = np.array(NAMES)
    assert to_sets(indicate(SETS, classes), classes) == SETS
    array = to_array([("a",), ("c",)], classes)
    assert array.shape == (2,)
    assert array.tolist() == [("a",), ("c",)]


P = np.array([[0.6, 0.1, 0.7], [0.4, 0.3, 0.2], [0.1, 0.6, 0.5]])


@pytest.mark.parametrize(
    ("y", "given", "is_right", "n_decisions"),
    [
        (["z", "a", "a"], ["z", "a", "c"], [True, True, False], 1),
        ([("a", "z"), (), ("a",)], [("a", "z"), (), ("c",)], [True, True, False], 3),
    ],
)
def test_one_and_several_labels_a_text_do_the_same(y, given, is_right, n_decisions):
    target = check_target(y, 3, class_names=["a", "c", "z"])
    assert Target.of(target.y, target.classes).multilabel == target.multilabel
    assert target.decode(target.for_fit) == target.y.tolist() == y
    assert target.decode(target.predict(P)) == given
    assert target.is_right(P).tolist() == is_right
    codes, choices = target.list_decisions(P)
    assert codes.shape == choices.shape[:2] == (3, n_decisions)
    np.testing.assert_array_equal(
        target.indicator, [[own in np.atleast_1d(label) for own in "acz"] for label in y]
    )


def test_a_teacher_s_label_is_tidied_and_never_guessed():
    order = {"a": 0, "b": 1}
    assert tidy(("b", "a", "b"), order, True) == ("a", "b")
    assert tidy(frozenset("b"), order, True) == ("b",)
    assert tidy("b", order, True) == ("b",)
    assert tidy((), order, True) == ()
    assert tidy(("a", "x"), order, True) is None
    assert tidy("b", order, False) == "b"
    assert tidy(("b",), order, False) is None


def test_sets_agree_by_jaccard():
    assert agree((), ())
    assert agree(("a", "b"), ("a",))
    assert not agree(("a", "b", "c"), ("a",))
    assert not agree("a", "b")
