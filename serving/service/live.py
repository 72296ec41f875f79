"""`WS /v1/live`: what the stream says now, told to all viewers from one look at the warehouse.

While anybody watches, the last seconds of the rollups are read some ten times a second, the alerts twice, the newest messages
once. Each part of what is known carries the tick at which it last changed; a viewer who has seen tick n is told what changed
after n. So a frame is as large as what changed, viewers at the same tick share its encoding, one who is slow skips frames and is
told the sum of them, and one who comes back gets a snapshot. Values are absolute: nothing is missed, nothing counted twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from data.errors import GroundswellError
from serving.service.panel_schemas import AlertShown, LiveFrame, Message, Normal
from serving.service.problems import Refused

TICK_S = 0.1
BUSY = 0.2
"""Largest share of the time that looking at the warehouse may take."""
RECENT_S = 15
"""Seconds that each look reads; all of the window is read every `WHOLE_S`, for messages that came late."""
WINDOW_S = 600
WHOLE_S = 5.0
ALERTS_S, MESSAGES_S, NORMAL_S = 0.5, 1.0, 5.0
SHOWN = 30
"""Newest messages told."""
SILENT_S = 5.0
"""A viewer hears at least so often, and its key is looked at again."""
SEND_S = 20.0
"""A viewer that takes nothing for so long is let go."""
SUBPROTOCOL = "groundswell"
_DAY = timedelta(days=1)
_POLICY, _TRY_AGAIN_LATER, _GOING = 1008, 1013, 1012
_log = structlog.get_logger()

Ask = Callable[..., Awaitable[list[dict[str, Any]]]]
Cell = tuple[int, int, int, float]


class State:
    """What viewers see. Changes count from the next tick on, which `publish` makes the current one."""

    def __init__(self) -> None:
        self.tick = 0
        self.since = 0
        self.away: str | None = None
        self._changed = asyncio.Event()
        self._dirty = False
        self._cells: dict[tuple[int, str], tuple[Cell, int]] = {}
        self._alerts: dict[str, tuple[AlertShown, int]] = {}
        self._messages: tuple[list[Message], int] = ([], 0)
        self._normal: tuple[dict[str, list[Normal]], int] = ({}, 0)
        self._frames: dict[int, str] = {}

    def put_cells(self, rows: list[dict[str, Any]], since: int) -> None:
        """All cells from a second on; one that is no longer there has become empty."""
        if self.tick == 0:
            self._touch()  # that there is nothing is worth telling too
        found = {(r["second"], r["source"]): (r["negative"], r["neutral"], r["positive"], r["score"]) for r in rows}
        for key in self._cells.keys() - found.keys():
            if key[0] >= since:
                found[key] = (0, 0, 0, 0.0)
        for key, cell in found.items():
            if self._cells.get(key, (None,))[0] != cell:
                self._cells[key] = cell, self._touch()

    def forget_before(self, second: int) -> None:
        """Let go of older seconds."""
        self.since = second
        for key in [key for key in self._cells if key[0] < second]:
            del self._cells[key]

    def put_alerts(self, rows: list[dict[str, Any]]) -> None:
        """All alerts that are shown."""
        found = {row["id"]: AlertShown.model_validate(row) for row in rows}
        self._alerts = {key: held for key, held in self._alerts.items() if key in found}
        for key, alert in found.items():
            if self._alerts.get(key, (None,))[0] != alert:
                self._alerts[key] = alert, self._touch()

    def put_messages(self, rows: list[dict[str, Any]]) -> None:
        """The newest messages, newest first."""
        found = [Message.model_validate(row) for row in rows]
        if found != self._messages[0]:
            self._messages = found, self._touch()

    def put_normal(self, rows: list[dict[str, Any]]) -> None:
        """What was normal, by source and minute, oldest first."""
        found: dict[str, list[Normal]] = {}
        for row in rows:
            found.setdefault(row["source"], []).append(Normal.model_validate(row))
        if found != self._normal[0]:
            self._normal = found, self._touch()

    def put_away(self, reason: str | None) -> None:
        """Why the warehouse does not answer; None: it does."""
        if reason != self.away:
            self.away = reason
            self._touch()

    def publish(self) -> None:
        """Make the changes since the last time the next tick."""
        if self._dirty:
            self.tick, self._dirty = self.tick + 1, False
            self._frames.clear()
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def news(self, seen: int, within_s: float) -> None:
        """Wait until there is a later tick than `seen`, for so long at most."""
        if self.tick <= seen:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), within_s)

    def frame(self, seen: int) -> str:
        """What changed after tick `seen`, as JSON; 0: all there is."""
        if seen >= self.tick > 0:
            return self._encode(seen)  # nothing but the time
        if seen not in self._frames:
            self._frames[seen] = self._encode(seen)
        return self._frames[seen]

    def _encode(self, seen: int) -> str:
        messages, messages_at = self._messages
        normal, normal_at = self._normal
        return LiveFrame(
            type="changes" if seen else "snapshot",
            at=round(time.time(), 3),
            since=self.since,
            away=self.away,
            cells=[(*key, *cell) for key, (cell, at) in self._cells.items() if at > seen],
            messages=messages if messages_at > seen or not seen else None,
            alerts=[alert for alert, at in self._alerts.values() if at > seen],
            normal=normal if normal_at > seen or not seen else None,
        ).model_dump_json()

    def _touch(self) -> int:
        self._dirty = True
        return self.tick + 1


class Live:
    """Reads for all viewers, while there are any."""

    def __init__(self, ask: Ask, still_welcome: Callable[[Any], object]) -> None:
        """Make it.

        Args:
            ask: Asks the warehouse a question; raises GroundswellError while it is away.
            still_welcome: Given a connection's scope, raises Refused once its key is no longer good.
        """
        self._ask, self._still_welcome = ask, still_welcome
        self._state = State()
        self._viewers = 0
        self._reading: asyncio.Task[None] | None = None
        self._whole_at = 0.0

    async def view(self, socket: WebSocket) -> None:
        """Serve one viewer until it goes, or its key is revoked."""
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        self._viewers += 1
        if self._reading is None:
            self._state = State()
            self._reading = asyncio.create_task(self._read_on())
        telling = asyncio.create_task(self._tell(socket))
        try:
            while True:
                await socket.receive()  # nothing is expected; this ends when the viewer goes
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            telling.cancel()
            self._viewers -= 1
            if not self._viewers and self._reading:
                self._reading.cancel()
                self._reading = None

    async def _tell(self, socket: WebSocket) -> None:
        seen, welcome_at = 0, time.monotonic()
        try:
            while True:
                await self._state.news(seen, SILENT_S)
                if time.monotonic() - welcome_at >= SILENT_S:
                    self._still_welcome(socket.scope)
                    welcome_at = time.monotonic()
                if self._state.tick == 0:
                    continue  # nothing is known yet, not even that the warehouse is away
                frame, seen = self._state.frame(seen), self._state.tick
                async with asyncio.timeout(SEND_S):
                    await socket.send_text(frame)
        except Refused as refused:
            await socket.close(_POLICY, refused.detail)
        except TimeoutError:
            await socket.close(_TRY_AGAIN_LATER)
        except (WebSocketDisconnect, RuntimeError):
            pass  # gone; `view` knows

    async def _read_on(self) -> None:
        self._whole_at = 0.0
        steps = (
            (TICK_S, self._read_cells),
            (ALERTS_S, self._read_alerts),
            (MESSAGES_S, self._read_messages),
            (NORMAL_S, self._read_normals),
        )
        async with asyncio.TaskGroup() as group:
            for pace_s, step in steps:
                group.create_task(self._repeat(pace_s, step))
            group.create_task(self._publish())

    async def _publish(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._state.publish()

    async def _repeat(self, pace_s: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            began = time.monotonic()
            try:
                await step()
            except GroundswellError as error:
                self._state.put_away(error.message)
            except Exception:  # a look that fails must not end all others; the next one may not
                _log.exception("a look at the stream failed")
            took = time.monotonic() - began
            await asyncio.sleep(max(pace_s - took, took * (1 / BUSY - 1)))

    async def _read_cells(self) -> None:
        now = time.time()
        whole = now - self._whole_at >= WHOLE_S
        since = int(now) - (WINDOW_S if whole else RECENT_S)
        rows = await self._ask(
            "live", since=datetime.fromtimestamp(since, UTC), until=datetime.fromtimestamp(int(now) + 2, UTC), every="second"
        )
        self._state.put_cells(rows, since)
        self._state.put_away(None)
        if whole:
            self._whole_at = now
            self._state.forget_before(since)

    async def _read_alerts(self) -> None:
        self._state.put_alerts(await self._ask("alerts", since=datetime.now(UTC) - _DAY, limit=200))

    async def _read_messages(self) -> None:
        """Of the last minutes; where there are none, what was shown before stays."""
        if rows := await self._ask(
            "messages", since=datetime.now(UTC) - timedelta(seconds=WINDOW_S), limit=SHOWN, every="second"
        ):
            self._state.put_messages(rows)

    async def _read_normals(self) -> None:
        since = datetime.now(UTC) - timedelta(seconds=WINDOW_S + 120)
        self._state.put_normal(await self._ask("normal", since=since))


def live_route(ask: Ask, still_welcome: Callable[[Any], object]) -> WebSocketRoute:
    """The route, reading the warehouse through `ask`."""
    return WebSocketRoute("/v1/live", Live(ask, still_welcome).view)
