"""What is made of an answer, whichever kind of request it is to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from pgkd.records import AnnotationRequest, Example, GenerationRequest, Refusal
from pgkd.teachers.prompts import labelling, options, writing
from pgkd.teachers.prompts.parsing import parse

Request: TypeAlias = GenerationRequest | AnnotationRequest


def answer_schema(request: Request) -> dict[str, Any]:
    """JSON schema of the answer to a request."""
    if isinstance(request, AnnotationRequest):
        return labelling.answer_schema(request)
    return writing.answer_schema(request)


def parse_answer(answer: str, request: Request) -> tuple[tuple[Example, ...], tuple[Refusal, ...]]:
    """Read the labelled texts out of the answer to a request, and what cannot be used."""
    if isinstance(request, AnnotationRequest):
        return options.parse(answer, request)
    asked = writing.single_out(request)
    names = writing.answer_names(asked)
    several, may_be_empty = bool(asked.choices), () in asked.counts
    examples, refused = parse(answer, names, several=several, may_be_empty=may_be_empty)
    if asked is not request:
        examples = tuple(replace(example, label=(example.label,)) for example in examples)
    return examples, refused


def find_missing(request: Request, examples: Sequence[Example], number: int) -> Request | None:
    """Make the follow-up for what `examples` lack, if they lack anything."""
    if isinstance(request, AnnotationRequest):
        return None  # a text that stays without a label is no loss: the pool has others
    missing = Counter(request.counts) - Counter(example.label for example in examples)
    if request.choices:  # a text with other labels than were asked for counts as one
        short = max(request.n_texts - len(examples), 0)
        missing = Counter(list(missing.elements())[:short])
    return replace(request, id=f"{request.id}-{number}", counts=missing) if missing else None
