"""The commands. What they need is imported when one runs, so that ``pgkd --help`` is quick."""

from __future__ import annotations

import sys
import warnings
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from pgkd._version import __version__
from pgkd.cli.components import make_classifier
from pgkd.cli.inputs import read_inputs, read_labelled
from pgkd.cli.labelling import PROBABILITY, label_rows, warn_of_header
from pgkd.cli.messages import explain, show_warning
from pgkd.cli.places import check_place
from pgkd.cli.tables import (
    STANDARD,
    check_differ,
    check_files_differ,
    find_format,
    read_rows,
    writing,
)
from pgkd.exceptions import InvalidInputError, PGKDError

#: Exit codes: what was given cannot work, all other errors, and Ctrl-C, as shells have it.
INVALID, FAILED, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Distil an LLM that classifies texts into a small, fast classifier.\n\n"
    "Exit codes: 0 done; 1 failed, as without a key or a model; 2 the command or a file of texts "
    "cannot work; 130 Ctrl-C.",
)

Data = Annotated[
    str | None,
    typer.Argument(help="Labelled texts: .csv, .tsv, .jsonl or .parquet; none: class names alone."),
]
Model = Annotated[Path, typer.Argument(help="A directory that `fit` or `export` wrote.")]
Fitted = Annotated[Path, typer.Argument(help="A directory that `fit` wrote.")]
TextColumn = Annotated[str, typer.Option(help="Column of the texts.")]
LabelColumn = Annotated[str, typer.Option(help="Column of the labels.")]
Separator = Annotated[
    str | None, typer.Option(help="Between the labels of a text that has several, e.g. ';'.")
]
Unlabelled = Annotated[
    str | None,
    typer.Option(
        "--unlabelled", "--unlabeled", help="Texts without a label, in any format or a text a line."
    ),
]
Validation = Annotated[
    str | None, typer.Option(help="Labelled texts that decide what helps, and are not learnt.")
]
LogFile = Annotated[
    str | None, typer.Option("--logs", help="What an LLM has labelled before: .csv or JSON lines.")
]
Classes = Annotated[
    str | None,
    typer.Option(help="JSON file: an object of classes and descriptions, or a list of classes."),
]
TeacherName = Annotated[
    str | None,
    typer.Option("--teacher", help="E.g. openai:gpt-5-mini, local:model.gguf, module:name."),
]
StudentName = Annotated[
    str | None,
    typer.Option(
        "--student",
        help="embedding (default), static, setfit, transformer, tfidf; as in KIND:MODEL.",
    ),
]
MaxCost = Annotated[float | None, typer.Option(help="Spend no more US dollars than that.")]
Task = Annotated[str | None, typer.Option(help="What is classified, in a sentence, for the LLM.")]
Seed = Annotated[int, typer.Option(help="The same seed and data give the same model.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any parameter of PGKDClassifier or its parts, as in max_cycles=3, "
        "teacher__temperature=0, student__max_length=64, evidence__patience=3.",
    ),
]
Format = Annotated[
    str | None, typer.Option(help="text, csv, tsv, jsonl or parquet; else by the file's name.")
]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(f"pgkd {__version__}")
        raise typer.Exit


@app.command()
def fit(
    data: Data = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    label_separator: Separator = None,
    unlabelled: Unlabelled = None,
    validation: Validation = None,
    logs: LogFile = None,
    classes: Classes = None,
    teacher: TeacherName = None,
    student: StudentName = None,
    max_cost: MaxCost = None,
    task: Task = None,
    out: Annotated[Path, typer.Option(help="Directory of the model.")] = Path("model"),
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Keeps all that was paid for; the same command goes on there. [OUT-run]"),
    ] = None,
    seed: Seed = 0,
    settings: Settings = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print warnings and errors alone.")
    ] = False,
) -> None:
    """Distil a model.

    Examples
    --------
        pgkd fit data.csv --unlabelled more.txt --out model

        pgkd fit data.csv --teacher openai:gpt-5-mini --max-cost 5

        pgkd fit --logs calls.jsonl --student static:wordllama
    """
    saved = check_place(out, "save", "Saved")
    inputs = read_inputs(
        data, text_column, label_column, label_separator, unlabelled, validation, logs, classes
    )
    run_dir = run_dir or out.with_name(f"{out.name}-run")
    clf = make_classifier(
        inputs, teacher, student, max_cost=max_cost, task=task, seed=seed, settings=settings
    )
    clf.set_params(run_dir=run_dir, verbose=0 if quiet else 1)
    try:
        clf.fit(**inputs.data)
    except KeyboardInterrupt:
        said = "Interrupted before there was a model: nothing is saved. The same command goes on."
        typer.echo(said, err=True)
        raise typer.Exit(INTERRUPTED) from None
    clf.save(out)
    is_interrupted = clf.stop_reason_ == "interrupted"
    if not quiet:
        goes_on = "The same command goes on." if is_interrupted else f"Read on: pgkd report {out}"
        typer.echo(f"\n{saved} {goes_on}")
    if is_interrupted:
        raise typer.Exit(INTERRUPTED)


@app.command()
def plan(
    data: Data = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    label_separator: Separator = None,
    unlabelled: Unlabelled = None,
    validation: Validation = None,
    logs: LogFile = None,
    classes: Classes = None,
    teacher: TeacherName = None,
    student: StudentName = None,
    max_cost: MaxCost = None,
    task: Task = None,
    seed: Seed = 0,
    settings: Settings = None,
) -> None:
    """Tell what `fit` will buy, without a call to the LLM.

    Example:

        pgkd plan data.csv --teacher openai:gpt-5-mini
    """
    inputs = read_inputs(
        data, text_column, label_column, label_separator, unlabelled, validation, logs, classes
    )
    clf = make_classifier(
        inputs, teacher, student, max_cost=max_cost, task=task, seed=seed, settings=settings
    )
    typer.echo(clf.plan(**inputs.data))


@app.command()
def predict(
    model: Model,
    input: Annotated[
        str, typer.Option("--input", "-i", help="A file; -: standard input.")
    ] = STANDARD,
    output: Annotated[str, typer.Option("--output", "-o", help="File to write.")] = STANDARD,
    format: Format = None,
    text_column: TextColumn = "text",
    label_column: Annotated[str, typer.Option(help="Column that is added.")] = "label",
    probability: Annotated[
        bool, typer.Option(help="Add a column `probability`, of the label that is given.")
    ] = False,
    abstain_label: Annotated[
        str | None, typer.Option(help="Given where the model is unsure, if it has a threshold.")
    ] = None,
    window: Annotated[int, typer.Option(min=1, help="Rows that are labelled together.")] = 2048,
) -> None:
    """Label texts; rows are read and written as they come.

    Examples
    --------
        pgkd predict model < texts.txt > labels.txt

        pgkd predict model -i texts.csv -o labelled.parquet --probability
    """
    from pgkd.opening import load

    check_differ(text_column, label_column)
    check_files_differ(input, output)
    read_as = find_format(input, format)
    write_as = find_format(output, format if output == STANDARD else None)
    opened = load(model)
    if input == STANDARD and sys.stdin.isatty():
        key = "Ctrl-Z and Enter" if sys.platform == "win32" else "Ctrl-D"
        typer.echo(f"Reading texts from the terminal, one a line; {key} ends them.", err=True)
    rows = read_rows(input, read_as, text_column)
    added = [label_column, PROBABILITY][: 1 + probability]
    labelled = label_rows(
        opened,
        warn_of_header(rows, text_column) if read_as == "text" else rows,
        input,
        text_column,
        added,
        abstain_label=abstain_label,
        window=window,
    )
    first = next(labelled, [])  # what cannot work is found before a file is written
    with writing(output, write_as, text_column, added) as write:
        for window_of_rows in chain([first], labelled):
            write(window_of_rows)


@app.command()
def evaluate(
    model: Model,
    data: Annotated[str, typer.Argument(help="Labelled texts that `fit` did not get.")],
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    label_separator: Separator = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option(
            help="Find the probability above which more than that share of the labels is right, "
            "and keep it in the model: `predict --abstain-label` withholds those below."
        ),
    ] = None,
) -> None:
    """Measure a model on labelled texts that it has not seen.

    Examples
    --------
        pgkd evaluate model test.csv

        pgkd evaluate model test.csv --min-accuracy 0.9
    """
    from pgkd.cli.measuring import measure
    from pgkd.opening import load

    texts, labels = read_labelled(data, text_column, label_column, label_separator)
    opened = load(model)
    typer.echo(measure(opened, texts, labels))
    if min_accuracy is not None:
        if not hasattr(opened, "fit_threshold"):
            raise InvalidInputError(
                f"`--min-accuracy` needs a model that `fit` wrote. Got {str(model)!r}, an exported "
                "one: pass the other, and export it again."
            )
        opened.fit_threshold(texts, labels, min_accuracy=min_accuracy).save(model)
        typer.echo(f"{opened.abstention_}\nUse it: pgkd predict {model} --abstain-label unsure")


@app.command()
def report(
    model: Fitted,
    out: Annotated[
        Path | None, typer.Option(help="Write a page, e.g. report.html, and print nothing.")
    ] = None,
) -> None:
    """Tell what a run did and gained.

    Examples
    --------
        pgkd report model

        pgkd report model --out report.html
    """
    from pgkd import PGKDClassifier

    made = PGKDClassifier.load(model).report()
    if out is None:
        typer.echo(str(made))
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        made.save(out)


@app.command()
def export(
    model: Fitted,
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    format: Annotated[
        str | None, typer.Option(help="onnx, openvino or numpy; else as the student can.")
    ] = None,
    quantize: Annotated[str | None, typer.Option(help="int8: a quarter of the size.")] = None,
    texts: Annotated[
        str | None, typer.Option(help="Texts like those to come, to compare the answers.")
    ] = None,
    text_column: TextColumn = "text",
) -> None:
    """Write a model that predicts without torch.

    Example:

        pgkd export model --out model-onnx
    """
    from pgkd import PGKDClassifier
    from pgkd.cli.inputs import read_texts

    exported = check_place(out, "export", "Exported")
    compared = None if texts is None else read_texts(texts, text_column)
    parity = PGKDClassifier.load(model).export(
        out, format=format, quantize=quantize, texts=compared
    )
    typer.echo(
        f"{exported} Of {parity.n_texts} texts, {parity.agreement:.1%} get the same class; the "
        f"greatest difference of a probability is {parity.max_difference:.2g}."
    )


@app.command()
def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    upstream: Annotated[
        str | None,
        typer.Option(help="Base URL of the LLM that is asked where the model is unsure."),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Unsure is below that probability. [the threshold of the model]"
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="JSON lines for all that the LLM answers; `fit --logs` learns it."),
    ] = None,
    label_key: Annotated[
        str, typer.Option(help="Name of the label in JSON answers without a schema.")
    ] = "label",
) -> None:
    """Serve a model over HTTP: /predict, and OpenAI's /v1/chat/completions.

    An application that has an LLM classify changes its base URL, and nothing else. Docs of the API
    are at /docs.

    Examples
    --------
        pgkd serve model-onnx --port 8000

        pgkd serve model --upstream https://api.openai.com/v1 --keep calls.jsonl
    """
    from pgkd.serving import run

    run(
        model,
        host=host,
        port=port,
        upstream=upstream,
        min_confidence=min_confidence,
        keep=keep,
        label_key=label_key,
    )


def main() -> None:
    """Run a command, and say in a line what went wrong."""
    warnings.showwarning = show_warning
    try:
        app()
    except (PGKDError, ImportError, OSError) as error:
        typer.echo(f"Error: {explain(error)}", err=True)
        sys.exit(INVALID if isinstance(error, InvalidInputError) else FAILED)
