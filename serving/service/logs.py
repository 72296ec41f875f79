"""The service's own log: JSON lines on standard output."""

import sys
from contextlib import suppress
from functools import cache
from typing import Any

import structlog


@cache
def log() -> Any:
    """Return the logger. A line that cannot be written, as on a full disk, is lost without an error."""
    return structlog.wrap_logger(
        structlog.WriteLogger(_BestEffort()),  # type: ignore[arg-type]
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    ).bind()


class _BestEffort:
    """Standard output that ignores write errors."""

    def write(self, line: str) -> None:
        with suppress(OSError):
            sys.stdout.write(line)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stdout.flush()
