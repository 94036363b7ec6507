"""Errors and warnings, as a command says them."""

from __future__ import annotations

from typing import TextIO

import typer

#: What messages tell who writes Python, and what it is on the command line.
TERMS = {
    "`base_url": "`--set teacher__base_url=URL`",
    "`X_unlabeled": "`--unlabelled FILE`",
    "`class_descriptions": "`--classes FILE`",
    "`class_names": "`--classes FILE`",
    "`fit_threshold": "`pgkd evaluate MODEL test.csv --min-accuracy 0.9`",
    "`max_concurrency": "`--set teacher__max_concurrency=NUMBER`",
    "`min_accuracy": "`--min-accuracy NUMBER`",
    "`min_confidence": "`--min-confidence NUMBER`",
    "`price": "`--set teacher__price=[INPUT,OUTPUT]`",
    "`profile": "`--set teacher__profile=NAME`",
    "`region": "`--set teacher__region=NAME`",
    "`run_dir": "`--run-dir DIRECTORY`",
    "`routes": "`--set 'routes=[\"names\"]'`",
    "`timeout": "`--set teacher__timeout=SECONDS`",
    "StaticStudent('wordllama')": "`--student static:wordllama`",
    "TfidfVectorizer": "`--student tfidf`",
}


def explain(error: BaseException | str) -> str:
    """Return a message, and what its terms are on the command line.

    Examples
    --------
    >>> from pgkd.cli.messages import explain
    >>> print(explain(RuntimeError("Is `base_url` right?")))
    Is `base_url` right? On the command line, `base_url` is `--set teacher__base_url=URL`.
    """
    message = str(error)
    found = [f"`{term.strip('`')}` is {own}" for term, own in TERMS.items() if term in message]
    return f"{message} On the command line, {', '.join(found)}." if found else message


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write a warning as one line, without the place in the code, which a user cannot mend."""
    from pgkd.loop.checkpoint import GOES_ON  # which the command says in its own words

    said = explain(str(message).removesuffix(GOES_ON))
    typer.echo(f"Warning: {' '.join(said.split())}", err=True)
