"""How the stream stands, for the dashboard: one look a second serves all viewers."""

import asyncio
import time
from pathlib import Path
from typing import Any

from serving.service.panel_schemas import StreamStatus
from serving.settings import StreamSettings

FRESH_S = 0.9


class StreamPanel:
    """Reads the status in a thread, and only while somebody asks."""

    def __init__(self, var: Path) -> None:
        self._var = var
        self._reader: Any = None
        self._settings: StreamSettings | None = None
        self._lock = asyncio.Lock()
        self._last: StreamStatus | None = None
        self._read_at = 0.0

    async def read(self) -> StreamStatus:
        """The status, at most a second old; waits for some seconds where broker or warehouse do not answer.

        Raises:
            StreamError: The settings of the broker cannot be used.
        """
        async with self._lock:
            if self._last is None or time.monotonic() - self._read_at > FRESH_S:
                self._last = StreamStatus.model_validate(await asyncio.to_thread(self._look))
                self._read_at = time.monotonic()
            return self._last

    def _look(self) -> dict[str, Any]:
        from serving.streaming.status import StatusReader  # with confluent-kafka, which nobody may need
        from serving.streaming.supervisor_files import running_stream

        settings = running_stream(self._var, StreamSettings.load())
        if self._reader is None or settings != self._settings:
            self._reader, self._settings = StatusReader(self._var, settings), settings
        return self._reader.read()
