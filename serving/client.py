"""A typed client of the API: `SentimentClient` and, with the same methods to be awaited, `AsyncSentimentClient`.

Both try again when the service is full (429, 503) or not there, and wait as long as its `Retry-After` says.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from data.errors import GroundswellError
from serving.service.schemas import MAX_TEXTS, Answer, ClassifyResponse, JobShown, NotJudged

ATTEMPTS = 5
_LONGEST_WAIT_S = 60.0
_AGAIN = frozenset({429, 502, 503, 504})
_backing_off = wait_exponential_jitter(multiplier=0.2, max=10.0)


class RequestRefused(GroundswellError):
    """The service answered with a problem; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int, found: Any = None) -> None:
        super().__init__(message, found=found)
        self.status = status


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, httpx.HTTPStatusError) and (said := error.response.headers.get("retry-after", "")).isdigit():
        return min(float(said), _LONGEST_WAIT_S)
    return _backing_off(state)


def _worth_another_try(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _AGAIN
    return isinstance(error, httpx.TransportError)


_POLICY: dict[str, Any] = {"retry": retry_if_exception(_worth_another_try), "wait": _wait, "reraise": True}


def _refused(error: httpx.HTTPStatusError) -> RequestRefused:
    response = error.response
    try:
        problem = response.json()
        return RequestRefused(problem["title"], status=response.status_code, found=problem["detail"])
    except (ValueError, KeyError, TypeError):
        return RequestRefused("The service refused.", status=response.status_code, found=response.text[:200])


def _settings(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return {"base_url": url, "headers": headers, "timeout": timeout_s}


def _bodies(texts: Sequence[str], domain: str | None, detail: bool) -> Iterator[dict[str, Any]]:
    for start in range(0, len(texts), MAX_TEXTS):
        yield {"texts": list(texts[start : start + MAX_TEXTS]), "domain": domain, "detail": detail}


def _predictions(responses: Iterable[httpx.Response]) -> list[Answer | NotJudged]:
    return [entry for response in responses for entry in ClassifyResponse.model_validate_json(response.content).predictions]


class SentimentClient:
    """Asks and waits for the answer; close it, or use it as a context manager."""

    def __init__(
        self, url: str = "http://127.0.0.1:3000", *, key: str | None = None, timeout_s: float = 30.0, attempts: int = ATTEMPTS
    ) -> None:
        """Make it.

        Args:
            url: Where the service is.
            key: An API key, where the service asks for one.
            timeout_s: Longest wait for one response.
            attempts: How often a request is tried.
        """
        self._http = httpx.Client(**_settings(url, key, timeout_s))
        self._retrying = Retrying(stop=stop_after_attempt(attempts), **_POLICY)

    def classify(self, texts: Sequence[str], *, domain: str | None = None, detail: bool = False) -> list[Answer | NotJudged]:
        """Judge any number of texts: one entry for each, in their order; 256 go into one request.

        Raises:
            RequestRefused: The service said no, and would again.
            httpx.TransportError: It cannot be reached.
        """
        return _predictions([self._ask("POST", "/v1/classify", json=body) for body in _bodies(texts, domain, detail)])

    def respond(self, texts: Sequence[str], *, detail: bool = False) -> ClassifyResponse:
        """One request with up to 256 texts: the answers, and the version that gave them."""
        response = self._ask("POST", "/v1/classify", json={"texts": list(texts), "detail": detail})
        return ClassifyResponse.model_validate_json(response.content)

    def submit(self, texts: Sequence[str], *, detail: bool = False, idempotency_key: str | None = None) -> JobShown:
        """Have up to 10,000 texts judged later. With an idempotency key, asking twice makes one job."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        response = self._ask("POST", "/v1/jobs", json={"texts": list(texts), "detail": detail}, headers=headers)
        return JobShown.model_validate_json(response.content)

    def job(self, identity: str) -> JobShown:
        """Where a job stands."""
        return JobShown.model_validate_json(self._ask("GET", f"/v1/jobs/{identity}").content)

    def model(self) -> dict[str, Any]:
        """Which model answers."""
        return self._ask("GET", "/v1/model").json()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, road: str, **kwargs: Any) -> httpx.Response:
        def once() -> httpx.Response:
            return self._http.request(method, road, **kwargs).raise_for_status()

        try:
            return self._retrying(once)
        except httpx.HTTPStatusError as error:
            raise _refused(error) from None


class AsyncSentimentClient:
    """As `SentimentClient`, for an event loop."""

    def __init__(
        self, url: str = "http://127.0.0.1:3000", *, key: str | None = None, timeout_s: float = 30.0, attempts: int = ATTEMPTS
    ) -> None:
        """See `SentimentClient`."""
        self._http = httpx.AsyncClient(**_settings(url, key, timeout_s))
        self._retrying = AsyncRetrying(stop=stop_after_attempt(attempts), **_POLICY)

    async def classify(
        self, texts: Sequence[str], *, domain: str | None = None, detail: bool = False
    ) -> list[Answer | NotJudged]:
        """See `SentimentClient`."""
        return _predictions([await self._ask("POST", "/v1/classify", json=body) for body in _bodies(texts, domain, detail)])

    async def respond(self, texts: Sequence[str], *, detail: bool = False) -> ClassifyResponse:
        """See `SentimentClient`."""
        response = await self._ask("POST", "/v1/classify", json={"texts": list(texts), "detail": detail})
        return ClassifyResponse.model_validate_json(response.content)

    async def submit(self, texts: Sequence[str], *, detail: bool = False, idempotency_key: str | None = None) -> JobShown:
        """See `SentimentClient`."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        response = await self._ask("POST", "/v1/jobs", json={"texts": list(texts), "detail": detail}, headers=headers)
        return JobShown.model_validate_json(response.content)

    async def job(self, identity: str) -> JobShown:
        """See `SentimentClient`."""
        return JobShown.model_validate_json((await self._ask("GET", f"/v1/jobs/{identity}")).content)

    async def model(self) -> dict[str, Any]:
        """See `SentimentClient`."""
        return (await self._ask("GET", "/v1/model")).json()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, method: str, road: str, **kwargs: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            return (await self._http.request(method, road, **kwargs)).raise_for_status()

        try:
            return await self._retrying(once)
        except httpx.HTTPStatusError as error:
            raise _refused(error) from None
