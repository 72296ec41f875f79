"""Why a feed cannot be read, and whether it may be readable later.

StreamError
└── FeedError              until something is changed: no feed, not allowed, gone
    └── FeedUnavailable    at the moment: a time-out, an overloaded server, a rate limit

All are `GroundswellError`s.
"""

from data.errors import StreamError


class FeedError(StreamError):
    """A feed cannot be read until something is changed.

    Args:
        message: What went wrong.
        found: What was found.
        expected: What was expected.
        remedy: What to do about it.
        status: The HTTP status, where the server responded with one.
    """

    def __init__(
        self,
        message: str,
        *,
        found: object = None,
        expected: object = None,
        remedy: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, found=found, expected=expected, remedy=remedy)
        self.status = status


class FeedUnavailable(FeedError):
    """A feed cannot be read at the moment.

    Args:
        message: What went wrong.
        found: What was found.
        expected: What was expected.
        remedy: What to do about it.
        status: The HTTP status, where the server responded with one.
        wait_s: Seconds that the server asks to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        found: object = None,
        expected: object = None,
        remedy: str | None = None,
        status: int | None = None,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(message, found=found, expected=expected, remedy=remedy, status=status)
        self.wait_s = wait_s
