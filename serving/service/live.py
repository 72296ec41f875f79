"""`WS /v1/live`: alerts as they open and close.

One reader asks the warehouse for all viewers, and only while there are any. A viewer gets a snapshot first (the alerts of the
last day), then each alert that is new or has changed, and word when the warehouse goes away. One that does not keep up is closed,
and may come again: it loses nothing, since the next snapshot holds it.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from data.errors import GroundswellError

POLL_S = 0.5
BEHIND = 100
"""Messages that may wait for a viewer."""
_TRY_AGAIN_LATER = 1013
_SHOWN = timedelta(days=1)


class Live:
    """Reads the alerts and tells the viewers."""

    def __init__(self, read: Callable[[], list[dict[str, Any]]]) -> None:
        """Make it.

        Args:
            read: Gives the alerts of the last day; called in a thread; raises GroundswellError while the warehouse is away.
        """
        self._read = read
        self._viewers: set[asyncio.Queue[str | None]] = set()
        self._alerts: dict[str, dict[str, Any]] | None = None
        self._away: str | None = None
        self._reading: asyncio.Task[None] | None = None

    async def view(self, socket: WebSocket) -> None:
        """Serve one viewer until it goes."""
        await socket.accept()
        waiting: asyncio.Queue[str | None] = asyncio.Queue(BEHIND)
        if now := self._away or (self._snapshot() if self._alerts is not None else None):
            waiting.put_nowait(now)
        self._viewers.add(waiting)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_on())
        sending = asyncio.create_task(_send(socket, waiting))
        try:
            while True:
                await socket.receive_text()  # nothing is expected; this ends when the viewer goes
        except (WebSocketDisconnect, RuntimeError, KeyError):
            pass
        finally:
            sending.cancel()
            self._viewers.discard(waiting)

    async def _read_on(self) -> None:
        try:
            while self._viewers:
                try:
                    found = {alert["id"]: alert for alert in await asyncio.to_thread(self._read)}
                except GroundswellError as error:
                    away = json.dumps({"type": "away", "reason": error.message})
                    if self._away != away:
                        self._tell(away)
                    self._alerts, self._away = None, away
                else:
                    self._away = None
                    self._changed(found)
                await asyncio.sleep(POLL_S)
        finally:
            self._alerts = self._away = self._reading = None

    def _changed(self, found: dict[str, dict[str, Any]]) -> None:
        if self._alerts is None:
            self._alerts = found
            self._tell(self._snapshot())
            return
        news = [alert for key, alert in found.items() if self._alerts.get(key) != alert]
        self._alerts = found
        for alert in sorted(news, key=lambda alert: str(alert["detected_at"])):
            self._tell(json.dumps({"type": "alert", "alert": alert}, default=_plain))

    def _snapshot(self) -> str:
        return json.dumps({"type": "snapshot", "alerts": list((self._alerts or {}).values())}, default=_plain)

    def _tell(self, message: str) -> None:
        for waiting in list(self._viewers):
            try:
                waiting.put_nowait(message)
            except asyncio.QueueFull:
                self._viewers.discard(waiting)
                waiting.get_nowait()
                waiting.put_nowait(None)


async def _send(socket: WebSocket, waiting: asyncio.Queue[str | None]) -> None:
    while (message := await waiting.get()) is not None:
        await socket.send_text(message)
    await socket.close(_TRY_AGAIN_LATER)


def live_route(var: Path) -> WebSocketRoute:
    """The route, reading the warehouse of `var`."""
    held, clients = ExitStack(), []

    def read() -> list[dict[str, Any]]:
        from serving.warehouse.connect import connect
        from serving.warehouse.questions import ask

        try:
            if not clients:
                clients.append(held.enter_context(connect(var, own=False)))
            return ask(clients[0], "alerts", since=datetime.now(UTC) - _SHOWN, limit=1000)
        except GroundswellError:
            clients.clear()
            held.close()
            raise

    return WebSocketRoute("/v1/live", Live(read).view)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")
