"""Texts to a person and labels back, in the formats of the tools in which people label.

What Label Studio and Argilla export is written down here as label-studio-sdk 2.1.2 and argilla
2.8.0 write it.
"""

import csv
import json
import xml.etree.ElementTree as ET

import pytest
from label_set_data import STUDENT, write_texts
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import Evidence, PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.review import export_review, read_review

X = ["good film", "great cast", "fine plot", "bad film", "poor cast", "dull plot"] * 2
GOOD = 'good, "<é>"'
Y = [GOOD, GOOD, GOOD, "neg", "neg", "neg"] * 2
#: Two that nobody could tell, among many that are sure.
POOL = ["film and cast", '=plot of\na "film"', *[f"great fine good {i}" for i in range(20)], "  "]
POOL.append(" FILM and cast.")


@pytest.fixture(scope="module")
def clf():
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X, Y)


@pytest.fixture(scope="module")
def clf_of_sets():
    params = {"routes": (), "evidence": Evidence(n_folds=2), "random_state": 0}
    return PGKDClassifier(student=STUDENT, **params).fit(*write_texts(80, 0))


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def export_as_label_studio(tasks, answers):
    """Return the JSON export: for each task a list of its annotators' choices, None if skipped."""
    for number, (task, given) in enumerate(zip(tasks, answers)):
        task["id"] = number
        task["annotations"] = [
            {
                "id": 10 + number,
                "completed_by": {"id": 1, "email": "a@example.org"},
                "was_cancelled": choices is None,
                "result": [
                    {"from_name": "comment", "value": {"text": ["hm"]}, "type": "textarea"},
                    {"from_name": "label", "value": {"choices": choices}, "type": "choices"},
                ]
                if choices
                else [],
            }
            for choices in given
        ]
    return tasks


def flatten(tasks):
    """Return the same as JSON-MIN has it: a record an annotation, or one without any."""
    records = []
    for task in tasks:
        empty = [{"id": None, "was_cancelled": False, "result": []}]
        for annotation in task["annotations"] or empty:
            if annotation["was_cancelled"]:
                continue
            record = {"text": task["data"]["text"], "annotation_id": annotation["id"]}
            for result in annotation["result"]:
                if "choices" in (value := result["value"]):
                    record["label"] = value["choices"][0] if len(value["choices"]) == 1 else value
            records.append(record)
    return records


def test_what_is_chosen(clf, tmp_path):
    rows = export_review(clf, POOL, tmp_path / "review.json", n=6)
    assert len(set(rows.tolist())) == 6
    assert {0, 1} < set(rows.tolist())
    assert not {22, 23} & set(rows.tolist())  # blank, and a copy
    tasks = read_json(tmp_path / "review.json")
    assert [task["data"]["text"] for task in tasks] == [POOL[row] for row in rows]
    assert rows.tolist() == export_review(clf, POOL, tmp_path / "again.json", n=6).tolist()
    every = export_review(clf, POOL, tmp_path / "every.json", n=1000)
    assert sorted(every.tolist()) == [*range(22)]


def test_label_studio(clf, tmp_path):
    export_review(clf, POOL, tmp_path / "review.json", n=6)
    tasks = read_json(tmp_path / "review.json")
    for task in tasks:
        [prediction] = task["predictions"]
        [result] = prediction["result"]
        assert result["value"]["choices"] == clf.predict([task["data"]["text"]]).tolist()
        top = clf.predict_proba([task["data"]["text"]]).max()
        assert prediction["score"] == pytest.approx(top)
    interface = ET.parse(tmp_path / "review.xml").getroot()
    [choices] = interface.iter("Choices")
    assert choices.attrib == {"name": "label", "toName": "text", "choice": "single"}
    assert [choice.get("value") for choice in choices] == clf.classes_.tolist()
    for result in [task["predictions"][0]["result"][0] for task in tasks]:
        assert (result["from_name"], result["to_name"]) == ("label", "text")

    answers = [[["neg"]], [[GOOD]], [["neg"], [GOOD]], [None], [], [["neg"], ["neg"]]]
    tasks = export_as_label_studio(tasks, answers)
    expected = [tasks[i]["data"]["text"] for i in (0, 1, 5)], ["neg", GOOD, "neg"]
    (tmp_path / "full.json").write_text(json.dumps(tasks, indent=2), encoding="utf-8")
    (tmp_path / "min.json").write_text(json.dumps(flatten(tasks)), encoding="utf-8")
    with (tmp_path / "export.csv").open("w", encoding="utf-8", newline="") as file:
        names = ["annotation_id", "label", "text"]
        rows = csv.DictWriter(file, names, quoting=csv.QUOTE_NONNUMERIC)
        rows.writeheader()
        rows.writerows(flatten(tasks))
    for name in ("full.json", "min.json", "export.csv"):
        with pytest.warns(UserWarning, match="1 of 4 texts .* different labels"):
            assert read_review(tmp_path / name, clf) == expected, name


def test_argilla(clf, tmp_path):
    export_review(clf, POOL, tmp_path / "review.json", n=4, format="argilla")
    records = read_json(tmp_path / "review.json")
    for record in records:
        [answer] = clf.predict([record["fields"]["text"]]).tolist()
        assert record["suggestions"]["label"]["value"] == answer
    for record, value in zip(records, ["neg", GOOD, "neg", None]):
        record |= {"id": "1", "metadata": {}, "vectors": {}, "status": "completed"}
        record["responses"] = {"label": [{"value": value, "user_id": "1"}]} if value else {}
    records[2]["status"] = "pending"  # a draft
    (tmp_path / "export.json").write_text(json.dumps(records), encoding="utf-8")
    expected = [record["fields"]["text"] for record in records[:2]], ["neg", GOOD]
    assert read_review(tmp_path / "export.json", clf) == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table(clf, tmp_path, delimiter):
    texts = ["=1+1 film", "'quoted plot", "'=film", "-5 cast", "@cast\r\nand; film\t", "plot"]
    export_review(clf, texts, tmp_path / "review.csv", format="csv")
    with (tmp_path / "review.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert not row["text"].startswith(("=", "+", "-", "@", "\t"))
        assert row["label"] == ""
        assert row["suggestion"] in clf.classes_
    for row in rows[:-1]:
        row["label"] = GOOD
    with (tmp_path / "filled.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    found, labels = read_review(tmp_path / "filled.csv", clf)
    assert len(found) == 5
    assert set(found) < set(texts)
    assert labels == [GOOD] * 5


@pytest.mark.parametrize("format", ["label_studio", "argilla", "csv"])
def test_several_labels(clf_of_sets, tmp_path, format):
    texts, _ = write_texts(30, 1)
    path = tmp_path / "review"
    rows = export_review(clf_of_sets, texts, path, n=4, format=format)
    answers = list(clf_of_sets.predict_iter([texts[row] for row in rows]))
    given = [["fee", "card"], [], ["pin"]]
    if format == "csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            items = list(csv.DictReader(file))
        assert [tuple(json.loads(item["suggestion"])) for item in items] == answers
        for item, labels in zip(items, given):
            item["label"] = json.dumps(labels)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(items[0]))
            writer.writeheader()
            writer.writerows(items)
    elif format == "argilla":
        items = read_json(path)
        assert [tuple(i["suggestions"]["label"]["value"]) for i in items] == answers
        for item, labels in zip(items, given):
            item["responses"] = {"label": [{"value": labels, "user_id": "1"}]}
        path.write_text(json.dumps(items), encoding="utf-8")
    else:
        assert 'choice="multiple"' in path.with_suffix(".xml").read_text(encoding="utf-8")
        tasks = export_as_label_studio(read_json(path), [*([labels] for labels in given), []])
        path.write_text(json.dumps(flatten(tasks)), encoding="utf-8")
    expected = [texts[row] for row in rows[:3]], [("card", "fee"), (), ("pin",)]
    assert read_review(path, clf_of_sets) == expected


def test_labels_are_those_of_the_classes_and_teach_the_next_fit(tmp_path):
    clf = make_pipeline(TfidfVectorizer(), LogisticRegression())
    numbers = [int(label == GOOD) for label in Y]
    clf = PGKDClassifier(student=clf, routes=(), random_state=0).fit(X, numbers)
    export_review(clf, POOL, tmp_path / "review.csv", format="csv", n=2)
    content = (tmp_path / "review.csv").read_text(encoding="utf-8")
    (tmp_path / "review.csv").write_text(content.replace(",\n", ",0\n").replace(",\r", ",0\r"))
    texts, labels = read_review(tmp_path / "review.csv", clf)
    assert labels == [0, 0]
    assert clf.fit(X + texts, numbers + labels).classes_.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a", "label": "negg"}]', r"label 'negg' of 'a'.*Did you mean 'neg'\?"),
        ('[{"text": "a"', "cannot be read"),
        ('[{"label": "neg"}]', "Record 1 of .* must have `text` and `label`"),
        ("[3]", "Record 1 of"),
        ('[{"data": {"text": "a"}, "annotations": [{"result": 3}]}]', "Record 1 of"),
        ('text,label\n"a', "cannot be read"),
    ],
)
def test_what_cannot_be_read(clf, tmp_path, content, message):
    (tmp_path / "review").write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        read_review(tmp_path / "review", clf)


def test_what_cannot_be_written(clf, tmp_path):
    with pytest.raises(InvalidInputError, match=r"Got 'labelstudio'\. Did you mean 'label_studio'"):
        export_review(clf, POOL, tmp_path / "a", format="labelstudio")
    with pytest.raises(InvalidInputError, match="`n` must be an int of 1 or more"):
        export_review(clf, POOL, tmp_path / "a", n=0)
    with pytest.raises(InvalidInputError, match="must not be blank"):
        export_review(clf, [" "], tmp_path / "a")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_review(tmp_path / "nowhere.json", clf)
    assert not list(tmp_path.iterdir())
