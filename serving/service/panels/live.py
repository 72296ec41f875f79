"""`WS /v1/live`: the stream's current state, sent to all viewers from one shared read of the warehouse.

While there are viewers, the last seconds of the rollups are read about ten times a second, the alerts twice, the newest messages
once. Each part of the state carries the tick at which it last changed; a viewer that has seen tick n gets what changed after n.
So a frame is as large as the change, viewers at the same tick share its encoding, a slow viewer skips frames and gets their sum,
and a viewer that reconnects gets a snapshot. Values are absolute: nothing is missed or counted twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from data.errors import GroundswellError
from serving.service.panels.schemas import AlertShown, LiveFrame, Message, Normal
from serving.service.problems import Refused

TICK_S = 0.1
BUSY = 0.2
"""Largest share of the time for reads of the warehouse."""
RECENT_S = 15
"""Seconds of rollups per read; the whole window is read every `WHOLE_S`, for late messages."""
WINDOW_S = 600
WHOLE_S = 5.0
ALERTS_S, MESSAGES_S, NORMAL_S = 0.5, 1.0, 5.0
SHOWN = 30
"""Newest messages sent."""
SILENT_S = 5.0
"""Longest time between frames, and between checks of a viewer's key."""
SEND_S = 20.0
"""A viewer that receives nothing for this time is disconnected."""
SUBPROTOCOL = "groundswell"
_DAY = timedelta(days=1)
_POLICY, _TRY_AGAIN_LATER = 1008, 1013
_log = structlog.get_logger()
router = APIRouter()

Ask = Callable[..., Awaitable[list[dict[str, Any]]]]
Cell = tuple[int, int, int, float]


class State:
    """The state that viewers see. Changes belong to the next tick, which `publish` makes the current one."""

    def __init__(self) -> None:
        self.tick = 0
        self.since = 0
        self.unavailable: str | None = None
        """Reason why the warehouse is unavailable; None: it is available."""
        self._changed = asyncio.Event()
        self._dirty = False
        self._cells: dict[tuple[int, str], tuple[Cell, int]] = {}
        self._alerts: dict[str, tuple[AlertShown, int]] = {}
        self._messages: tuple[list[Message], int] = ([], 0)
        self._normal: tuple[dict[str, list[Normal]], int] = ({}, 0)
        self._frames: dict[int, str] = {}

    def put_cells(self, rows: list[dict[str, Any]], since: int) -> None:
        """Set all cells from a second on; a cell that is missing from the rows becomes empty."""
        if self.tick == 0:
            self._touch()  # an empty warehouse is published too
        cells = {(r["second"], r["source"]): (r["negative"], r["neutral"], r["positive"], r["score"]) for r in rows}
        for key in self._cells.keys() - cells.keys():
            if key[0] >= since:
                cells[key] = (0, 0, 0, 0.0)
        for key, cell in cells.items():
            if self._cells.get(key, (None,))[0] != cell:
                self._cells[key] = cell, self._touch()

    def forget_before(self, second: int) -> None:
        """Remove cells of older seconds."""
        self.since = second
        for key in [key for key in self._cells if key[0] < second]:
            del self._cells[key]

    def put_alerts(self, rows: list[dict[str, Any]]) -> None:
        """Set the alerts that are shown."""
        alerts = {row["id"]: AlertShown.model_validate(row) for row in rows}
        self._alerts = {key: held for key, held in self._alerts.items() if key in alerts}
        for key, alert in alerts.items():
            if self._alerts.get(key, (None,))[0] != alert:
                self._alerts[key] = alert, self._touch()

    def put_messages(self, rows: list[dict[str, Any]]) -> None:
        """Set the newest messages, newest first."""
        messages = [Message.model_validate(row) for row in rows]
        if messages != self._messages[0]:
            self._messages = messages, self._touch()

    def put_normal(self, rows: list[dict[str, Any]]) -> None:
        """Set the normal range, by source and minute, oldest first."""
        normal: dict[str, list[Normal]] = {}
        for row in rows:
            normal.setdefault(row["source"], []).append(Normal.model_validate(row))
        if normal != self._normal[0]:
            self._normal = normal, self._touch()

    def put_unavailable(self, reason: str | None) -> None:
        """Set the reason why the warehouse is unavailable; None: it is available."""
        if reason != self.unavailable:
            self.unavailable = reason
            self._touch()

    def publish(self) -> None:
        """Publish the changes since the last tick as the next one."""
        if self._dirty:
            self.tick, self._dirty = self.tick + 1, False
            self._frames.clear()
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def wait_for_change(self, seen: int, within_s: float) -> None:
        """Wait until there is a later tick than `seen`, at most `within_s` seconds."""
        if self.tick <= seen:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), within_s)

    def frame(self, seen: int) -> str:
        """Encode what changed after tick `seen`, as JSON; 0: a snapshot."""
        if seen >= self.tick > 0:
            return self._encode(seen)  # only the time changed
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
            away=self.unavailable,
            cells=[(*key, *cell) for key, (cell, at) in self._cells.items() if at > seen],
            messages=messages if messages_at > seen or not seen else None,
            alerts=[alert for alert, at in self._alerts.values() if at > seen],
            normal=normal if normal_at > seen or not seen else None,
        ).model_dump_json()

    def _touch(self) -> int:
        self._dirty = True
        return self.tick + 1


class Live:
    """Read the warehouse for all viewers, while there are any."""

    def __init__(self, ask: Ask, check_key: Callable[[Any], object]) -> None:
        """Make it.

        Args:
            ask: Runs a warehouse query; raises GroundswellError while the warehouse is unavailable.
            check_key: Given a connection's scope, raises Refused once its key is no longer valid.
        """
        self._ask, self._check_key = ask, check_key
        self._state = State()
        self._viewers = 0
        self._reading: asyncio.Task[None] | None = None
        self._whole_at = 0.0

    async def view(self, socket: WebSocket) -> None:
        """Serve one viewer until it disconnects or its key is revoked."""
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        self._viewers += 1
        if self._reading is None:
            self._state = State()
            self._reading = asyncio.create_task(self._read_warehouse())
        sending = asyncio.create_task(self._send_frames(socket))
        try:
            while True:
                await socket.receive()  # the viewer sends nothing; this raises when it disconnects
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            sending.cancel()
            self._viewers -= 1
            if not self._viewers and self._reading:
                self._reading.cancel()
                self._reading = None

    async def _send_frames(self, socket: WebSocket) -> None:
        seen, checked_at = 0, time.monotonic()
        try:
            while True:
                await self._state.wait_for_change(seen, SILENT_S)
                if time.monotonic() - checked_at >= SILENT_S:
                    self._check_key(socket.scope)
                    checked_at = time.monotonic()
                if self._state.tick == 0:
                    continue  # no read has finished yet
                frame, seen = self._state.frame(seen), self._state.tick
                async with asyncio.timeout(SEND_S):
                    await socket.send_text(frame)
        except Refused as refused:
            await socket.close(_POLICY, refused.detail)
        except TimeoutError:
            await socket.close(_TRY_AGAIN_LATER)
        except (WebSocketDisconnect, RuntimeError):
            pass  # disconnected; `view` cleans up

    async def _read_warehouse(self) -> None:
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
                self._state.put_unavailable(error.message)
            except Exception:  # a read that fails must not end the others; the next one may succeed
                _log.exception("live read failed")
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
        self._state.put_unavailable(None)
        if whole:
            self._whole_at = now
            self._state.forget_before(since)

    async def _read_alerts(self) -> None:
        self._state.put_alerts(await self._ask("alerts", since=datetime.now(UTC) - _DAY, limit=200))

    async def _read_messages(self) -> None:
        """Read messages of the last minutes; if there are none, those shown before stay."""
        if rows := await self._ask(
            "messages", since=datetime.now(UTC) - timedelta(seconds=WINDOW_S), limit=SHOWN, every="second"
        ):
            self._state.put_messages(rows)

    async def _read_normals(self) -> None:
        since = datetime.now(UTC) - timedelta(seconds=WINDOW_S + 120)
        self._state.put_normal(await self._ask("normal", since=since))


@router.websocket("/v1/live")
async def live(socket: WebSocket) -> None:
    await socket.app.state.live.view(socket)
