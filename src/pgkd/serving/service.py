"""The web application: FastAPI's, with Prometheus' metrics."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
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

#: What `/docs` says of groups of paths.
TAGS = [
    {"name": "classify", "description": "Labels for texts."},
    {"name": "operate", "description": "For what runs and watches the service."},
]

_logger = logging.getLogger(__name__)


def _show_json(example: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"type": "object"}, "example": example}}


class Texts(BaseModel):
    """Texts to be labelled."""

    texts: list[str] = Field(max_length=MAX_TEXTS, examples=[["a text", "another text"]])


class Labelled(BaseModel):
    """What the model says of a text."""

    label: Any = Field(description="A class, or a list of classes if texts have several.")
    confidence: float = Field(description="Probability of that label, in [0, 1].")
    is_unsure: bool = Field(
        description="Whether the confidence is below the model's threshold; false if it has none."
    )


class Answer(BaseModel):
    """A prediction for each text, in their order."""

    predictions: list[Labelled]


class Problem(BaseModel):
    """Why there is no answer."""

    message: str
    type: str = "invalid_request_error"


class Refusal(BaseModel):
    """A problem, in the shape of OpenAI's API."""

    error: Problem


#: What `/docs` says of the chat completions, whose bodies are read and written by hand.
CHAT = {
    "requestBody": {
        "required": True,
        "content": _show_json(
            {"model": "pgkd", "messages": [{"role": "user", "content": "a text"}]}
        ),
    },
    "responses": {
        "200": {
            "content": _show_json(
                {
                    **chat.complete({}, {"role": "assistant", "content": "a label"}, "pgkd"),
                    "id": "chatcmpl-1",
                    "created": 1700000000,
                }
            )
        }
    },
}


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
    app = FastAPIOffline(
        redoc_url=None,
        title=name,
        version=__version__,
        description=f"Classifies texts: {len(model.classes_)} classes, by pgkd. An application "
        "that has an LLM classify takes the address of this service, followed by `/v1`, as the "
        "base URL of its OpenAI client, and changes nothing else.",
        openapi_tags=TAGS,
        lifespan=lifespan,
    )

    def refuse(message: str, status_code: int) -> JSONResponse:
        refusal = Refusal(error=Problem(message=message))
        return JSONResponse(refusal.model_dump(), status_code=status_code)

    @app.exception_handler(InvalidInputError)
    async def refuse_input(request: Request, error: InvalidInputError) -> JSONResponse:
        return refuse(str(error), 400)

    @app.exception_handler(RequestValidationError)
    async def refuse_body(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return refuse(
            'The body must be JSON such as {"texts": ["a text"]}, sent with the header '
            f"`Content-Type: application/json`. What is wrong at `{where}`: {first['msg']}.",
            422,
        )

    @app.exception_handler(404)
    async def refuse_path(request: Request, error: Exception) -> JSONResponse:
        return refuse(
            f"There is no {request.method} {request.url.path}. Of OpenAI's API, this service has "
            "/v1/chat/completions and /v1/models. All that it has is at /docs.",
            404,
        )

    @app.get("/", include_in_schema=False)
    async def show_docs() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.get("/health", tags=["operate"], summary="Whether the service is up")
    async def health() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @app.get(
        "/metrics",
        tags=["operate"],
        summary="Counts and times, as Prometheus reads them",
        response_class=Response,
    )
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models", tags=["classify"], summary="The model, as OpenAI lists its own")
    async def list_models() -> dict[str, Any]:
        own = {"id": name, "object": "model", "created": 0, "owned_by": "pgkd"}
        return {"object": "list", "data": [own]}

    async def ask_model(texts: list[str]) -> list[Any]:
        begin = perf_counter()
        predictions = await anyio.to_thread.run_sync(predictor.predict, texts)
        metrics.seconds.observe(perf_counter() - begin)
        return predictions

    @app.post(
        "/predict",
        tags=["classify"],
        summary="Label each text, and say how sure of it the model is",
        responses={400: {"model": Refusal}, 422: {"model": Refusal}},
    )
    async def predict(given: Texts) -> Answer:
        predictions = await ask_model(given.texts) if given.texts else []
        metrics.count("model", len(given.texts))
        return Answer(predictions=[Labelled(**vars(own)) for own in predictions])

    @app.post(
        "/v1/chat/completions",
        tags=["classify"],
        summary="Label the last message of the user, as an LLM would",
        responses={400: {"model": Refusal}},
        openapi_extra=CHAT,
    )
    async def complete(request: Request) -> Response:
        """Answer as an LLM that was asked to classify.

        The body is that of OpenAI's chat completions. The header `X-Answered-By` of the answer says
        who has answered: `model`, `llm`, or `model instead of llm` where that cannot be reached.
        """
        content = await request.body()
        try:
            body = await request.json()
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"The body must be JSON: {error}.") from None
        [prediction] = await ask_model([chat.read_question(body)])
        try:
            message = chat.write_answer(body, prediction.label, label_key)
        except (AttributeError, TypeError) as error:
            raise InvalidInputError(
                "The form of the answer cannot be read: `response_format` and `tools` must be as "
                f"OpenAI's clients write them ({error})."
            ) from None
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
            raise InvalidInputError(chat.explain_form(body, model.classes_.tolist()))
        metrics.count(answered_by)
        headers = {ANSWERED_BY: answered_by, "X-Confidence": f"{prediction.confidence:.4f}"}
        completion = chat.complete(body, message, name)
        if body.get("stream"):
            return StreamingResponse(
                chat.stream(body, completion), headers=headers, media_type="text/event-stream"
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
    classifier = load(model)
    app = make_app(
        classifier,
        name=Path(model).resolve().name,
        upstream=upstream,
        min_confidence=min_confidence,
        keep=keep,
        label_key=label_key,
    )
    config = uvicorn.Config(app, host=host, port=port)
    with suppress(KeyboardInterrupt):
        _Server(config, f"{app.title}, {len(classifier.classes_)} classes").run()


class _Server(uvicorn.Server):  # type: ignore[misc]
    """Says in uvicorn's own log what it serves, and where, when it does."""

    def __init__(self, config: uvicorn.Config, what: str) -> None:
        super().__init__(config)
        self.what = what

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        host, port = self.config.host, self.servers[0].sockets[0].getsockname()[1]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        logging.getLogger("uvicorn.error").info(
            "Serving %s. Docs: %s/docs. Base URL for OpenAI clients: %s/v1", self.what, url, url
        )


def _check_free(host: str, port: int) -> None:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        raise InvalidInputError(
            f"Nothing can listen at port {port} of {host!r} ({reason}): pass another `port`, or 0 "
            "for any that is free."
        ) from None
