"""OpenAI's chat completions, which others speak as well."""

from __future__ import annotations

from typing import Any

from pgkd.exceptions import TeacherUnavailableError
from pgkd.inputs.text import make_valid
from pgkd.records import Completion, Usage
from pgkd.system.secret import redact
from pgkd.teachers.reading import read_count, read_text
from pgkd.teachers.transport.remote import OVERLOAD_STATUSES


def answer_format(schema: dict[str, Any]) -> dict[str, Any]:
    """Demand an answer that keeps to a JSON schema."""
    named = {"name": "texts", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def read_chat_completion(body: Any) -> tuple[Completion, str | None]:
    """Read a chat completion, and why the model refused if it did.

    Raises
    ------
    TeacherUnavailableError
        If an error takes the place of the answer, as OpenRouter tells what the provider behind it
        has answered.
    """
    choice = body["choices"][0]
    reason = choice.get("finish_reason")
    if choice.get("error") or reason == "error":
        raise _make_error(choice.get("error"), body.get("usage"))
    message = choice["message"]
    text = read_text(message.get("content"))
    is_filtered = reason == "content_filter"
    completion = Completion(
        text,
        _read_usage(body.get("usage"), text),
        truncated=reason == "length" or is_filtered,
        logprobs=read_logprobs(choice.get("logprobs")),
        filtered=is_filtered,
    )
    refusal = message.get("refusal") or (is_filtered and not text.strip() and reason)
    return completion, str(refusal) if refusal else None


def _read_usage(counts: Any, text: str) -> Usage:
    """Read the counts of tokens; they are 0 if that of the input, or of a text, is missing."""
    counts = counts if isinstance(counts, dict) else {}
    details = counts.get("prompt_tokens_details")
    n_input = read_count(counts.get("prompt_tokens"))
    n_cached = read_count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    n_output = read_count(counts.get("completion_tokens"))
    if text and not n_output:
        return Usage(1, cost=None)
    return Usage(1, n_input, n_output, cost=None, cached_tokens=min(n_cached, n_input))


def _make_error(error: Any, counts: Any) -> TeacherUnavailableError:
    code = error.get("code") if isinstance(error, dict) else None
    what = redact(str(error or "finish_reason is 'error'"))[:300]
    failure = TeacherUnavailableError(
        f"The server answered with an error: {what}", overloaded=code in OVERLOAD_STATUSES
    )
    if (usage := _read_usage(counts, "")).input_tokens:
        failure.usage = usage
    return failure


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
