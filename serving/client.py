"""A typed client of the API: `SentimentClient`, and `AsyncSentimentClient` with the same methods for an event loop.

Both retry when the service is overloaded (429, 503) or unreachable, after the seconds in `Retry-After`.
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
from data.tweets.fields import whole
from serving.service.schemas import (
    MAX_TEXTS,
    MAX_WEIGHT,
    ClassifyResponse,
    JobShown,
    TextError,
    TextPrediction,
    refusal,
    weight,
)

ATTEMPTS = 5
_LONGEST_WAIT_S = 60.0
_RETRYABLE = frozenset({429, 502, 503, 504})
_backing_off = wait_exponential_jitter(multiplier=0.2, max=10.0)


class RequestRefused(GroundswellError):
    """The service responded with a problem; `status` is the HTTP status."""

    def __init__(self, message: str, *, status: int, found: Any = None) -> None:
        super().__init__(message, found=found)
        self.status = status


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, httpx.HTTPStatusError) and (seconds := error.response.headers.get("retry-after", "")).isdigit():
        return min(float(seconds), _LONGEST_WAIT_S)
    return _backing_off(state)


def _is_retryable(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _RETRYABLE
    return isinstance(error, httpx.TransportError)


_POLICY: dict[str, Any] = {"retry": retry_if_exception(_is_retryable), "wait": _wait, "reraise": True}


def _refused(error: httpx.HTTPStatusError) -> RequestRefused:
    response = error.response
    try:
        problem = response.json()
        return RequestRefused(problem["title"], status=response.status_code, found=problem["detail"])
    except (ValueError, KeyError, TypeError):
        return RequestRefused("The service refused the request.", status=response.status_code, found=response.text[:200])


def _settings(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return {"base_url": url, "headers": headers, "timeout": timeout_s}


class _Requests:
    """Texts in requests that the service accepts; a text that it cannot classify is not sent, and gets its error here."""

    def __init__(self, texts: Sequence[Any], targets: Sequence[str]) -> None:
        self._targets = targets
        self._entries: list[TextPrediction | TextError | None] = []
        self.batches: list[list[str]] = []
        together = MAX_WEIGHT
        for text in texts:
            if reason := refusal(text):
                self._entries.append(TextError(error=reason))
                continue
            self._entries.append(None)
            size = weight(text) * (1 + len(targets))
            if together + size > MAX_WEIGHT or len(self.batches[-1]) == MAX_TEXTS:
                self.batches.append([])
                together = 0
            self.batches[-1].append(whole(text))
            together += size

    def bodies(self, domain: str | None, detail: bool, tier: str | None) -> Iterator[dict[str, Any]]:
        for batch in self.batches:
            yield _body(batch, domain, detail, tier, self._targets)

    def entries(self, responses: Iterable[httpx.Response]) -> list[TextPrediction | TextError]:
        """Return one entry per text, in the order of the texts."""
        given = (one for found in responses for one in ClassifyResponse.model_validate_json(found.content).predictions)
        return [next(given) if entry is None else entry for entry in self._entries]


def _sendable(texts: Sequence[Any]) -> list[str | None]:
    """Return texts as JSON can hold them: without lone surrogates, and null for anything but a string."""
    return [whole(text) if isinstance(text, str) else None for text in texts]


def _body(
    texts: Sequence[str | None], domain: str | None, detail: bool, tier: str | None, targets: Sequence[str] = ()
) -> dict[str, Any]:
    """Make a request. What is not asked for is left out: a service of an earlier version refuses fields that it does not know."""
    asked = {"domain": domain, "tier": tier, "targets": list(targets) or None}
    return {"texts": texts, "detail": detail} | {name: value for name, value in asked.items() if value is not None}


class SentimentClient:
    """Send requests and wait for their responses; close it, or use it as a context manager."""

    def __init__(
        self, url: str = "http://127.0.0.1:3000", *, key: str | None = None, timeout_s: float = 30.0, attempts: int = ATTEMPTS
    ) -> None:
        """Make it.

        Args:
            url: Address of the service.
            key: An API key, if the service needs one.
            timeout_s: Longest wait for one response.
            attempts: Most attempts of one request.
        """
        self._http = httpx.Client(**_settings(url, key, timeout_s))
        self._retrying = Retrying(stop=stop_after_attempt(attempts), **_POLICY)

    def classify(
        self,
        texts: Sequence[str],
        *,
        domain: str | None = None,
        detail: bool = False,
        tier: str | None = None,
        targets: Sequence[str] = (),
    ) -> list[TextPrediction | TextError]:
        """Classify any number of texts; one entry each, in their order, with an error for each that cannot be classified.

        They are sent in requests of at most 256 texts, fewer where they are long. No text raises, whatever it holds.
        `targets` are companies that each text gets a score for.

        Raises:
            RequestRefused: The service refused the request, and a retry would not help.
            httpx.TransportError: The service is unreachable.
        """
        requests = _Requests(texts, targets)
        return requests.entries(
            [self._request("POST", "/v1/classify", json=body) for body in requests.bodies(domain, detail, tier)]
        )

    def respond(
        self,
        texts: Sequence[str],
        *,
        domain: str | None = None,
        detail: bool = False,
        tier: str | None = None,
        targets: Sequence[str] = (),
    ) -> ClassifyResponse:
        """Classify up to 256 texts in one request; returns the whole response, with the model version."""
        response = self._request("POST", "/v1/classify", json=_body(_sendable(texts), domain, detail, tier, targets))
        return ClassifyResponse.model_validate_json(response.content)

    def submit(
        self,
        texts: Sequence[str],
        *,
        domain: str | None = None,
        detail: bool = False,
        tier: str | None = None,
        idempotency_key: str | None = None,
    ) -> JobShown:
        """Submit up to 10,000 texts as a job. Repeating an idempotency key returns the same job."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        response = self._request("POST", "/v1/jobs", json=_body(_sendable(texts), domain, detail, tier), headers=headers)
        return JobShown.model_validate_json(response.content)

    def job(self, identity: str) -> JobShown:
        """Get the state of a job."""
        return JobShown.model_validate_json(self._request("GET", f"/v1/jobs/{identity}").content)

    def model(self) -> dict[str, Any]:
        """Describe the served model."""
        return self._request("GET", "/v1/model").json()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        def once() -> httpx.Response:
            return self._http.request(method, path, **kwargs).raise_for_status()

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
        self,
        texts: Sequence[str],
        *,
        domain: str | None = None,
        detail: bool = False,
        tier: str | None = None,
        targets: Sequence[str] = (),
    ) -> list[TextPrediction | TextError]:
        """See `SentimentClient`."""
        requests = _Requests(texts, targets)
        bodies = requests.bodies(domain, detail, tier)
        return requests.entries([await self._request("POST", "/v1/classify", json=body) for body in bodies])

    async def respond(
        self,
        texts: Sequence[str],
        *,
        domain: str | None = None,
        detail: bool = False,
        tier: str | None = None,
        targets: Sequence[str] = (),
    ) -> ClassifyResponse:
        """See `SentimentClient`."""
        response = await self._request("POST", "/v1/classify", json=_body(_sendable(texts), domain, detail, tier, targets))
        return ClassifyResponse.model_validate_json(response.content)

    async def submit(
        self,
        texts: Sequence[str],
        *,
        domain: str | None = None,
        detail: bool = False,
        tier: str | None = None,
        idempotency_key: str | None = None,
    ) -> JobShown:
        """See `SentimentClient`."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        response = await self._request("POST", "/v1/jobs", json=_body(_sendable(texts), domain, detail, tier), headers=headers)
        return JobShown.model_validate_json(response.content)

    async def job(self, identity: str) -> JobShown:
        """See `SentimentClient`."""
        return JobShown.model_validate_json((await self._request("GET", f"/v1/jobs/{identity}")).content)

    async def model(self) -> dict[str, Any]:
        """See `SentimentClient`."""
        return (await self._request("GET", "/v1/model")).json()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            return (await self._http.request(method, path, **kwargs)).raise_for_status()

        try:
            return await self._retrying(once)
        except httpx.HTTPStatusError as error:
            raise _refused(error) from None
