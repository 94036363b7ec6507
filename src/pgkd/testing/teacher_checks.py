"""What a teacher must bear, on a good server and on one that goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pgkd.exceptions import TeacherError
from pgkd.records import AnnotationRequest, Example, Generation, GenerationRequest
from pgkd.testing.fault_server import Fault, FaultServer

#: Faults that are over when the request is sent again: nothing may be lost to them.
PASSING = (
    Fault.rate_limit("seconds", delay=1),
    Fault.rate_limit("date", delay=1),
    Fault.rate_limit("ms", delay=0.2),
    Fault.rate_limit("reset", delay=0.2),
    Fault.error(500),
    Fault.error(503),
    Fault.error(529),
    Fault.hang_up(),
    Fault.reset_mid_body(),
    Fault.slow_body(0.2),
    Fault.huge_body(1_000_000),
    Fault.wrong_usage(),
    Fault.wrong_usage(None),
)
#: Faults of one request, which the others must not suffer from.
OF_ONE_REQUEST = (
    Fault.error(400),
    Fault.error(413),
    Fault.refusal(),
    Fault.truncated(),
    Fault.wrong_labels(),
    Fault.duplicates(),
    Fault.empty_choices(),
    Fault.broken_document(),
)
#: Faults that no other try helps against.
LASTING = (401, 403, 404)
#: Tries after which the server gives in, so that a teacher that never gives up is found.
N_REFUSALS = 5
#: Seconds that a clock may be wrong.
SLACK = 0.05

_TEXTS = {"type": "array", "items": {"type": "string"}}
#: For teachers that send no schema.
SCHEMA = {"type": "object", "properties": dict.fromkeys(("card", "rate", "pin"), _TEXTS)}


def check_generations(
    generations: Sequence[Generation], requests: Sequence[GenerationRequest | AnnotationRequest]
) -> None:
    """Check that generations are answers to these requests, and hold nothing that may not be."""
    asked = {request.id: request for request in requests}
    answered = [getattr(g, "request", None) and g.request.id for g in generations]
    for generation in generations:
        assert isinstance(generation, Generation), f"generate must yield Generation: {generation!r}"
        request = generation.request
        assert request == asked.get(request.id), f"an answer to a request not made: {request.id!r}"
        for example in generation.examples:
            assert isinstance(example.text, str), f"a text must be a str: {example.text!r}"
            _check_label(example, request)
        usage = generation.usage
        assert usage.cost is None or usage.cost >= 0, f"a cost below zero: {usage}"
        assert min(usage.n_requests, usage.input_tokens, usage.output_tokens) >= 0, (
            f"a usage below zero: {usage}"
        )
    assert len(set(answered)) == len(answered), f"a request was answered twice: {answered}"


def _check_label(example: Example, request: GenerationRequest | AnnotationRequest) -> None:
    if isinstance(request, GenerationRequest):
        labels = list(request.counts)
    else:
        choices = dict(zip(request.texts, request.shortlists))
        assert example.text in choices, f"a text that was not to be labelled: {example.text!r}"
        labels = list(choices[example.text])
    assert example.label in labels, f"the label {example.label!r} is none of the request's {labels}"


def check_faults(make: Callable[[str], Any], examples: tuple[Example, ...]) -> None:
    """Check a teacher on servers that go wrong, one fault after the other.

    Parameters
    ----------
    make : callable
        ``make(base_url)`` returns the teacher.
    examples : tuple of Example
        Real texts of ``"card"``, ``"rate"`` and ``"pin"``, to be shown.
    """
    # The first two have the same content, and still want answers of their own.
    requests = [
        GenerationRequest("1-1", {"card": 1, "rate": 1}, examples=examples),
        GenerationRequest("1-2", {"card": 1, "rate": 1}, examples=examples),
        GenerationRequest("1-3", {"pin": 1}, examples=examples),
    ]
    _check_passing(make, Fault.none(), requests)
    for fault in PASSING:
        _check_passing(make, fault, requests[:1] if fault.status == 429 else requests)
    for fault in OF_ONE_REQUEST:
        _check_fault_of_one(make, fault, requests)
    for status in LASTING:
        _check_lasting(make, status, requests[:1])
    _check_salvage(make, GenerationRequest("1-1", {"card": 3}, examples=examples))
    _check_annotations(make, examples)


def _generate(
    make: Callable[[str], Any], fault: Fault, requests: Sequence[GenerationRequest]
) -> tuple[list[Generation], FaultServer]:
    """Ask the teacher while the server plays the fault once."""
    with FaultServer([fault, Fault.none()], schema=SCHEMA, n_texts=3) as server:
        try:
            generations = list(make(server.base_url).generate(requests))
        except Exception as error:
            raise AssertionError(f"{fault!r} ended generate, with {error!r}") from error
    try:
        check_generations(generations, requests)
    except AssertionError as error:
        raise AssertionError(f"after {fault!r}: {error}") from error
    sent = set(server.texts)
    for example in (e for g in generations for e in g.examples):
        assert example.text in sent, (
            f"after {fault!r}: the text {example.text!r} was not sent, not whole, or with a label "
            "that was not asked for"
        )
    return generations, server


def _check_passing(
    make: Callable[[str], Any], fault: Fault, requests: Sequence[GenerationRequest]
) -> None:
    generations, server = _generate(make, fault, requests)
    answers = {generation.request.id: generation for generation in generations}
    for request in requests:
        answer = answers.get(request.id)
        assert answer is not None, f"{fault!r}: request {request.id!r} got no answer"
        missing = set(request.counts) - {example.label for example in answer.examples}
        assert not missing, (
            f"{fault!r}: request {request.id!r} lost its texts of {sorted(missing)}: "
            f"{answer.error or dict(answer.rejected)}"
        )
    texts = [example.text for generation in generations for example in generation.examples]
    assert len(set(texts)) == len(texts), f"{fault!r}: a text came twice: {sorted(texts)}"
    counted = sum(generation.usage.n_requests for generation in generations)
    assert counted in (0, server.n_requests), (
        f"{fault!r}: the usage has {counted} requests, the server got {server.n_requests}: failed "
        "ones count as well"
    )
    if fault.delay:
        first, second = (received.time for received in server.requests[:2])
        assert second - first > fault.delay - SLACK, (
            f"{fault!r}: asked again after {second - first:.2f} s"
        )


def _check_fault_of_one(
    make: Callable[[str], Any], fault: Fault, requests: Sequence[GenerationRequest]
) -> None:
    generations, _ = _generate(make, fault, requests)
    wanted = {request.id: set(request.counts) for request in requests}
    short = [g for g in generations if {e.label for e in g.examples} != wanted[g.request.id]]
    n_whole = len(generations) - len(short)
    assert n_whole >= len(requests) - 1, (
        f"{fault!r} of one request, and only {n_whole} of {len(requests)} got their texts: "
        f"{[g.error or dict(g.rejected) for g in short]}"
    )
    for generation in short:
        assert generation.error or generation.rejected, (
            f"{fault!r}: request {generation.request.id!r} lacks texts, and neither its `error` "
            "nor its `rejected` says why"
        )


def _check_lasting(
    make: Callable[[str], Any], status: int, requests: Sequence[GenerationRequest]
) -> None:
    _, server = _refuse(make, Fault.error(status), requests)
    headers = server.requests[0].headers
    key = headers.get("x-api-key") or headers.get("authorization", "").rpartition(" ")[2]
    if key:
        quoted = Fault.error(status, f"The API key {key} is not valid.")
        message, _ = _refuse(make, quoted, requests)
        assert key not in message, f"{quoted!r}: the error shows the API key that the server quotes"


def _refuse(
    make: Callable[[str], Any], fault: Fault, requests: Sequence[GenerationRequest]
) -> tuple[str, FaultServer]:
    """Ask the teacher while the server refuses for good; return the message of the error."""
    generations = None
    with FaultServer([fault] * N_REFUSALS + [Fault.none()], schema=SCHEMA) as server:
        try:
            generations = list(make(server.base_url).generate(requests))
        except TeacherError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"{fault!r} must be a TeacherError: {error!r}") from error
    assert generations is None, (
        f"{fault!r} is final: generate must raise a TeacherError. It asked {server.n_requests} "
        f"times and gave {[g.error or g.examples for g in generations or ()]}"
    )
    assert server.n_requests == 1, f"{fault!r} is final, and was asked {server.n_requests} times"
    return message, server


def _check_salvage(make: Callable[[str], Any], request: GenerationRequest) -> None:
    generations, server = _generate(make, Fault.truncated(), [request])
    delivered = {example.text for generation in generations for example in generation.examples}
    lost = set(server.texts[:2]) - delivered  # of three, the last is cut
    assert not lost, f"whole texts of an answer that was cut off are lost: {sorted(lost)}"


def _check_annotations(make: Callable[[str], Any], examples: tuple[Example, ...]) -> None:
    texts = ("is the card in the mail", "how many yen for a euro")
    request = AnnotationRequest("1-1", texts, (("card", "rate"), ("rate", "pin")), examples)
    for fault in (Fault.none(), Fault.wrong_labels()):
        with FaultServer([fault]) as server:
            teacher = make(server.base_url)
            if hasattr(teacher, "annotate"):
                check_generations(list(teacher.annotate([request])), [request])
