"""Answers held to a schema, where there is more than one way and models refuse some."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pgkd.records import Usage
from pgkd.teachers.reading import read_count
from pgkd.teachers.transport.http import HTTPTeacher

#: The tool whose input is the answer.
TOOL_NAME = "answer"
TOOL_DESCRIPTION = "Give the answer that was asked for, as a whole."
#: Why an answer ended, if it was cut off.
TRUNCATED = frozenset({"max_tokens", "model_context_window_exceeded"})
#: A token that is written to the prompt cache costs this much more than one that is not.
#: https://platform.claude.com/docs/en/build-with-claude/prompt-caching
CACHE_WRITE_SURCHARGE = 0.25


class StructuredTeacher(HTTPTeacher):
    """Base of :class:`AnthropicTeacher` and :class:`BedrockTeacher`."""

    #: What a model may refuse, and what the error then says.
    refusable: ClassVar[Mapping[str, Sequence[str]]]

    def _find_refused(
        self, text: str, body: Mapping[str, Any], left_out: frozenset[str]
    ) -> str | None:
        text = text.lower()
        for name, words in self.refusable.items():
            if name not in left_out and any(word in text for word in words):
                return name
        return None

    def _count(self, counts: Any, names: Sequence[str], text: str) -> Usage:
        """Count what was written to the prompt cache, and read from it, as input.

        Parameters
        ----------
        counts : dict
            As the provider counts; what it leaves out, or gets wrong, is 0: not known.
        names : sequence of str
            Its names for the tokens of the input, those written to the cache, those read from it
            (the provider counts all three apart), and those of the output.
        text : str
            The answer. If there is one and no count of its tokens, nothing is counted.
        """
        counts = counts if isinstance(counts, dict) else {}
        fresh, written, cached, output = (read_count(counts.get(name)) for name in names)
        if text and not output:
            return Usage(1, cost=None)
        usage = Usage(1, fresh + written + cached, output, cost=None, cached_tokens=cached)
        if not usage.input_tokens:
            return usage
        surcharge = Usage(0, round(written * CACHE_WRITE_SURCHARGE), cost=None)
        cost = replace(usage, cost=self.cost(usage)) + replace(surcharge, cost=self.cost(surcharge))
        return replace(usage, cost=cost.cost)


def loosen(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what structured outputs refuse: how many items a list has, but that it has some.

    The prompt says how many are wanted. Requests for the same classes then have the same schema,
    without which they would share no prompt cache.

    References
    ----------
    https://platform.claude.com/docs/en/build-with-claude/structured-outputs

    Examples
    --------
    >>> from pgkd.teachers.transport.structured import loosen
    >>> loosen({"properties": {"card": {"type": "array", "minItems": 5, "maxItems": 5}}})
    {'properties': {'card': {'type': 'array', 'minItems': 1}}}
    """
    properties = {
        name: {k: min(v, 1) if k == "minItems" else v for k, v in rule.items() if k != "maxItems"}
        for name, rule in schema["properties"].items()
    }
    return {**schema, "properties": properties}


def dump_input(value: Any, truncated: bool) -> str:
    """Write a tool's input as the text of an answer.

    If the answer was cut off, so may be its last text, which the provider has closed with brackets:
    they are left out, so that parsing does not take it for whole.
    """
    text = json.dumps(value, ensure_ascii=False)
    return text.rstrip('"]}') if truncated else text
