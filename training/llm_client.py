"""One request to an OpenAI-compatible chat endpoint: its reply, and what each failure means."""

import asyncio
import json
import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx

from data.errors import ModelError
from training.candidates import LargeModel
from training.llm_prompt import MAX_REPLY_TOKENS, Messages

MAX_REPLY_BYTES = 1 << 20
_PASSING = (408, 409, 425, 429)
"""Statuses below 500 after which the same request may succeed."""
_CODE = re.compile(r"[\w.-]{1,64}")


@dataclass(frozen=True)
class Reply:
    """What the endpoint replied."""

    content: str | None
    """None: the model refused, or the endpoint's filter did."""
    tokens: tuple[int, int] | None
    """Input and output tokens, from `usage`; None where the endpoint does not report them."""
    latency_ms: float


class NoReplyYet(Exception):
    """A request that may succeed later.

    Args:
        reason: What happened.
        retry_after_s: Seconds after which the endpoint expects the next request; None where it states none.
        may_be_charged: Whether the endpoint may charge for it although no reply came.
    """

    def __init__(self, reason: str, *, retry_after_s: float | None = None, may_be_charged: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.retry_after_s, self.may_be_charged = reason, retry_after_s, may_be_charged


class ChatClient:
    """Sends requests to the endpoint of one large model. Neither the key nor a text is in any error."""

    def __init__(self, peer: LargeModel, key: str) -> None:
        self._peer = peer
        limits = httpx.Limits(max_connections=peer.concurrency)
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(headers=headers, timeout=peer.timeout_s, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._http.aclose()

    async def send(self, messages: Messages) -> Reply:
        """Send one request, at most `timeout_s` seconds long.

        Raises:
            NoReplyYet: A rate limit, an error of the server, a time-out or a broken connection.
            ModelError: The endpoint refuses the key, the model or the request, or is no chat endpoint: no request can succeed.
        """
        body = {"model": self._peer.model, "messages": messages, "temperature": 0, "max_tokens": MAX_REPLY_TOKENS}
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._peer.timeout_s):
                status, headers, content = await self._post(body)
        except (TimeoutError, httpx.TimeoutException):
            raise NoReplyYet(f"no reply within {self._peer.timeout_s:g} s", may_be_charged=True) from None
        except httpx.ConnectError:
            raise NoReplyYet("the connection was refused") from None
        except httpx.HTTPError as error:
            raise NoReplyYet(f"the connection broke ({type(error).__name__})", may_be_charged=True) from None
        if status in _PASSING or status >= 500:
            raise NoReplyYet(f"HTTP {status}", retry_after_s=_retry_after(headers.get("retry-after")))
        latency_ms = 1e3 * (time.monotonic() - started)
        return self._refused(status, content, latency_ms) if status != 200 else self._reply(content, latency_ms)

    async def _post(self, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        content = bytearray()
        async with self._http.stream("POST", f"{self._peer.base_url}/chat/completions", json=body) as response:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_REPLY_BYTES:
                    raise self._no_chat_endpoint(f"a reply of more than {MAX_REPLY_BYTES:,} bytes")
        return response.status_code, response.headers, bytes(content)

    def _reply(self, content: bytes, latency_ms: float) -> Reply:
        try:
            value = json.loads(content)
            choice = value["choices"][0]
            text = choice["message"].get("content")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise self._no_chat_endpoint("a reply that is no chat completion") from None
        return Reply(text if isinstance(text, str) else None, _tokens(value.get("usage")), latency_ms)

    def _refused(self, status: int, content: bytes, latency_ms: float) -> Reply:
        """Return the reply of a content filter, which refuses one text; raise on what refuses every request."""
        codes = _codes(content)
        if status == 400 and "content_filter" in codes:
            return Reply(None, (0, 0), latency_ms)
        found = f"HTTP {status} ({', '.join(codes)})" if codes else f"HTTP {status}"
        where = f"the endpoint {self._peer.base_url}"
        if status in (401, 403):
            raise ModelError(
                f"The API key is refused by {where}.",
                found=found,
                expected=f"a key that may use {self._peer.model}",
                remedy="Set GROUNDSWELL_LLM__API_KEY to a key of this endpoint.",
            )
        if status == 404:
            raise ModelError(
                f"The model {self._peer.model} is not found at {where}.",
                found=found,
                remedy="Correct base_url or model of the candidate in configs/candidates.yaml.",
            )
        if 300 <= status < 400:
            raise self._no_chat_endpoint(f"{found}, a redirect")
        raise ModelError(
            f"The request is refused by {where}.",
            found=found,
            expected="an endpoint that takes model, messages, temperature and max_tokens",
            remedy="Correct the candidate in configs/candidates.yaml; a model without these parameters cannot be a candidate.",
        )

    def _no_chat_endpoint(self, found: str) -> ModelError:
        return ModelError(
            f"{self._peer.base_url} is no OpenAI-compatible chat endpoint.",
            found=found,
            expected="a chat completion in JSON, with choices[0].message",
            remedy="Correct base_url of the candidate in configs/candidates.yaml; it usually ends in /v1.",
        )


def _tokens(usage: Any) -> tuple[int, int] | None:
    """Return input and output tokens; None where `usage` does not have both."""
    try:
        tokens = usage["prompt_tokens"], usage["completion_tokens"]
    except (LookupError, TypeError):
        return None
    return tokens if all(type(each) is int and each >= 0 for each in tokens) else None


def _codes(content: bytes) -> list[str]:
    """Return code, type and parameter of an error reply. Its message is left out, since it may repeat the text or the key."""
    try:
        error = json.loads(content)["error"]
        found = [error.get(name) for name in ("code", "type", "param")]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
    return [each for each in found if isinstance(each, str) and _CODE.fullmatch(each)]


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which is a number or a date; None for anything else."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None if math.isnan(seconds) else max(0.0, seconds)
