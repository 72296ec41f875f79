"""Errors as problem details (RFC 9457)."""

from starlette.responses import Response

from serving.service.schemas import Problem

_TITLES = {
    400: "Not JSON",
    401: "No valid key",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not yet",
    413: "Body too large",
    422: "Not as described",
    429: "Too many requests",
    500: "The model failed",
    503: "Overloaded",
}


class Refused(Exception):
    """A request that gets no answer but a problem.

    Args:
        status: Of the response.
        detail: For the caller: what was found, what to do.
        retry_after_s: Whole seconds; none: no header.
        headers: More headers of the response.
    """

    def __init__(
        self, status: int, detail: str, *, retry_after_s: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        if retry_after_s is not None:
            self.headers["retry-after"] = str(retry_after_s)

    def response(self) -> Response:
        """The problem as it is sent."""
        problem = Problem(title=_TITLES.get(self.status, "Error"), status=self.status, detail=self.detail)
        return Response(problem.model_dump_json(), self.status, self.headers, "application/problem+json")
