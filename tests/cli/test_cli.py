"""The commands, run as a user runs them; a few as processes of their own."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import WORDS, write_text
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score
from typer.testing import CliRunner

from pgkd import PGKDClassifier, load
from pgkd.cli.app import app, main
from pgkd.cli.components import make_student, make_teacher
from pgkd.cli.inputs import read_inputs
from pgkd.exceptions import InvalidInputError
from pgkd.testing import FaultServer

LABELLED = [(write_text(label, i), label) for i in range(8) for label in WORDS]
MORE = [write_text(label, i) for i in range(50, 60) for label in WORDS]
COMMAND = [sys.executable, "-m", "pgkd.cli"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, and a model that the command line made of it."""
    folder = tmp_path_factory.mktemp("cli")
    frame = pd.DataFrame(LABELLED, columns=["message", "intent"])
    frame.to_csv(folder / "data.csv", index=False)
    frame.to_json(folder / "data.jsonl", orient="records", lines=True)
    (folder / "more.txt").write_text("\n".join([*MORE, "", "  "]) + "\n", encoding="utf-8")
    arguments = "fit data.csv --text-column message --label-column intent --unlabelled more.txt "
    result = call(folder, arguments + "--student tfidf --out model")
    assert result.exit_code == 0, result.output
    return folder


def call(folder, arguments, **params):
    before = os.getcwd()
    os.chdir(folder)
    try:
        parts = arguments.split() if isinstance(arguments, str) else arguments
        return CliRunner().invoke(app, parts, **params)
    finally:
        os.chdir(before)


def fails(folder, arguments, **params):
    """Return the error of a command that fails; `main` makes a line and an exit code of it."""
    result = call(folder, arguments, **params)
    assert result.exit_code != 0
    return result.exception


def test_fit_is_that_of_python(place):
    model = load(place / "model")
    own = PGKDClassifier(student=make_student("tfidf"), random_state=0)
    own.fit(*map(list, zip(*LABELLED)), X_unlabeled=MORE)
    assert (model.predict_proba(MORE) == own.predict_proba(MORE)).all()
    assert (place / "model-run").is_dir()


def test_predict_lines_in_lines_out(place):
    model = load(place / "model")
    result = call(place, "predict model", input="\n".join(MORE) + "\n")
    assert result.stdout.splitlines() == model.predict(MORE).tolist()
    result = call(place, "predict model --probability --window 7", input="\r\n".join(MORE))
    top = model.predict_proba(MORE).max(axis=1)
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == [f"{p:.4f}" for p in top]
    assert call(place, "predict model", input="").stdout == ""


def test_predict_says_that_it_reads_a_terminal(place, monkeypatch):
    """Else it seems to hang."""
    said = "Reading texts from the terminal"
    assert said not in call(place, "predict model", input="card\n").stderr
    stdin = io.StringIO("my card\n")
    stdin.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.chdir(place)
    result = io.StringIO()
    with redirect_stderr(result), redirect_stdout(io.StringIO()):
        app(["predict", "model"], standalone_mode=False)
    assert said in result.getvalue()


@pytest.mark.parametrize("read", ["data.csv", "data.jsonl", "data.parquet"])
@pytest.mark.parametrize("write", ["out.csv", "out.tsv", "out.jsonl", "out.parquet"])
def test_predict_files(place, read, write):
    if read == "data.parquet":
        pd.read_csv(place / "data.csv").to_parquet(place / read)
    result = call(
        place,
        f"predict model -i {read} -o {write} --text-column message --label-column found --window 5",
    )
    assert result.exit_code == 0, result.exception
    reader = {
        "out.csv": pd.read_csv,
        "out.tsv": lambda path: pd.read_csv(path, sep="\t"),
        "out.jsonl": lambda path: pd.read_json(path, lines=True),
        "out.parquet": pd.read_parquet,
    }[write]
    frame = reader(place / write)
    assert frame.message.tolist() == [text for text, _ in LABELLED]
    assert frame.intent.tolist() == [label for _, label in LABELLED]
    assert frame.found.tolist() == load(place / "model").predict(frame.message).tolist()


def test_odd_texts_survive_csv(place):
    texts = ['a "quoted", card', "two\nlines card", "ü\u2028 card", "=card()"]
    with (place / "odd.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["text"], *[[text] for text in texts]])
    result = call(place, "predict model -i odd.csv -o odd-out.csv")
    assert result.exit_code == 0, result.exception
    with (place / "odd-out.csv").open(newline="", encoding="utf-8") as file:
        assert [row["text"] for row in csv.DictReader(file)] == texts


def test_abstain(place):
    clf = PGKDClassifier(student=make_student("tfidf"), random_state=0)
    clf.fit(*map(list, zip(*LABELLED)))
    known = [(write_text(label, i), label) for i in range(100, 130) for label in WORDS]
    unknown = [(f"zzz {i}", label) for i in range(10) for label in WORDS]
    clf.fit_threshold(*map(list, zip(*known, *unknown)), min_accuracy=0.8).save(place / "threshold")
    result = call(place, "predict threshold --abstain-label unsure", input=f"{MORE[0]}\nzzz\n")
    assert result.stdout.splitlines() == [clf.predict([MORE[0]])[0], "unsure"]
    assert "no threshold" in str(
        fails(place, "predict model --abstain-label unsure", input="card\n")
    )


def test_plan_report_and_export(place, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    columns = "--text-column message --label-column intent"
    teacher = "--teacher openai:m --set teacher__base_url=http://127.0.0.1:9/v1"
    result = call(
        place, f"plan data.csv {columns} {teacher} --student tfidf --set teacher__price=[1,1]"
    )
    assert "requests" in result.stdout
    assert "$" in result.stdout
    result = call(place, "report model")
    assert result.stdout.startswith("# Report")
    assert call(place, "report model --out report.html").stdout == ""
    assert (place / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert call(place, "report model --out new/folder/report.html").exit_code == 0
    assert (place / "new/folder/report.html").exists()
    result = call(place, f"fit data.csv {columns} --student static:wordllama --out static -q")
    assert (result.exit_code, result.stdout) == (0, "")
    result = call(place, f"export static --out exported --texts data.jsonl {columns[:21]}")
    assert "Of 24 texts, 100.0% get the same class" in result.stdout
    result = call(place, f"evaluate exported data.csv {columns}")
    assert result.stdout.startswith("accuracy ")
    assert "was written by `export`" in str(fails(place, "report exported"))
    refused = fails(place, f"evaluate exported data.csv {columns} --min-accuracy 0.5")
    assert "needs a model that `fit` wrote" in str(refused)
    result = call(place, "predict exported", input="\n".join(MORE))
    assert result.stdout.splitlines() == load(place / "static").predict(MORE).tolist()


def test_fit_with_a_teacher_and_settings(place):
    with FaultServer() as server:
        arguments = (
            "fit data.csv --text-column message --label-column intent --student tfidf "
            "--teacher openai:m --max-cost 1 --out bought --seed 3 --task Messages "
            f"--set teacher__base_url={server.base_url} --set teacher__price=[1,1] "
            "--set max_cycles=1 --set samples_per_cycle=6 --set evidence__probe_size=5"
        )
        result = call(place, arguments)
    assert result.exit_code == 0, result.exception
    clf = PGKDClassifier.load(place / "bought")
    assert clf.n_cycles_ == 1
    assert 0 < clf.usage_.cost < 1
    assert (clf.random_state, clf.task_description) == (3, "Messages")
    assert clf.evidence.probe_size == 5
    assert "Saved to 'bought'" in result.stdout


def test_classes_alone_and_several_labels(place):
    descriptions = {label: " ".join(words) for label, words in WORDS.items()}
    (place / "classes.json").write_text(json.dumps(descriptions))
    result = call(place, "fit --classes classes.json --student tfidf --out named -q")
    assert result.exit_code == 0, result.exception
    assert load(place / "named").predict(["euro dollar"]).tolist() == ["rate"]
    (place / "names.json").write_text(json.dumps([*WORDS]))
    assert call(place, "fit --classes names.json --student tfidf --out by-name -q").exit_code == 0
    pairs = [(a, b) for a in ("x1", "y1") for b in ("z1", "w1")]
    rows = [{"text": f"{a} {b}", "label": f"{a}; {b}"} for a, b in pairs]
    rows.append({"text": "none of them", "label": ""})
    pd.DataFrame(rows * 4).to_csv(place / "sets.csv", index=False)
    result = call(
        place, "fit sets.csv --label-separator ; --student static:wordllama --out sets -q"
    )
    assert result.exit_code == 0, result.exception
    result = call(place, "predict sets -o sets.jsonl", input="x1 z1\n")
    assert set(json.loads((place / "sets.jsonl").read_text())["label"]) == {"x1", "z1"}


def test_logs(place):
    rows = [{"text": text, "label": label} for text, label in LABELLED]
    pd.DataFrame(rows).to_json(place / "calls.jsonl", orient="records", lines=True)
    result = call(place, "fit --logs calls.jsonl --student tfidf --out logged -q")
    assert result.exit_code == 0, result.exception
    assert load(place / "logged").classes_.tolist() == sorted(WORDS)


def test_evaluate(place):
    known = [(write_text(label, i), label) for i in range(100, 130) for label in WORDS]
    unknown = [(f"zzz {i}", label) for i in range(10) for label in WORDS]
    test = pd.DataFrame([*known, *unknown], columns=["text", "label"])
    test.to_csv(place / "test.csv", index=False)
    model = load(place / "model")
    given = model.predict(test.text)
    result = call(place, "evaluate model test.csv")
    low, high = binomtest(int((given == test.label).sum()), 120).proportion_ci(0.95)
    assert result.stdout == (
        f"accuracy {accuracy_score(test.label, given):.3f} (95 %: {low:.3f} to {high:.3f}), "
        f"macro F1 {f1_score(test.label, given, average='macro'):.3f}, on 120 texts\n"
    )
    test.loc[:6, "label"] = list("abcdefg")
    test.to_csv(place / "foreign.csv", index=False)
    assert call(place, "evaluate model foreign.csv").stdout.splitlines()[1] == (
        "Labels that the model does not know, in 7 of them, count as wrong: "
        "'a', 'b', 'c', 'd', 'e' and 2 more"
    )
    shutil.copytree(place / "model", place / "careful")
    result = call(place, "evaluate careful test.csv --min-accuracy 0.8")
    assert result.exit_code == 0, result.exception
    test = pd.read_csv(place / "test.csv")
    own = model.fit_threshold(test.text, test.label, min_accuracy=0.8)
    use = "Use it: pgkd predict careful --abstain-label unsure"
    assert result.stdout.splitlines()[1:] == [str(own.abstention_), use]
    assert load(place / "careful").threshold_ == own.threshold_
    result = call(place, "predict careful --abstain-label unsure", input="zzz\n")
    assert result.stdout == "unsure\n"


def test_evaluate_suspects_texts_that_were_learnt(tmp_path):
    """As TF-IDF knows all of 60 texts, of which it has half of the labels right out of fold."""
    rng = np.random.default_rng(0)
    for name, texts in (("learnt", [f"word{i} {i % 7}" for i in range(60)]), ("new", ["zz"] * 60)):
        labels = rng.choice(["a", "b"], 60)
        frame = pd.DataFrame({"text": texts, "label": labels})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    assert call(tmp_path, "fit learnt.csv --student tfidf -q").exit_code == 0
    for name, suspected in (("learnt", True), ("new", False)):
        out = call(tmp_path, f"evaluate model {name}.csv").stdout
        assert ("Has it learnt these?" in out) is suspected, out


def test_evaluate_compares_labels_as_they_are_written(tmp_path):
    """A CSV file has no numbers, and no lists."""
    rows = [
        {"text": write_text(label, i), "label": n}
        for i in range(8)
        for n, label in enumerate(WORDS)
    ]
    for name, change in (("number", int), ("set", lambda n: [n, 9] if n else [n])):
        lines = [json.dumps({**row, "label": change(row["label"])}) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        done = call(tmp_path, f"fit {name}.jsonl --student tfidf --out {name} -q")
        assert done.exit_code == 0, done.exception
    pd.DataFrame(rows).to_csv(tmp_path / "number.csv", index=False)
    frame = pd.DataFrame(rows)
    frame.label = [f"{n};9" if n else "0" for n in frame.label]
    frame.to_csv(tmp_path / "set.csv", index=False)
    number = call(tmp_path, "evaluate number number.csv")
    assert number.stdout.startswith("accuracy 1.000"), number.exception
    several = call(tmp_path, ["evaluate", "set", "set.csv", "--label-separator", ";"])
    assert several.stdout.startswith("accuracy 1.000"), several.exception


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit none.csv", "'none.csv' cannot be read .*check the path"),
        ("fit data.xls", "must end in one of .*Got '.xls' instead: rename or convert it"),
        ("fit more.txt", "has no labels: pass a .csv"),
        (
            "fit data.csv",
            "'data.csv' has no column 'text' and no column 'label', .* `--text-column` and "
            "`--label-column`",
        ),
        ("fit data.csv --text-column message", "no column 'label', .* pass `--label-column`"),
        ("fit broken.csv", "Line 3 of 'broken.csv' must have 2 columns"),
        ("fit quote.csv", "Line 2 of 'quote.csv' is broken"),
        ("fit broken.jsonl", "Line 2 of 'broken.jsonl' is no JSON"),
        ("fit list.jsonl", "Line 1 of 'list.jsonl' must be a JSON object"),
        ("fit latin.csv", "'latin.csv' is not UTF-8"),
        ("fit noise.parquet", "cannot be read as Parquet"),
        ("fit data.csv --teacher gpt-5", "`--teacher` must be one of .*Got 'gpt-5' instead"),
        ("fit data.csv --teacher nowhere:Me", "'nowhere:Me' cannot be found"),
        ("fit data.csv --student tfid", "`--student` must be one of .*Got 'tfid' instead"),
        ("fit data.csv --max-cost 5", "`--max-cost 5` is for a teacher, and there is none"),
        ("fit data.csv --out full", "Cannot save to 'full': it holds 1 thing"),
        ("export model --out full", "Cannot export to 'full': it holds 1 thing"),
        ("export model --out model", "Cannot export to 'model'"),
        ("fit", "Nothing says what the classes are: pass a file"),
        ("predict none", "there is no such directory"),
        ("predict full", "it has no pgkd.json"),
        ("predict model -i data.csv -o data.csv --text-column message", "must be two files"),
        (
            "predict model -i data.csv -o new.csv --text-column message --label-column intent",
            "'data.csv' has a column 'intent' already, .* pass another `--label-column`",
        ),
        (
            "predict model -i sure.csv -o new.csv --probability",
            "'sure.csv' has a column 'probability' already, .* leave out `--probability`",
        ),
        ("evaluate model more.txt", "'more.txt' has no labels: .*`fit --unlabelled` takes"),
        (
            "fit data.csv --student tfidf --set student__C=3",
            "Did you mean 'student__logisticregression__C'",
        ),
        (
            "fit data.csv --student tfidf --label-separator ;",
            "No label of 'data.csv' has ';' in it",
        ),
        ("fit numbers.jsonl --student tfidf --label-separator ;", "No label of 'numbers.jsonl'"),
        ("fit data.csv --student tfidf --out onnx", "'onnx': it holds what `export` wrote"),
        ("fit data.csv --set max_cycles", "`--set` must be NAME=VALUE"),
        ("fit data.csv --set max_cycle=1", "`--set max_cycle` .* Did you mean 'max_cycles'"),
        ("fit data.csv --set teacher__temperature=1", "Its `teacher` is None"),
        ("plan data.csv --student tfidf --set max_cycles=-1", "'max_cycles' parameter .* Got -1"),
        ("plan data.csv --student tfidf --set scoring=acuracy", "Did you mean 'accuracy'"),
        ("predict model --format jsno", "`--format` must be one of .* Did you mean 'jsonl'"),
        ("fit data.csv --classes none.json", "`--classes` cannot be read"),
        ("fit data.csv --classes nine.json", "must hold a JSON object .*Got int"),
        ("predict none", "neither an exported nor a saved classifier"),
        ("predict model -i data.csv", "'data.csv' has no column 'text'"),
        ("evaluate model other.csv", "classes of the model.*Got .'x'. instead: check `--label-co"),
        ("evaluate model empty.csv", "'empty.csv' has no rows"),
        ("fit empty.csv", "'empty.csv' has no rows: pass a file with texts and labels"),
        ("fit empty.jsonl", "'empty.jsonl' has no rows"),
        ("fit empty.parquet", "'empty.parquet' has no rows"),
        ("fit unlabelled.csv", "no text in row 4: .* no label in row 3: .*--unlabelled`"),
        ("fit unlabelled.jsonl", "has no label in rows 1, 2, 3, 4, 5 and 2 more"),
        ("fit textless.csv", "'textless.csv' has no text in row 3: delete"),
        ("fit semicolons.csv", "has one column, 'text;label', and seems to have ';' between"),
        ("predict model -i tabs.csv", r"has one column, 'a\\tb', and seems to have '\\t'"),
        ("fit data.csv --text-column intent --label-column intent", "must differ. Got 'intent'"),
        ("predict model --label-column text", "must differ. Got 'text' for both"),
    ],
)
def test_what_cannot_work_is_named(place, arguments, message):
    (place / "broken.csv").write_text("text,label\na,b\nc,d,e\n")
    (place / "quote.csv").write_text('text,label\n"a"b,c\n')
    (place / "broken.jsonl").write_text('{"text": "a", "label": "b"}\n{\n')
    (place / "list.jsonl").write_text("[1]\n")
    (place / "latin.csv").write_bytes("text,label\nfür,b\n".encode("latin-1"))
    (place / "noise.parquet").write_bytes(b"noise" * 99)
    (place / "nine.json").write_text("9")
    (place / "other.csv").write_text("text,label\na,x\n")
    (place / "empty.csv").write_text("text,label\n")
    (place / "empty.jsonl").write_text("")
    pd.DataFrame({"text": [], "label": []}).to_parquet(place / "empty.parquet")
    (place / "unlabelled.csv").write_text("text,label\na,b\nc, \n,b\n")
    (place / "unlabelled.jsonl").write_text('{"text": "a", "label": null}\n' * 7)
    (place / "textless.csv").write_text("text,label\na,b\n,b\n")
    (place / "semicolons.csv").write_text("text;label\na;b\n")
    rows = [json.dumps({"message": text, "intent": len(label)}) for text, label in LABELLED]
    (place / "numbers.jsonl").write_text("\n".join(rows))
    (place / "tabs.csv").write_text("a\tb\nc\td\n")
    (place / "sure.csv").write_text("text,probability\na,0.5\n")
    (place / "full").mkdir(exist_ok=True)
    (place / "onnx").mkdir(exist_ok=True)
    (place / "onnx" / "pgkd.json").write_text('{"writer": "export", "files": []}')
    (place / "full" / "thesis.txt").write_text("words")
    if (
        "--s" in arguments
        or "-cost" in arguments
        or "--teacher" in arguments
        or "--classes" in arguments
    ):
        arguments += " --text-column message --label-column intent"
    kept = (place / "data.csv").read_bytes()
    assert re.search(message, str(fails(place, arguments)))
    assert (place / "data.csv").read_bytes() == kept
    assert not (place / "new.csv").exists()


def test_standard_output_has_labels_alone(place):
    model = load(place / "model")
    columns = "--text-column message --label-column given"
    labels = model.predict([text for text, _ in LABELLED]).tolist()
    assert call(place, f"predict model -i data.csv {columns}").stdout.splitlines() == labels
    lines = call(place, f"predict model -i data.csv {columns} --probability").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == labels
    assert {line.count("\t") for line in lines} == {1}


def test_a_header_among_lines_is_told(place):
    for header, told in (("text,label", True), ("label\ttext", True), ("a text", False)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = call(place, "predict model", input=f"{header}\ntext,label\ncard\n")
        assert len(result.stdout.splitlines()) == 3
        assert ["seems to be the header" in str(own.message) for own in caught] == [True] * told


def test_a_model_that_is_replaced_is_told(place):
    columns = "--text-column message --label-column intent"
    for replaced in (False, True):
        done = call(place, f"fit data.csv {columns} --student static:wordllama --out twice")
        assert ("Saved to 'twice'" in done.stdout) is True
        assert ("in place of the model that was there" in done.stdout) is replaced
        done = call(place, "export twice --out twice-onnx")
        assert done.stdout.startswith("Exported to 'twice-onnx'")
        assert ("in place of the model that was there" in done.stdout) is replaced


@pytest.mark.parametrize(
    ("rows", "separator", "told"),
    [
        (
            [("x", "a"), ("y", "b"), ("x", "b")],
            None,
            "Rows 2 and 4 .* the labels 'a' and 'b'. Such pairs: 1",
        ),
        ([("x", "a"), ("x", "a"), ("y", "b")], None, None),
        ([("x", "a;b"), ("x", "b;a")], ";", None),
        ([("x", "a;b"), ("x", "b")], ";", "Such pairs: 1"),
    ],
)
def test_texts_with_two_labels_are_told(tmp_path, rows, separator, told):
    path = str(tmp_path / "data.csv")
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(path, index=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_inputs(path, "text", "label", separator, None, None, None, None)
    assert [bool(re.search(told or "", str(own.message))) for own in caught] == [True] * bool(told)


def test_own_components(place, monkeypatch):
    (place / "my_llm.py").write_text(
        "from pgkd.testing import PoolTeacher\n"
        "teacher = PoolTeacher(['a card'], ['card'])\n"
        "class Student:\n    pass\n"
    )
    monkeypatch.chdir(place)
    assert type(make_teacher("my_llm:teacher")).__name__ == "PoolTeacher"
    assert type(make_student("my_llm:Student")).__name__ == "Student"
    assert make_teacher(None) is None
    with pytest.raises(InvalidInputError, match="my_llm:nobody' cannot be found"):
        make_teacher("my_llm:nobody")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "none.csv"], 2, "Error: 'none.csv' cannot be read"),
        (["predict", "none"], 1, "Error: 'none' is neither"),
        (["fit", "--nonsense"], 2, "No such option"),
    ],
)
def test_exit_codes(monkeypatch, capsys, arguments, code, message):
    monkeypatch.setattr(sys, "argv", ["pgkd", *arguments])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("predict model -i more.txt --abstain-label x", "evaluate MODEL test.csv --min-accuracy"),
        ("serve model --port 0 --upstream http://127.0.0.1:9", "`--min-confidence NUMBER`."),
        (
            "fit data.csv --teacher openai:m --out none",
            "`base_url` is `--set teacher__base_url=URL`.",
        ),
        ("fit data.csv --out none --student embedding:no/one", "is `--student static:wordllama`, "),
        ("plan data.csv --student tfidf --teacher local:none.gguf", None),
    ],
)
def test_errors_name_options(place, monkeypatch, capsys, arguments, hint):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(place)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    columns = ["--text-column", "message", "--label-column", "intent"]
    arguments = [*arguments.split(), *columns * ("data.csv" in arguments)]
    monkeypatch.setattr(sys, "argv", ["pgkd", *arguments])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert hint is None or hint in said
    assert ("On the command line" in said) == (hint is not None)


def test_a_warning_is_a_line(place):
    """What Python adds, the line of the code that warns, helps nobody here."""
    code = "import warnings; from pgkd.cli import app; app.app = lambda: warnings.warn('a\\nb'); "
    done = subprocess.run(
        [sys.executable, "-c", code + "app.main()"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "Warning: a b\n")


@pytest.mark.filterwarnings("ignore:Interrupted")
def test_ctrl_c(place, monkeypatch):
    (place / "stopping.py").write_text(
        "from pgkd.testing import PoolTeacher\n"
        "class Teacher(PoolTeacher):\n"
        "    def __init__(self): super().__init__(['a card'], ['card'])\n"
        "    def generate(self, requests): raise KeyboardInterrupt\n"
        "from sklearn.dummy import DummyClassifier\n"
        "class Student(DummyClassifier):\n"
        "    def fit(self, X, y): raise KeyboardInterrupt\n"
    )
    monkeypatch.syspath_prepend(place)
    arguments = "fit data.csv --text-column message --label-column intent --out stopped"
    result = call(place, f"{arguments} --student stopping:Student")
    assert (result.exit_code, (place / "stopped").exists()) == (130, False)
    assert result.stderr.endswith("nothing is saved. The same command goes on.\n")
    result = call(
        place,
        f"{arguments} --student tfidf --teacher stopping:Teacher --set evidence__probe_size=0",
    )
    assert result.exit_code == 130
    assert result.stdout.endswith("Saved to 'stopped'. The same command goes on.\n")
    assert len(load(place / "stopped").predict(MORE)) == len(MORE)


def test_a_pipe_that_is_closed_ends_it_quietly(place):
    lines = "\n".join(["card"] * 5_000)
    (place / "many.txt").write_text(lines)
    with subprocess.Popen(
        [*COMMAND, "predict", "model", "-i", "many.txt", "--window", "10", "--format", "text"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        label = load(place / "model").predict(["card"])[0]
        assert process.stdout.readline() == f"{label}\n"
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(30) != 0


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM")
def test_serve(place):
    process = subprocess.Popen(
        [*COMMAND, "serve", "model", "--port", "0"],
        cwd=place,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = next(line for line in process.stderr if "running on" in line).split()[4]
        shown = f"Serving model, 3 classes. Docs: {url}/docs. Base URL for OpenAI clients: {url}/v1"
        assert shown in process.stderr.readline()
        answer = httpx.post(f"{url}/predict", json={"texts": MORE[:3]}).json()["predictions"]
        assert [own["label"] for own in answer] == load(place / "model").predict(MORE[:3]).tolist()
        time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM or process.returncode == 0
    process.stderr.close()


def test_help_needs_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from pgkd.cli.app import app; "
        "print(CliRunner().invoke(app, ['--help']).output); "
        "print(sorted({'torch', 'sklearn', 'transformers', 'fastapi'} & {*sys.modules}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "predict" in out.stdout
    assert out.stdout.splitlines()[-1] == "[]"
