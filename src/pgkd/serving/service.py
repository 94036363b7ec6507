"""The web application: FastAPI's, with Prometheus' metrics."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from pgkd._version import __version__
from pgkd.exceptions import InvalidInputError
from pgkd.opening import load
from pgkd.serving import chat
from pgkd.serving.metrics import Metrics
from pgkd.serving.predictor import Predictor
from pgkd.serving.upstream import Upstream

#: Texts that a request may hold.
MAX_TEXTS = 10_000
#: Says who has answered: "model", "llm", or "model instead of llm" where that cannot be reached.
ANSWERED_BY = "X-Answered-By"

_logger = logging.getLogger(__name__)


class Texts(BaseModel):
    """Texts to be labelled."""

    texts: list[str] = Field(max_length=MAX_TEXTS, examples=[["where is my card"]])


class Labelled(BaseModel):
    """What the model says of a text."""

    label: Any = Field(description="A class, or a list of classes if texts have several.")
    confidence: float = Field(description="Probability of that label, in [0, 1].")
    is_unsure: bool = Field(
        description="Whether the confidence is below the model's threshold; false if it has none."
    )


#: Its body is checked by hand, since it takes all that OpenAI's takes.
CHAT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {
                    "model": "pgkd",
                    "messages": [{"role": "user", "content": "where is my card"}],
                },
            }
        },
    }
}


class Answer(BaseModel):
    """A prediction for each text, in their order."""

    predictions: list[Labelled]


def make_app(
    model: Any,
    *,
    name: str = "pgkd",
    upstream: str | None = None,
    min_confidence: float | None = None,
    keep: Path | None = None,
    label_key: str = "label",
) -> FastAPI:
    """Make a web application of a model.

    Parameters
    ----------
    model : PGKDClassifier or ExportedClassifier
        As :func:`pgkd.load` returns it.
    name : str, default="pgkd"
        Under which it is listed and answers.
    upstream : str, default=None
        Base URL of the LLM that is asked where the model is unsure. ``None``: none is.
    min_confidence : float, default=None
        The model is unsure below that confidence, in [0, 1]. ``None``: below its ``threshold_``.
    keep : Path, default=None
        File of JSON lines for the LLM's answers; ``pgkd.read_logs(keep)`` reads it.
    label_key : str, default="label"
        Name of the label in an answer that must be JSON of no given schema.

    Returns
    -------
    app : fastapi.FastAPI
        Any ASGI server runs it. ``/docs`` shows its API.

    Raises
    ------
    InvalidInputError
        If there is an LLM, and nothing that says when the model is unsure.

    Examples
    --------
    >>> import pgkd
    >>> from pgkd.serving import make_app
    >>> app = make_app(pgkd.load("model"))  # doctest: +SKIP
    """
    predictor = Predictor(model, min_confidence)
    if upstream is not None and predictor.min_confidence is None:
        raise InvalidInputError(
            "The model has no threshold, so it is never unsure and the LLM would never be asked: "
            "call `fit_threshold` before `save`, or pass `min_confidence`, e.g. 0.8."
        )
    behind = None if upstream is None else Upstream(upstream, keep)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        if behind is not None:
            await behind.close()

    # Its page of the API loads nothing from elsewhere.
    app = FastAPIOffline(redoc_url=None, title="pgkd", version=__version__, lifespan=lifespan)

    @app.exception_handler(InvalidInputError)
    async def refuse(request: Request, error: InvalidInputError) -> JSONResponse:
        kind = {"message": str(error), "type": "invalid_request_error"}
        return JSONResponse({"error": kind}, status_code=400)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the service is up."""
        return {"status": "ok", "version": __version__}

    @app.get("/metrics", response_class=Response)
    async def show_metrics() -> Response:
        """Counts and times, as Prometheus reads them."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        """The model, as OpenAI lists its own."""
        own = {"id": name, "object": "model", "created": 0, "owned_by": "pgkd"}
        return {"object": "list", "data": [own]}

    async def ask_model(texts: list[str]) -> list[Any]:
        begin = perf_counter()
        predictions = await anyio.to_thread.run_sync(predictor.predict, texts)
        metrics.seconds.observe(perf_counter() - begin)
        return predictions

    @app.post("/predict")
    async def predict(given: Texts) -> Answer:
        """Label each text, and say how sure of it the model is."""
        predictions = await ask_model(given.texts) if given.texts else []
        metrics.count("model", len(given.texts))
        return Answer(predictions=[Labelled(**vars(own)) for own in predictions])

    @app.post("/v1/chat/completions", openapi_extra=CHAT_BODY)
    async def complete(request: Request) -> Response:
        """Answer as an LLM that was asked to classify the last message of the user.

        The body is that of OpenAI's chat completions. The header `X-Answered-By` of the answer says
        who has answered: `model`, `llm`, or `model instead of llm` where that cannot be reached.
        """
        content = await request.body()
        try:
            body = await request.json()
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"The body must be JSON: {error}.") from None
        [prediction] = await ask_model([chat.read_question(body)])
        message = chat.write_answer(body, prediction.label, label_key)
        answered_by = "model"
        if behind is not None and (prediction.is_unsure or message is None):
            try:
                response = await behind.ask(content, request.headers)
            except httpx.HTTPError as error:
                _logger.warning("The LLM cannot be asked (%r).", error)
                answered_by = "model instead of llm"
            else:
                metrics.count("llm")
                return StreamingResponse(
                    behind.pass_on(response, body),
                    response.status_code,
                    {ANSWERED_BY: "llm"},
                    response.headers.get("content-type"),
                )
        if message is None:
            raise InvalidInputError(
                "The form of the answer has room for more than a label, which the model cannot "
                "fill: ask for one property, or serve the model with an LLM behind it."
            )
        metrics.count(answered_by)
        headers = {ANSWERED_BY: answered_by, "X-Confidence": f"{prediction.confidence:.4f}"}
        completion = chat.complete(body, message, name)
        if body.get("stream"):
            return StreamingResponse(
                chat.stream(completion), headers=headers, media_type="text/event-stream"
            )
        return JSONResponse(completion, headers=headers)

    return app


def run(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    upstream: str | None = None,
    min_confidence: float | None = None,
    keep: Path | None = None,
    label_key: str = "label",
) -> None:
    """Open a model and serve it until the process is told to end.

    Parameters
    ----------
    model : str or path
        A directory that `save` or `export` wrote.
    host, port : default="127.0.0.1", 8000
        Where to listen; port 0 is any that is free.
    upstream, min_confidence, keep, label_key
        Of `make_app`.

    Raises
    ------
    InvalidInputError, PersistenceError
        As `make_app` and :func:`pgkd.load` do; or if nothing can listen at `port`.
    """
    _check_free(host, port)  # before a model is opened, which may take a while
    app = make_app(
        load(model),
        name=Path(model).name,
        upstream=upstream,
        min_confidence=min_confidence,
        keep=keep,
        label_key=label_key,
    )
    uvicorn.run(app, host=host, port=port)


def _check_free(host: str, port: int) -> None:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise InvalidInputError(
            f"Nothing can listen at port {port} of {host!r} ({error}): pass another `port`, or 0 "
            "for any that is free."
        ) from None
