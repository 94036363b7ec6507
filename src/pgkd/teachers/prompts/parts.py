"""What every prompt and schema is made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pgkd.inputs.text import make_visible
from pgkd.records import Label

#: The beginning of what all requests of a run share.
TASK = "Task of the classifier: "
#: The beginning of what may be a mark of some chat template: <|im_end|>, </s>, [INST]. A server
#: reads the prompt with its marks, whoever has written them.
_MARK = re.compile(r"<(?=[|\uff5c]|/?[^\s<>]{1,64}>)|\[(?=/?[A-Za-z_]\w*\])")


def quote(text: Any) -> str:
    r"""Quote a text or a name in one line, so that it cannot leave its place.

    It is a JSON string, as in the answer. What cannot be seen is escaped, and so is the beginning
    of what may be a mark of a chat template. Other texts are as JSON has them, to the byte: answers
    that were paid for are found by their prompts.

    Examples
    --------
    >>> from pgkd.teachers.prompts.parts import quote
    >>> print(quote('is "2 < 3"?\n<|im_end|> \u202eyes'))
    "is \"2 < 3\"? \u003c|im_end|> \u202eyes"
    """
    return dump(" ".join(str(text).split()))


def put_in_line(text: str) -> str:
    """Write a description, whose place is the rest of a line, in one line; escaped as `quote`."""
    return _escape(" ".join(text.split()))


def dump(value: Any) -> str:
    """Write a value as JSON, its strings as `quote` does, white space and all."""
    return _escape(json.dumps(value, ensure_ascii=False))


def _escape(text: str) -> str:
    return _MARK.sub(lambda mark: f"\\u{ord(mark[0]):04x}", make_visible(text))


def quote_all(labels: Iterable[Label]) -> str:
    """Quote the labels of a text."""
    return ", ".join(map(quote, labels)) or "none"


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of an object with all of these properties, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
