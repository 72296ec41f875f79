"""Errors as problem details (RFC 9457): the catalog of all kinds, by name. `/docs` prints it."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from serving.service.schemas import Problem


@dataclass(frozen=True)
class Kind:
    """One kind of problem."""

    name: str
    """Last part of the problem's `type`, `/docs#<name>`."""
    status: int
    title: str
    meaning: str
    """For the caller: what it means and what to do."""


BAD_REQUEST = Kind("bad-request", 400, "Bad request", "The bytes are not an HTTP request, or have two `Host` headers.")
INVALID_JSON = Kind(
    "invalid-json", 400, "Invalid JSON", "The body is not JSON in UTF-8. The detail has the position of the error."
)
NO_KEY = Kind("no-key", 401, "API key missing or unknown", "Send `Authorization: Bearer <key>` with a key that is not revoked.")
NOT_LOCAL = Kind(
    "not-local", 403, "Keys are off", "Without API keys the service accepts requests from its own machine only. Turn keys on."
)
HOST_NOT_ALLOWED = Kind(
    "host-not-allowed",
    403,
    "Host not allowed",
    "The `Host` header names a host that is neither an IP address nor localhost nor in `GROUNDSWELL_SERVING__HOSTS`.",
)
CROSS_SITE = Kind(
    "cross-site", 403, "Cross-site request", "A web page of another site sent the request; only the service's own pages may."
)
NO_SCOPE = Kind("no-scope", 403, "Scope missing", "The key has no scope that opens this route. The detail names both.")
NOT_FOUND = Kind("not-found", 404, "Not found", "The route, job or text does not exist. Jobs and results are kept for a day.")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "Method not allowed", "The header `Allow` names the methods of the route.")
JOB_NOT_DONE = Kind("job-not-done", 409, "Job not done", "Results can be read once every text of the job is classified.")
TOO_LARGE = Kind("too-large", 413, "Request too large", "Send less: fewer texts, shorter ones, or several jobs.")
NOT_JSON_TYPE = Kind(
    "unsupported-media-type",
    415,
    "Unsupported content type",
    "Send `Content-Type: application/json`; jobs also accept `application/x-ndjson`, and documents as `text/html` or bytes.",
)
INVALID = Kind(
    "invalid-request",
    422,
    "Invalid request",
    "The body or a parameter does not match its description here, or no text can be classified.",
)
RATE_LIMIT = Kind(
    "rate-limit", 429, "Rate limit exceeded", "The key has used up its rate. Retry after the seconds in `Retry-After`."
)
HEADERS_TOO_LARGE = Kind("headers-too-large", 431, "Request headers too large", "Send fewer or shorter headers.")
FAILED = Kind("internal-error", 500, "Internal error", "The service failed on this request. Its log has the error by request id.")
OVERLOADED = Kind(
    "overloaded", 503, "Overloaded", "The request would wait longer than the deadline. Retry after the seconds in `Retry-After`."
)
NO_MODEL = Kind("no-model", 503, "Model not loaded", "The service is starting or stopping.")
NOT_READY = Kind("not-ready", 503, "Not ready", "`/readyz` found that requests would fail. The detail has the reasons.")
JOB_QUEUE_FULL = Kind(
    "job-queue-full", 503, "Job queue full", "The number of texts that wait in jobs is at its limit. Retry later."
)
NO_JOBS = Kind("no-jobs", 503, "Job store unavailable", "Jobs cannot be read or written now; nothing was accepted. Retry later.")
NO_FEEDBACK = Kind("no-feedback", 503, "Feedback store unavailable", "The correction was not saved. Send it again later.")
NO_DISK = Kind(
    "no-disk",
    503,
    "Not enough disk space",
    "Jobs and feedback are refused while the disk is nearly full. Classification continues. Free disk space.",
)
NO_KEYS = Kind("no-keys", 503, "API keys unavailable", "The file of API keys cannot be read, so that no key can be checked.")
NO_DATABASE = Kind(
    "no-database",
    503,
    "Message database not running",
    "Panels need the database that the stream writes to. Start it with `groundswell stream up`.",
)
DATABASE_FAILED = Kind(
    "database-failed", 503, "Message database error", "The database did not return a result for this query. Retry later."
)
STREAM_UNKNOWN = Kind("stream-unknown", 503, "Stream status unavailable", "The settings of the broker cannot be used.")
TOO_MANY_CONNECTIONS = Kind("too-many-connections", 503, "Too many connections", "Close connections that are not used.")
TIMED_OUT = Kind("timed-out", 504, "Timed out", "The response did not begin in time. Send less, or retry later.")

CATALOG: tuple[Kind, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Kind))
"""All kinds, by status."""
BODY = (INVALID_JSON, TOO_LARGE, NOT_JSON_TYPE, INVALID, OVERLOADED)
"""Of routes with a body."""


def refuses(*kinds: Kind) -> dict[str, Any]:
    """Declare the problems of a route, as its `openapi_extra`; `docs.openapi` adds those that every route has."""
    return {"x-problems": [kind.name for kind in kinds]}


def kind_of(status: int) -> Kind:
    """Return the first, most general kind of a status; a generic one for a status that is not in the catalog."""
    known = next((kind for kind in CATALOG if kind.status == status), None)
    return known or Kind("other", status, HTTPStatus(status).phrase, "")


class Refused(Exception):
    """A request that gets a problem as its response.

    Args:
        kind: Of problem; a status alone means the first kind of that status.
        detail: For the caller: what was found, what was expected, what to do.
        retry_after_s: Whole seconds; none: no header.
        headers: More headers of the response.
    """

    def __init__(
        self, kind: Kind | int, detail: str, *, retry_after_s: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind if isinstance(kind, Kind) else kind_of(kind)
        self.detail, self.headers = detail, dict(headers or {})
        if retry_after_s is not None:
            self.headers["retry-after"] = str(retry_after_s)

    @property
    def status(self) -> int:
        """Of the response."""
        return self.kind.status

    def body(self, **more: Any) -> bytes:
        """Encode the problem as JSON, with additional members."""
        kind = self.kind
        problem = Problem(type=f"/docs#{kind.name}", title=kind.title, status=kind.status, detail=self.detail)
        return json.dumps(problem.model_dump() | more, separators=(",", ":")).encode()

    def response(self, **more: Any) -> Response:
        """Make the HTTP response."""
        return Response(self.body(**more), self.status, self.headers, "application/problem+json")
