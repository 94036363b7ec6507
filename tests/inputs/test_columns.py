"""Columns and tables of other libraries, in and out."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import make_classifier
from students.tiny_static import write_tiny_static

import pgkd
from pgkd.exceptions import InvalidInputError
from pgkd.inputs.targets import check_target
from pgkd.inputs.validation import check_texts
from pgkd.students import StaticStudent

pa = pytest.importorskip("pyarrow")


def _polars(values):
    return pytest.importorskip("polars").Series(values)


def _polars_categories(values):
    polars = pytest.importorskip("polars")
    return polars.Series(values, dtype=polars.Categorical)


def _datasets(values):
    return pytest.importorskip("datasets").Dataset.from_dict({"a": values})["a"]


COLUMNS = {
    "tuple": tuple,
    "numpy": np.array,
    "pandas": pd.Series,
    "pandas object": lambda values: pd.Series(values, dtype=object),
    "pandas pyarrow": lambda values: pd.Series(values, dtype="string[pyarrow]"),
    "pandas category": lambda values: pd.Series(values, dtype="category"),
    "pandas Categorical": pd.Categorical,
    "pandas Index": pd.Index,
    "pyarrow": pa.array,
    "pyarrow chunks": lambda values: pa.chunked_array([values[:1], values[1:]]),
    "pyarrow large": lambda values: pa.array(values, pa.large_string()),
    "pyarrow dictionary": lambda values: pa.array(values).dictionary_encode(),
    "polars": _polars,
    "polars categories": _polars_categories,
    "datasets": _datasets,
}
NUMBERS = {
    "pandas": pd.Series,
    "pandas Int64": lambda values: pd.Series(values, dtype="Int64"),
    "pandas pyarrow": lambda values: pd.Series(values, dtype="int64[pyarrow]"),
    "pyarrow": pa.array,
    "polars": _polars,
    "datasets": _datasets,
}


@pytest.mark.parametrize("make", COLUMNS.values(), ids=COLUMNS)
def test_a_classifier_takes_columns_of_any_library(make, data, student):
    texts, labels = data
    own = make_classifier(None, student, random_state=0).fit(texts, labels)
    clf = make_classifier(None, student, random_state=0)
    clf.fit(make(texts), make(labels), X_unlabeled=make(texts))
    assert clf.classes_.tolist() == own.classes_.tolist()
    assert isinstance(clf.predict(make(texts)), np.ndarray)
    assert [*clf.predict_iter(make(texts[:5]))] == clf.predict(texts[:5]).tolist()
    assert clf.score(make(texts), labels) > 0.9


@pytest.mark.parametrize("make", NUMBERS.values(), ids=NUMBERS)
def test_labels_may_be_numbers(make):
    target = check_target(make([3, 1, 3]), 3)
    assert (target.classes.tolist(), target.y.tolist()) == ([1, 3], [3, 1, 3])


@pytest.mark.parametrize("make", COLUMNS.values(), ids=COLUMNS)
def test_what_is_missing_is_named_by_its_position(make):
    if make is np.array:
        pytest.skip("an array of str has no missing one")
    with pytest.raises(InvalidInputError, match="at position 1 instead: drop the missing texts"):
        check_texts(make(["a", None, "b"]))
    with pytest.raises(InvalidInputError, match=r"y has 1 missing label.*at position 1"):
        check_target(make(["a", None, "b"]), 3)


@pytest.mark.parametrize("make", [_polars, _datasets, pa.array], ids=["polars", "datasets", "pa"])
def test_several_labels(make):
    target = check_target(make([["x"], ["y", "x"], []]), 3)
    assert (target.kind, target.y.tolist()) == ("sets", [("x",), ("x", "y"), ()])


def _tables():
    columns = {"y": [0, 1, 0], "x": [1, 1, 0]}
    yield pd.DataFrame(columns)
    yield pa.table(columns)
    for package, name in (("polars", "DataFrame"), ("datasets", "Dataset")):
        try:
            module = __import__(package)
        except ImportError:
            continue
        table = getattr(module, name)
        yield table(columns) if package == "polars" else table.from_dict(columns)


@pytest.mark.parametrize("table", [*_tables()], ids=lambda table: type(table).__module__)
def test_tables(table):
    target = check_target(table, 3)
    assert (target.kind, target.classes.tolist()) == ("indicator", ["y", "x"])
    assert target.y.tolist() == [("x",), ("y", "x"), ()]
    swapped = pd.DataFrame({"x": [1, 0, 0], "y": [0, 1, 0]})
    assert target.check_more(swapped, 3, "y_val").tolist() == [("x",), ("y",), ()]
    with pytest.raises(InvalidInputError, match="pass its text column"):
        check_texts(table)
    with pytest.raises(InvalidInputError, match=r"columns of y, \['y', 'x'\]. Got \['x', 'z'\]"):
        target.check_more(swapped.rename(columns={"y": "z"}), 3, "y_val")
    named = pgkd.read_logs(table, read=lambda row: (f"text {row['y']}", row["y"]))
    assert named.labels == (0, 1)


def test_a_table_of_one_column_is_that_column():
    with pytest.warns(UserWarning, match="column-vector"):
        assert check_target(pa.table({"label": ["a", "b"]}), 2).y.tolist() == ["a", "b"]


@pytest.mark.parametrize("make", [_polars, _datasets, pa.array], ids=["polars", "datasets", "pa"])
def test_weights_may_be_columns(make, data, student):
    weights = [1.0, 0.25] * (len(data[0]) // 2)
    found, expected = (
        make_classifier(None, student, random_state=0).fit(*data, sample_weight=own)
        for own in (make(weights), weights)
    )
    np.testing.assert_array_equal(found.predict_proba(data[0]), expected.predict_proba(data[0]))


def test_what_was_generated_is_a_table(data, student, teacher):
    clf = make_classifier(teacher, student, max_cycles=1, samples_per_cycle=6, random_state=0)
    clf.fit(*data)
    assert len(pd.DataFrame(clf.synthetic_)) == len(clf.synthetic_)
    assert pytest.importorskip("polars").DataFrame(clf.synthetic_).height == len(clf.synthetic_)
    rows = [dataclasses.asdict(text) for text in clf.synthetic_]
    assert pytest.importorskip("datasets").Dataset.from_list(rows)["text"][0] == rows[0]["text"]


def test_an_exported_classifier_takes_them_too(data, tmp_path):
    clf = make_classifier(
        None, StaticStudent(write_tiny_static(tmp_path / "static")), random_state=0
    )
    clf.fit(*data).export(tmp_path / "export", format="numpy")
    exported = pgkd.load(tmp_path / "export")
    column = pa.chunked_array([data[0]])
    assert exported.predict(column).tolist() == exported.predict(data[0]).tolist()
    with pytest.raises(InvalidInputError, match="pass its text column"):
        exported.predict(pa.table({"text": column}))
