"""Amazon Bedrock, by its Converse API."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio.to_thread
import httpx

from pgkd.exceptions import (
    InvalidInputError,
    TeacherAuthenticationError,
    TeacherError,
    TeacherUnavailableError,
)
from pgkd.records import Completion, Message
from pgkd.system.secret import Secret, redact
from pgkd.teachers.parameters import TEXT
from pgkd.teachers.reading import read_text
from pgkd.teachers.transport.structured import (
    TOOL_DESCRIPTION,
    TOOL_NAME,
    TRUNCATED,
    StructuredTeacher,
    dump_input,
    loosen,
)

COUNTS = ("inputTokens", "cacheWriteInputTokens", "cacheReadInputTokens", "outputTokens")
REFUSALS = frozenset({"guardrail_intervened", "content_filtered", "refusal"})
#: What a model may refuse, and what the error then says. Fewer models have structured outputs here
#: than can be forced to use a tool.
REFUSABLE: Mapping[str, Sequence[str]] = {
    "temperature": ("temperature",),
    "system": ("system message", "system prompt"),
    "toolConfig": ("toolconfig", "toolchoice", "tool_choice", "tool use", "tools"),
    "outputConfig": ("outputconfig", "output_config", "structured output", "schema", "grammar"),
}
#: Where the region comes from, if it is no parameter; then from the profile.
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
#: What a "bad request" says that all requests would be answered with.
WRONG_MODEL = ("model identifier is invalid", "on-demand throughput", "inference profile")


@dataclass(eq=False, repr=False, kw_only=True)
class BedrockTeacher(StructuredTeacher):
    """An LLM on Amazon Bedrock, by the Converse API.

    Requests are signed with the credentials that the AWS tools use as well: environment, profile,
    single sign-on, role of the container or machine; for this the package botocore is needed
    (``pip install "pgkd[bedrock]"``). A Bedrock API key does without both.

    Answers are held to a JSON schema by a tool that the model is made to use; where a model refuses
    that, by structured outputs, and else by the prompt alone.

    Parameters
    ----------
    model : str
        Id of a model or inference profile, or its ARN, e.g.
        ``"us.anthropic.claude-haiku-4-5-20251001-v1:0"``.
    region : str, default=None
        ``None``: ``$AWS_REGION``, ``$AWS_DEFAULT_REGION`` or the profile's.
    profile : str, default=None
        Name of a profile of the AWS configuration. ``None``: ``$AWS_PROFILE``, else the default.
    base_url : str, default=None
        E.g. of a VPC endpoint. ``None``: ``$AWS_ENDPOINT_URL_BEDROCK_RUNTIME``, else the region's.
    api_key : str, default=None
        A Bedrock API key. ``None``: ``$AWS_BEARER_TOKEN_BEDROCK`` when a request is sent; without
        it requests are signed. Never shown, logged, pickled or saved.
    temperature : float, default=None
        ``None``: the model's default. Left out for models that take none.
    max_tokens : int, default=None
        Limit of an answer's tokens. ``None``: the model's.
    timeout : float, default=300
        Seconds that an answer may take, from the request to its last byte.
    max_concurrency : int, default=8
        Requests under way at once; fewer while the server answers that there are too many.
    requests_per_minute : int, default=None
    tokens_per_minute : int or tuple of (int, int), default=None
        Input and output tokens together, or apart.
    max_retries : int, default=5
        Further tries after a rate limit, a server error or a dropped connection.
    price : tuple of float, default=None
        US dollars for a million input and a million output tokens; a third number is the price of
        cached input tokens. ``None``: looked up by genai-prices if that is installed, else not
        known.
    extra_body : dict, default=None
        Further parameters of the request, e.g. ``{"guardrailConfig": {...}}`` or
        ``{"additionalModelRequestFields": {...}}``.

    References
    ----------
    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
    https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html

    Examples
    --------
    >>> from pgkd.teachers import BedrockTeacher
    >>> BedrockTeacher("amazon.nova-lite-v1:0", region="us-east-1")
    BedrockTeacher(model='amazon.nova-lite-v1:0', region='us-east-1')
    """

    key_variable = "AWS_BEARER_TOKEN_BEDROCK"
    url_variable = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"
    price_provider = "aws"
    presence_path = ""  # where any answer will do
    refusable = REFUSABLE

    _without_effect = StructuredTeacher._without_effect | {"region", "profile"}
    _rules = StructuredTeacher._rules | {
        "region": TEXT.or_none("that of the environment"),
        "profile": TEXT.or_none("that of the environment"),
    }

    region: str | None = None
    profile: str | None = None
    timeout: float = 300.0

    @property
    def default_base_url(self) -> str:  # type: ignore[override]
        """The endpoint of the region."""
        region = self._region()
        suffix = ".cn" if region.startswith("cn-") else ""
        return f"https://bedrock-runtime.{region}.amazonaws.com{suffix}"

    def _is_default(self) -> bool:
        """Whether AWS is asked, be it through a VPC endpoint."""
        given = self.base_url or os.environ.get(self.url_variable)
        return not given or httpx.URL(given).host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    def _region(self) -> str:
        given = (self.region, *map(os.environ.get, REGION_VARIABLES))
        region = next(filter(None, given), None)
        if region is None and not self._key():
            region = _open_session(self.profile).get_config_variable("region")
        if region is None:
            raise InvalidInputError(
                "BedrockTeacher has no region: pass `region=...`, e.g. 'us-east-1', or set "
                "AWS_REGION."
            )
        return str(region)

    @property
    def lacks_key(self) -> bool:
        """False: looking for AWS credentials may run a program, or ask the network."""
        return False

    def _check_key(self) -> None:
        self._auth()

    def _auth(self) -> httpx.Auth | None:
        if self._key():
            return None
        why = "there are none"
        try:
            credentials = _open_session(self.profile).get_credentials()
        except _botocore_error() as error:
            credentials, why = None, redact(str(error))
        if credentials is None:
            raise _no_credentials(why)
        return _SigV4(credentials, self._region())

    def _path(self) -> str:
        return f"model/{quote(self.model, safe='')}/converse"

    def _body(
        self, messages: Sequence[Message], schema: dict[str, Any], left_out: frozenset[str]
    ) -> dict[str, Any]:
        schema = loosen(schema)
        extra = self.extra_body or {}
        inference = {
            "maxTokens": self.max_tokens,
            "temperature": None if "temperature" in left_out else self.temperature,
            **extra.get("inferenceConfig", {}),
        }
        body: dict[str, Any] = _prompt(messages, merge="system" in left_out) | extra
        body["inferenceConfig"] = {k: v for k, v in inference.items() if v is not None}
        if "toolConfig" not in left_out:
            tool = {
                "name": TOOL_NAME,
                "description": TOOL_DESCRIPTION,
                "inputSchema": {"json": schema},
            }
            body["toolConfig"] = {
                "tools": [{"toolSpec": tool}],
                "toolChoice": {"tool": {"name": TOOL_NAME}},
            }
        elif "outputConfig" not in left_out:
            structure = {"jsonSchema": {"name": TOOL_NAME, "schema": json.dumps(schema)}}
            body["outputConfig"] = {
                **extra.get("outputConfig", {}),
                "textFormat": {"type": "json_schema", "structure": structure},
            }
        return body

    def _read(self, body: Any) -> tuple[Completion, str | None]:
        reason = body["stopReason"]
        truncated = reason in TRUNCATED
        blocks = body["output"]["message"]["content"]
        if not isinstance(blocks, list):
            blocks = [{"text": blocks}]
        text = "".join(_read_block(block, truncated) for block in blocks)
        usage = self._count(body.get("usage"), COUNTS, text)
        refusal = f"{reason}: {text}" if reason in REFUSALS else None
        return Completion(text, usage, truncated), refusal

    def _message(self, response: httpx.Response) -> str:
        """First line of an error: further ones may quote the request, session token included."""
        try:
            body = response.json()
            text = str(body.get("message") or body.get("Message") or response.text)
        except (ValueError, AttributeError):
            text = response.text
        return text.split("\n", 1)[0]

    def _error(self, response: httpx.Response) -> TeacherError:
        error = super()._error(response)
        if response.status_code in (401, 403):
            return TeacherAuthenticationError(
                f"{error} Where requests are signed, check the AWS credentials. They must allow "
                f"bedrock:InvokeModel for {self.model!r} in this region."
            )
        if response.status_code == 400 and any(words in response.text for words in WRONG_MODEL):
            return TeacherError(f"{error} Check the model {self.model!r} and the region.")
        if response.status_code == 424:  # the model failed, not the request
            return TeacherUnavailableError(str(error))
        return error


class _SigV4(httpx.Auth):
    """Sign requests as AWS demands."""

    requires_request_body = True

    def __init__(self, credentials: Any, region: str) -> None:
        self._credentials = credentials
        self._region = region
        # botocore logs what it signs, a session token included.
        logging.getLogger("botocore.auth").addFilter(_hide_request)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        keys = await self._find_keys()
        credentials = Credentials(*(key.reveal("the AWS credentials") for key in keys))
        signed = AWSRequest(
            method=request.method,
            url=str(request.url),
            data=await request.aread(),
            headers={"Content-Type": request.headers["Content-Type"]},
        )
        SigV4Auth(credentials, "bedrock", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request

    async def _find_keys(self) -> list[Secret]:
        """Return the access key, the secret key and the session token, as they are now."""
        try:  # in a thread: those of a role are fetched anew before they expire
            now = await anyio.to_thread.run_sync(self._credentials.get_frozen_credentials)
            return [Secret(now.access_key), Secret(now.secret_key), Secret(now.token)]
        except _botocore_error() as error:
            failure = _no_credentials(redact(str(error)))
        raise failure


def _hide_request(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("CanonicalRequest")


def _open_session(profile: str | None) -> Any:
    try:
        import botocore.session
    except ImportError as error:
        raise InvalidInputError(
            "BedrockTeacher needs the package botocore to sign requests: pip install "
            '"pgkd[bedrock]", or pass a Bedrock API key and a region, `api_key=...` and '
            "`region=...`."
        ) from error
    return botocore.session.Session(profile=profile)


def _botocore_error() -> type[Exception]:
    from botocore.exceptions import BotoCoreError

    error: type[Exception] = BotoCoreError
    return error


def _no_credentials(why: str) -> TeacherAuthenticationError:
    return TeacherAuthenticationError(
        f"No AWS credentials for Bedrock: {why}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "pass `profile=...`, run `aws sso login`, or pass a Bedrock API key as `api_key` or "
        "AWS_BEARER_TOKEN_BEDROCK."
    )


def _prompt(messages: Sequence[Message], *, merge: bool) -> dict[str, Any]:
    """System prompt and messages; merged for models without system prompts."""
    system = [{"text": m["content"]} for m in messages if m["role"] == "system"]
    chat: list[dict[str, Any]] = [
        {"role": m["role"], "content": [{"text": m["content"]}]}
        for m in messages
        if m["role"] != "system"
    ]
    if merge:
        chat[0]["content"] = system + chat[0]["content"]
    return {"messages": chat, **({"system": system} if system and not merge else {})}


def _read_block(block: Mapping[str, Any], truncated: bool) -> str:
    """Text of a block; that of reasoning is no part of the answer."""
    if "toolUse" in block:
        return dump_input(block["toolUse"]["input"], truncated)
    return read_text(block.get("text"))
