"""OpenAI's chat completions, as an application that classifies asks for them and reads them.

References
----------
https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.chat_logs import find_question


def read_question(body: Any) -> str:
    """Return the text that is to be classified: the last message of the user.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    question = find_question(body) if isinstance(body, Mapping) else None
    if question is None:
        raise InvalidInputError(
            "`messages` must hold a message of the role 'user' with a text, which is classified. "
            "Got none."
        )
    return question


def write_answer(body: Mapping[str, Any], label: Any, label_key: str) -> dict[str, Any] | None:
    """Return the message that says a label in the form that was asked for.

    Parameters
    ----------
    body : dict
        The request.
    label : label or list of labels
    label_key : str
        The name of the label in a JSON object whose schema is not given.

    Returns
    -------
    message : dict or None
        ``None`` if the model cannot fill the form, so that an LLM must; `explain_form` says why.

    Examples
    --------
    >>> from pgkd.serving.chat import write_answer
    >>> schema = {"properties": {"intent": {"enum": ["card", "pin"]}}}
    >>> asked = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    >>> write_answer(asked, "pin", "label")["content"]
    '{"intent": "pin"}'
    >>> write_answer({}, "pin", "label")["content"]
    'pin'
    """
    if function := _find_function(body):
        arguments = _fill(function.get("parameters"), label)
        if arguments is None:
            return None
        call = {"name": function.get("name"), "arguments": _dumps(arguments)}
        calls = [{"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": call}]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    kind = _find_form(body).get("type")
    if kind == "json_schema":
        answer = _fill(_find_schema(body), label)
        return None if answer is None else {"role": "assistant", "content": _dumps(answer)}
    if kind == "json_object":
        return {"role": "assistant", "content": _dumps({label_key: label})}
    content = label if isinstance(label, str) else _dumps(label)
    return {"role": "assistant", "content": content}


def explain_form(body: Mapping[str, Any], classes: Sequence[Any]) -> str:
    """Say why a model of these classes cannot fill the form that was asked for.

    Examples
    --------
    >>> from pgkd.serving.chat import explain_form
    >>> schema = {"properties": {"intent": {"enum": ["A", "B"]}}}
    >>> asked = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    >>> print(explain_form(asked, ["card", "pin"]))  # doctest: +NORMALIZE_WHITESPACE
    The property 'intent' must allow every class of the model: 'card', 'pin'. Got 'A', 'B' instead:
    name its classes there, or serve the model with an LLM behind it.
    """
    options, required = _read_schema(_find_schema(body))
    closed = {name: own for name, own in options.items() if own}
    if len(closed) == 1 and required <= closed.keys():
        [(name, own)] = closed.items()
        return (
            f"The property {name!r} must allow every class of the model: {_name_some(classes)}. "
            f"Got {_name_some(own)} instead: name its classes there, or serve the model with an "
            "LLM behind it."
        )
    names = list(dict.fromkeys([*options, *sorted(map(str, required))]))
    return (
        "The form of the answer must have one property, for the label: the model says no more. Got "
        f"{_name_some(names) or 'none'} instead: ask for one, or serve the model with an LLM "
        "behind it."
    )


def complete(body: Mapping[str, Any], message: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a chat completion with a message."""
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {"index": i, "message": message, "finish_reason": _reason(message), "logprobs": None}
            for i in range(body.get("n") or 1)
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def stream(body: Mapping[str, Any], completion: Mapping[str, Any]) -> Iterator[str]:
    """Yield a chat completion as the events of a stream."""
    head = {**completion, "object": "chat.completion.chunk"}
    usage = head.pop("usage")
    for choice in completion["choices"]:
        delta = dict(choice["message"])
        if calls := delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
        last = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
        for part in ({"index": choice["index"], "delta": delta, "finish_reason": None}, last):
            yield f"data: {_dumps({**head, 'choices': [part]})}\n\n"
    options = body.get("stream_options")
    if isinstance(options, Mapping) and options.get("include_usage"):
        yield f"data: {_dumps({**head, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


def join_stream(events: str) -> dict[str, Any] | None:
    """Return what the events of a stream said as a chat completion; ``None`` if it is not whole."""
    content, arguments = "", ""
    is_whole = False
    for line in events.splitlines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        try:
            for choice in json.loads(data).get("choices") or []:
                if choice.get("index", 0):
                    continue
                delta = choice.get("delta") or {}
                content += delta.get("content") or ""
                for call in delta.get("tool_calls") or []:
                    arguments += (call.get("function") or {}).get("arguments") or ""
                is_whole = is_whole or choice.get("finish_reason") is not None
        except (AttributeError, TypeError, ValueError):
            return None
    message: dict[str, Any] = {"role": "assistant", "content": content or None}
    if arguments:
        message["tool_calls"] = [{"type": "function", "function": {"arguments": arguments}}]
    return {"choices": [{"index": 0, "message": message}]} if is_whole else None


def _reason(message: Mapping[str, Any]) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


def _find_function(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the function that must be called, if one must."""
    tools = [tool for tool in body.get("tools") or () if isinstance(tool, Mapping)]
    functions = [tool["function"] for tool in tools if isinstance(tool.get("function"), Mapping)]
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping):
        name = (choice.get("function") or {}).get("name")
        return next((own for own in functions if own.get("name") == name), None)
    return functions[0] if choice == "required" and len(functions) == 1 else None


def _find_form(body: Mapping[str, Any]) -> Mapping[str, Any]:
    form = body.get("response_format")
    return form if isinstance(form, Mapping) else {}


def _find_schema(body: Mapping[str, Any]) -> Any:
    """Return the schema of the answer, of a function or of JSON."""
    if function := _find_function(body):
        return function.get("parameters")
    return (_find_form(body).get("json_schema") or {}).get("schema")


def _read_schema(schema: Any) -> tuple[dict[str, list[Any]], set[str]]:
    """Return what each property can be, as far as that is told, and the names of the required."""
    schema = schema if isinstance(schema, Mapping) else {}
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    options = {name: _find_options(own) for name, own in properties.items()}
    return options, set(schema.get("required") or ())


def _fill(schema: Any, label: Any) -> dict[str, Any] | None:
    """Put a label into an object of a schema that has room for it and needs nothing else."""
    options, required = _read_schema(schema)
    labels = label if isinstance(label, list) else [label]
    takers = [name for name, own in options.items() if own and all(one in own for one in labels)]
    if not any(options.values()):  # nothing says which it is, but if there is one alone
        takers = list(options)
    if len(takers) != 1 or required - set(takers):
        return None
    return {takers[0]: label}


def _find_options(schema: Any) -> list[Any]:
    """Return what a property, or each of its items, can be."""
    if not isinstance(schema, Mapping):
        return []
    options = schema.get("enum") or (schema.get("items") or {}).get("enum")
    return list(options) if isinstance(options, list) else []


def _name_some(values: Sequence[Any], n: int = 3) -> str:
    return ", ".join([*map(repr, values[:n]), *["..."] * (len(values) > n)])


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
