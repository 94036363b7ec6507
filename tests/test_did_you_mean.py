"""Where a name is refused and a close one is known, the message ends with it."""

import pytest
from conftest import WordTeacher, make_classifier
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from students.tiny_static import write_tiny_static

import pgkd
from pgkd import CascadeClassifier, Evidence, PGKDClassifier
from pgkd.cli.components import make_student, make_teacher
from pgkd.cli.tables import check_columns, find_format
from pgkd.exceptions import InvalidInputError
from pgkd.samplers import UncertaintySampler
from pgkd.students import EmbeddingStudent, StaticStudent

X = ["good film", "great cast", "fine plot", "bad film", "poor cast", "dull plot"] * 2
Y = ["pos", "pos", "pos", "neg", "neg", "neg"] * 2


def tfidf():
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


def classifier(**params):
    return make_classifier(None, tfidf(), **params)


def fit(**params):
    return lambda: classifier(**params).fit(X, Y)


ASKED = {
    "parameter": (lambda: classifier().set_params(max_cycle=3), "max_cycles"),
    "of a part": (lambda: classifier().set_params(evidence__patince=3), "patience"),
    "of a pipeline": (
        lambda: classifier().set_params(student__logisticregression__CC=3),
        "student__logisticregression__C",
    ),
    "of a student": (lambda: EmbeddingStudent().set_params(max_lenght=9), "max_length"),
    "of a part that is set": (
        lambda: classifier().set_params(student=EmbeddingStudent(), student__max_lenght=9),
        "max_length",
    ),
    "route": (fit(routes=["names", "lable"]), "label"),
    "what was given": (fit(routes="names"), None),
    "scoring": (fit(scoring="acuracy"), "accuracy"),
    "scoring of a plan": (lambda: classifier(scoring="f1macro").plan(X, Y), "f1_macro"),
    "option": (fit(feedback="out_of_folds"), "out_of_fold"),
    "option of a sampler": (
        lambda: UncertaintySampler(strategy="divers").propose(None, 1, None),
        "diverse",
    ),
    "no description that is close": (fit(class_descriptions={"pos": "good", "xyz": "bad"}), None),
    "description": (fit(class_descriptions={"pos": "good", "negg": "bad"}), "neg"),
    "class name": (fit(class_names=["pos", "negs"]), "negs"),
    "validation label": (
        lambda: classifier().fit(X, Y, X_val=X, y_val=["Pos", *Y[1:]]),
        "pos",
    ),
    "label of a cascade": (
        lambda: CascadeClassifier(tfidf().fit(X, Y), WordAnnotator()).fit(X, ["poss", *Y[1:]]),
        "pos",
    ),
    "teacher": (lambda: make_teacher("opena:gpt-5-mini"), "openai"),
    "teacher without a model": (lambda: make_teacher("antropic"), "anthropic"),
    "student": (lambda: make_student("statik:wordllama"), "static"),
    "student without a model": (lambda: make_student("tf-idf"), "tfidf"),
    "format of a file": (lambda: find_format("-", "jsnol"), "jsonl"),
    "column": (
        lambda: check_columns({"text": "a", "labels": "b"}, "a.csv", label_column="label"),
        "labels",
    ),
    "column of logs": (
        lambda: pgkd.read_logs({"txt": ["a"], "label": ["b"]}),
        "txt",
    ),
}


class WordAnnotator(WordTeacher):
    def annotate(self, requests):
        yield from ()


@pytest.mark.parametrize(("ask", "name"), ASKED.values(), ids=ASKED)
def test_did_you_mean(ask, name):
    with pytest.raises(InvalidInputError) as caught:
        ask()
    hint = f" Did you mean {name!r}?"
    assert hint in str(caught.value) if name else "Did you mean" not in str(caught.value)


def test_names_of_an_export(tmp_path):
    clf = PGKDClassifier(student=StaticStudent(write_tiny_static(tmp_path / "static")))
    clf.set_params(routes=("names",), evidence=Evidence(n_folds=2), random_state=0).fit(X, Y)
    with pytest.raises(InvalidInputError, match=r"Got 'numpi'\. Did you mean 'numpy'\?"):
        clf.export(tmp_path / "model", format="numpi")
    clf.export(tmp_path / "model", format="numpy")
    for option, value, hint in (("engine", "nunpy", "numpy"), ("precision", "bf16", "bfloat16")):
        with pytest.raises(InvalidInputError, match=rf"`{option}` .* mean '{hint}'\?"):
            pgkd.load(tmp_path / "model", **{option: value})


def test_a_parameter_of_a_part_that_is_not_there():
    with pytest.raises(InvalidInputError, match="Its `teacher` is None.*set `teacher` first"):
        PGKDClassifier().set_params(teacher__temperature=1)


def test_a_grid_with_a_wrong_name_names_the_right_one():
    search = GridSearchCV(classifier(), {"max_cycle": [1]}, error_score="raise")
    with pytest.raises(ValueError, match="Did you mean 'max_cycles'"):
        search.fit(X, Y)


def test_what_is_right_is_set():
    student = EmbeddingStudent(max_length=7)
    clf = PGKDClassifier().set_params(student=student, student__max_length=9, max_cycles=3)
    assert (clf.student.max_length, clf.max_cycles) == (9, 3)
    assert clone(clf).max_cycles == 3
