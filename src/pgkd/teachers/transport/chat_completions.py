"""OpenAI's chat completions, which others speak as well."""

from __future__ import annotations

from typing import Any

from pgkd.inputs.text import make_valid
from pgkd.records import Completion, Usage
from pgkd.teachers.transport.remote import read_count


def answer_format(schema: dict[str, Any]) -> dict[str, Any]:
    """Demand an answer that keeps to a JSON schema."""
    named = {"name": "texts", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def read_chat_completion(body: Any) -> tuple[Completion, str | None]:
    """Read a chat completion, and why the model refused if it did."""
    choice = body["choices"][0]
    message = choice["message"]
    counts = body.get("usage") or {}
    details = counts.get("prompt_tokens_details") or {}
    usage = Usage(
        1,
        read_count(counts.get("prompt_tokens")),
        read_count(counts.get("completion_tokens")),
        cost=None,
        cached_tokens=read_count(details.get("cached_tokens")),
    )
    truncated = choice.get("finish_reason") == "length"
    logprobs = read_logprobs(choice.get("logprobs"))
    completion = Completion(message.get("content") or "", usage, truncated, logprobs=logprobs)
    return completion, message.get("refusal") or None


def read_logprobs(value: Any) -> tuple[dict[str, float], ...]:
    """Read the candidates of each token; what is missing or broken is no reason to lose an answer.

    Examples
    --------
    >>> from pgkd.teachers.transport.chat_completions import read_logprobs
    >>> read_logprobs({"content": [{"token": "A", "logprob": -0.1, "top_logprobs": None}]})
    ({'A': -0.1},)
    >>> read_logprobs(None)
    ()
    """
    tokens = value.get("content") if isinstance(value, dict) else None
    return tuple(map(_read_candidates, tokens)) if isinstance(tokens, list) else ()


def _read_candidates(token: Any) -> dict[str, float]:
    """Read a token's candidates, the chosen one first; none if it is not known which was chosen."""
    if not isinstance(token, dict):
        return {}
    others = token.get("top_logprobs")
    found: dict[str, float] = {}
    for candidate in (token, *(others if isinstance(others, list) else ())):
        text = candidate.get("token") if isinstance(candidate, dict) else None
        logprob = candidate.get("logprob") if isinstance(candidate, dict) else None
        # NaN is in no range; llama.cpp has the lowest float for what is impossible.
        if isinstance(text, str) and isinstance(logprob, (int, float)) and -1e9 < logprob < 1:
            found.setdefault(make_valid(text), round(float(logprob), 4))
    chosen = token.get("token")
    chosen = make_valid(chosen) if isinstance(chosen, str) else None
    if chosen not in found:
        return {}
    return {chosen: found[chosen], **found}
