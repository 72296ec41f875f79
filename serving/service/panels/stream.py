"""The stream's status for the dashboard: one read per second serves all viewers."""

import asyncio
import time
from pathlib import Path
from typing import Any

from serving.service.panels.schemas import StreamStatus
from serving.settings import StreamSettings

FRESH_S = 0.9


class StreamPanel:
    """Read the status in a thread, only on request."""

    def __init__(self, var: Path) -> None:
        self._var = var
        self._reader: Any = None
        self._settings: StreamSettings | None = None
        self._lock = asyncio.Lock()
        self._last: StreamStatus | None = None
        self._read_at = 0.0

    async def read(self) -> StreamStatus:
        """Return the status, at most a second old; takes some seconds if the broker or the warehouse does not respond.

        Raises:
            StreamError: The settings of the broker cannot be used.
        """
        async with self._lock:
            if self._last is None or time.monotonic() - self._read_at > FRESH_S:
                self._last = StreamStatus.model_validate(await asyncio.to_thread(self._read_now))
                self._read_at = time.monotonic()
            return self._last

    def _read_now(self) -> dict[str, Any]:
        from serving.streaming.status import StatusReader  # imports confluent-kafka, which may not be installed
        from serving.streaming.supervisor.state_files import running_stream

        settings = running_stream(self._var, StreamSettings.load())
        if self._reader is None or settings != self._settings:
            self._reader, self._settings = StatusReader(self._var, settings), settings
        return self._reader.read().to_dict()
