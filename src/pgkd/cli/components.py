"""Teachers and students by name: ``openai:gpt-5-mini``, ``static:wordllama``."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from pgkd.cli.inputs import Inputs
from pgkd.exceptions import InvalidInputError, did_you_mean

TEACHERS = {
    "openai": "OpenAITeacher",
    "anthropic": "AnthropicTeacher",
    "bedrock": "BedrockTeacher",
    "litellm": "LiteLLMTeacher",
    "local": "LocalTeacher",
    "recorded": "RecordedTeacher",
}
STUDENTS = {
    "embedding": "EmbeddingStudent",
    "setfit": "SetFitStudent",
    "static": "StaticStudent",
    "transformer": "TransformerStudent",
}


def make_teacher(name: str | None) -> Any:
    """Make a teacher.

    Parameters
    ----------
    name : str or None
        ``"openai:MODEL"``, likewise ``anthropic``, ``bedrock``, ``litellm``, ``local`` and
        ``recorded`` (a file); or ``"module:name"`` of a teacher of your own, which is found as
        Python finds modules, first in the working directory.

    Raises
    ------
    InvalidInputError
        If there is no such teacher.

    Examples
    --------
    >>> from pgkd.cli.components import make_teacher
    >>> make_teacher("openai:gpt-5-mini")
    OpenAITeacher(model='gpt-5-mini')
    """
    if name is None:
        return None
    kind, _, model = name.partition(":")
    if kind in TEACHERS and model:
        from pgkd import teachers

        return getattr(teachers, TEACHERS[kind])(model)
    if model and kind not in TEACHERS:
        return _import(name, kind, model, TEACHERS)
    raise InvalidInputError(
        f"`--teacher` must be one of {sorted(TEACHERS)} and a model, e.g. openai:gpt-5-mini, or "
        f"module:name of your own. Got {name!r} instead.{did_you_mean(kind, TEACHERS)}"
    )


def make_student(name: str | None, *, multilabel: bool = False) -> Any:
    """Make a student.

    Parameters
    ----------
    name : str or None
        ``"tfidf"``, or ``"embedding"``, ``"setfit"``, ``"static"`` or ``"transformer"``, each by
        itself or with a model, as in ``"static:wordllama"``; or ``"module:name"``.
    multilabel : bool, default=False
        Whether texts have several labels.

    Raises
    ------
    InvalidInputError
        If there is no such student.

    Examples
    --------
    >>> from pgkd.cli.components import make_student
    >>> make_student("transformer:distilbert-base-uncased")
    TransformerStudent(model='distilbert-base-uncased')
    """
    if name is None:
        return None
    kind, _, model = name.partition(":")
    if kind in STUDENTS:
        from pgkd import students

        cls = getattr(students, STUDENTS[kind])
        return cls(model) if model else cls()
    if kind == "tfidf" and not model:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline

        head = LogisticRegression(C=10)
        return make_pipeline(
            TfidfVectorizer(sublinear_tf=True), OneVsRestClassifier(head) if multilabel else head
        )
    if model and kind != "tfidf":
        return _import(name, kind, model, STUDENTS)
    raise InvalidInputError(
        f"`--student` must be one of {sorted([*STUDENTS, 'tfidf'])}, or module:name of your own. "
        f"Got {name!r} instead.{did_you_mean(kind, [*STUDENTS, 'tfidf'])}"
    )


def _import(name: str, module: str, attribute: str, kinds: Iterable[str]) -> Any:
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInputError(
            f"{name!r} cannot be found ({error}): pass module:name, of a module in the working "
            f"directory or an installed one.{did_you_mean(module, kinds)}"
        ) from error
    return found() if isinstance(found, type) else found


def make_classifier(
    inputs: Inputs,
    teacher: str | None,
    student: str | None,
    *,
    max_cost: float | None,
    task: str | None,
    seed: int,
    settings: list[str] | None,
) -> Any:
    """Make a classifier of what the options say.

    Raises
    ------
    InvalidInputError
        If a name or a setting cannot work.
    """
    from pgkd import Evidence, PGKDClassifier

    if max_cost is not None and teacher is None:
        raise InvalidInputError(
            f"`--max-cost {max_cost:g}` is for a teacher, and there is none: pass `--teacher`, or "
            "leave it out. All the rest is free."
        )
    given = [_read_setting(setting) for setting in settings or ()]
    evidence = Evidence() if any(name.startswith("evidence__") for name, _ in given) else None
    clf = PGKDClassifier(
        make_teacher(teacher),
        make_student(student, multilabel=inputs.is_multilabel),
        max_cost=max_cost,
        task_description=task,
        evidence=evidence,
        random_state=seed,
        **inputs.params,
    )
    for name, value in given:
        try:
            clf.set_params(**{name: value})
        except (ValueError, AttributeError) as error:
            raise InvalidInputError(f"`--set {name}` cannot be set: {error}") from error
    return clf


def _read_setting(setting: str) -> tuple[str, Any]:
    name, equals, value = setting.partition("=")
    if not equals:
        raise InvalidInputError(f"`--set` must be NAME=VALUE. Got {setting!r} instead.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
