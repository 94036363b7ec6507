"""What every prompt and schema is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pgkd.records import Label

#: The beginning of what all requests of a run share.
TASK = "Task of the classifier: "


def quote(text: Any) -> str:
    """Quote a text or a label in one line, as in the answer."""
    return json.dumps(" ".join(str(text).split()), ensure_ascii=False)


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
