"""The alerts: read the warehouse's seconds, keep alerts open and closed, tell table, topic and webhook. The mathematics:
`anomaly.py`.

What is read are the rollups, not the topic, so a message delivered twice cannot count twice. Time is event time, per source: a
second is judged once a message `lateness_s` further on is there, so one source's clock harms no other; later rows change the
warehouse and no verdict.

What survives a restart: the baseline is read from the warehouse, the alerts from its table, and `var/stream/alerts-state.json`
says up to where each source was judged and what was told. Seconds that passed meanwhile are judged late, none twice. The table
is the truth; topic and webhook are told at least once, with an id that makes telling twice harmless.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from data.artifacts import read_json, write_json
from data.contracts import Alert
from data.errors import GroundswellError, StreamError
from serving.settings import AlertSettings, StreamSettings
from serving.streaming.anomaly import KEEP_S, LONGEST_ALERT_S, Rules, Seconds, Shift, Watch, points
from serving.streaming.broker import ALERTS, client_config
from serving.streaming.calibrate import threshold_of
from serving.webhook import WebhookThread

POLL_S = 0.5
DISCOVER_S = 10.0
AHEAD_S = 60
"""A message dated further ahead of this machine's clock does not move its source's watermark."""
LATE_S = 30
"""Rows so late still count in the baseline and in windows that end later; those later than this in the warehouse only."""
PROMPT_S = 120
"""Sources whose event time is further behind the foremost one's are looked at every ten seconds only."""
SILENT_S = 120.0
"""An open alert of a source that says nothing for so long, by this machine's clock, is closed."""
FORGET_S = 3600.0
"""A source that says nothing for so long leaves the memory, some 300 KB, until it is heard of again."""
TEXTS = 5
_PAUSE_S = 10.0
SAY_AGAIN_S = 60.0
_TOLD = 200
_log = logging.getLogger(__name__)
_COLUMNS = list(Alert.model_fields)


def state_file(var: Path) -> Path:
    """What the alerts remember."""
    return var / "stream" / "alerts-state.json"


def alert_of(source: str, shift: Shift, texts: Iterable[str] = ()) -> Alert:
    """What is told of a shift."""
    return Alert(
        id=sha256(f"{source}\0{shift.started}".encode()).hexdigest()[:16],
        source=source,
        direction="down" if shift.z < 0 else "up",
        started_at=_time(shift.started),
        detected_at=_time(shift.detected + 1),
        closed_at=None if shift.closed is None else _time(shift.closed),
        z=round(shift.z, 2),
        moving_average=round(shift.moving_average, 4),
        baseline_mean=round(shift.mean, 4),
        baseline_std=round(shift.std, 4),
        volume=shift.volume,
        window_s=shift.window_s,
        texts=tuple(texts),
        revision=1 if shift.closed is None else 2,
    )


def shift_of(alert: Alert) -> Shift:
    """The way back, for a restart."""
    return Shift(
        started=int(alert.started_at.timestamp()),
        detected=int(alert.detected_at.timestamp()) - 1,
        closed=None if alert.closed_at is None else int(alert.closed_at.timestamp()),
        z=alert.z,
        moving_average=alert.moving_average,
        mean=alert.baseline_mean,
        std=alert.baseline_std,
        volume=alert.volume,
        window_s=alert.window_s,
    )


def read_normal(var: Path) -> dict[str, dict[str, float]]:
    """By source, what was normal when the alerts last wrote it (`Watch.normal`, the threshold); empty where they never ran."""
    try:
        found = read_json(state_file(var))["normal"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: normal for name, normal in found.items() if normal}


def forget_sources(var: Path, names: Iterable[str]) -> None:
    """Forget what is remembered of these sources. Only while no alerts process runs, which would write it again."""
    try:
        state = read_json(state_file(var))
    except (OSError, ValueError):
        return
    for part in ("judged", "normal"):
        state[part] = {name: value for name, value in state.get(part, {}).items() if name not in set(names)}
    write_json(state_file(var), state)


def slack_message(alert: Alert) -> tuple[str, list[dict[str, Any]]]:
    """What a person reads: one line, and the same as Slack's blocks with the texts that moved it."""
    if alert.closed_at is None:
        moved = points(alert.moving_average) - points(alert.baseline_mean)
        line = (
            f"Sentiment of {alert.source} went {alert.direction} by {abs(moved):.1f} points "
            f"to {points(alert.moving_average):.1f} of 100 since {alert.started_at:%H:%M:%S} UTC "
            f"(z {alert.z:+.1f}, {alert.volume:,} messages in {alert.window_s} s)."
        )
    else:
        lasted = (alert.closed_at - alert.started_at).total_seconds()
        how = "is normal again" if shift_of(alert).end_known else "stays where it is, which counts as normal from now on"
        line = f"Sentiment of {alert.source} {how}: it was {alert.direction} for {lasted / 60:.1f} minutes (alert {alert.id})."
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": _escaped(line)}}]
    if alert.closed_at is None and alert.texts:
        quoted = "\n".join("> " + _escaped(" ".join(text.split())[:200]) for text in alert.texts)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": quoted[:2900]}})
    return line, blocks


def read_alerts(client: Any, since: datetime) -> list[Alert]:
    """Alerts that are open or were closed since then, oldest first, each as it was last told."""
    rows = client.query(
        f"SELECT {', '.join(_COLUMNS)} FROM alerts FINAL "
        "WHERE closed_at IS NULL OR closed_at >= toDateTime64({since:UInt32}, 3) ORDER BY started_at",
        parameters={"since": max(0, int(since.timestamp()))},
    ).result_rows
    found = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    times = ("started_at", "detected_at", "closed_at")
    return [Alert.model_validate({k: _utc(v) if k in times and v is not None else v for k, v in row.items()}) for row in found]


def write_alerts(client: Any, alerts: Sequence[Alert]) -> None:
    """Write alerts; writing one again is harmless."""
    if alerts:
        client.insert("alerts", [[getattr(alert, name) for name in _COLUMNS] for alert in alerts], column_names=_COLUMNS)


def moving_texts(client: Any, source: str, shift: Shift, limit: int = TEXTS) -> list[str]:
    """Texts between the start of a shift and its detection that moved it most: the lowest scores when it went down.

    Reads the days in which messages of that time can have arrived, within ten seconds or not at all.
    """
    order = "ASC" if shift.z < 0 else "DESC"
    rows = client.query(
        _TEXTS.format(order=order),
        parameters={"source": source, "start": shift.started, "stop": shift.detected + 1, "limit": limit},
    ).result_rows
    return [row[0] for row in rows]


_TEXTS = """
SELECT text
FROM
(
    SELECT text, score
    FROM predictions
    WHERE source = {{source:String}}
      AND event_at >= toDateTime64({{start:UInt32}}, 3) AND event_at < toDateTime64({{stop:UInt32}}, 3)
      AND (produced_at >= now64(3) - INTERVAL 2 HOUR
           OR (produced_at >= toDateTime64({{start:UInt32}}, 3) - INTERVAL 1 HOUR
               AND produced_at < toDateTime64({{stop:UInt32}}, 3) + INTERVAL 1 HOUR))
    ORDER BY score {order}
    LIMIT 1000
)
GROUP BY text
ORDER BY any(score) {order}, text
LIMIT {{limit:UInt32}}
SETTINGS max_execution_time = 10
"""
# Without FINAL, which would read the whole day's texts: a message that is there twice gives one text.


@dataclass
class _Source:
    watch: Watch
    newest: int
    changed_at: float
    """When `newest` last moved, by this machine's clock."""


class Alerts:
    """All sources of one warehouse. `poll` reads once, judges what can be judged, and tells what changed."""

    def __init__(
        self, var: Path, settings: AlertSettings, tell: Callable[[Alert], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._var, self._settings, self._tell, self._clock = var, settings, tell, clock
        self._lateness = max(1, math.ceil(settings.lateness_s))
        self._sources: dict[str, _Source] = {}
        self._unwritten: list[tuple[str, Shift]] = []
        self._state_file = state_file(var)
        self._started = False
        self._first_start = True
        self._judged: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._saved_at = self._discovered_at = -math.inf
        self._polled_at: float | None = None

    def poll(self, client: Any) -> list[Alert]:
        """One round. Blocks for the time of a few statements; what it could not write, the next round writes first.

        Raises:
            Exception: The warehouse did not answer (clickhouse-connect and chDB raise unrelated classes). Nothing is lost.
        """
        if not self._started:
            self._start(client)
        told = self._write(client)
        now = self._clock()
        if self._polled_at is not None and now - self._polled_at > SILENT_S / 4:  # we were away, not the sources
            for found in self._sources.values():
                found.changed_at = max(found.changed_at, now)
        if now - self._discovered_at >= DISCOVER_S or not self._sources:
            self._discover(client, now)
            self._discovered_at = now
        self._read_on(client, now)
        rules = {name: self._rules(name) for name in self._sources}
        gone = []
        for name, found in self._sources.items():
            found.watch.rules = rules[name]
            until = found.newest - self._lateness + 1
            silent = now - found.changed_at > SILENT_S
            changes = found.watch.advance(found.newest + 1 if silent else until)
            if silent and (closed := found.watch.close(found.newest + 1)):
                changes.append(closed)
            found.watch.forget()
            self._judged[name] = found.watch.judged
            self._unwritten += [(name, change) for change in changes]
            if found.watch.open is None and now - found.changed_at > FORGET_S:
                gone.append(name)
        for name in gone:
            del self._sources[name]
        told += self._write(client)
        if told or now - self._saved_at >= 5:
            self.save()
            self._saved_at = now
        self._polled_at = now
        return told

    def save(self) -> None:
        """Note up to where each source was judged, what was told, and what is normal, which the dashboard shows."""
        if not self._started or self._unwritten:
            return
        self._told = dict(list(self._told.items())[-_TOLD:])
        try:
            normal = {name: self._normal(found.watch) for name, found in self._sources.items()}
            write_json(
                self._state_file,
                {"written_at": self._clock(), "judged": self._judged, "told": self._told, "normal": normal},
            )
        except GroundswellError as error:  # a full disk is no reason to stop watching; after a restart more is judged again
            _log.warning("%s", str(error).splitlines()[0])

    def _normal(self, watch: Watch) -> dict[str, float] | None:
        if (found := watch.normal()) is None:
            return None
        return {**dict(zip(("mean", "variance", "drift"), found, strict=True)), "threshold": watch.rules.threshold}

    def _start(self, client: Any) -> None:
        with suppress(OSError, ValueError, KeyError, AttributeError):
            state = read_json(self._state_file)
            self._judged = {name: int(second) for name, second in state["judged"].items()}
            self._told = {name: int(revision) for name, revision in state["told"].items()}
            self._first_start = False
        if not self._first_start:  # written, and then the process ended before it told
            for alert in read_alerts(client, _time(self._clock() - 86_400)):
                if self._told.get(alert.id, 0) < alert.revision:
                    self._pass_on(alert)
        self._started = True

    def _discover(self, client: Any, now: float) -> None:
        """Sources that are new, and those whose event time lies far behind the others'."""
        rows = client.query(
            "SELECT source, toUnixTimestamp(max(bucket)) FROM rollup_second "
            "WHERE bucket <= toDateTime({limit:UInt32}) GROUP BY source",
            parameters={"limit": int(now) + AHEAD_S},
        ).result_rows
        for name, newest in rows:
            if name not in self._sources:
                if newest < self._judged.get(name, -math.inf):
                    continue  # silent, and all it said is judged
                self._sources[name] = self._take_up(client, name, int(newest), now)
            elif newest > self._sources[name].newest:
                self._take_in(self._read(client, self._sources[name].watch.judged - LATE_S, now, name), now)
        self._first_start = False if rows else self._first_start

    def _take_up(self, client: Any, name: str, newest: int, now: float) -> _Source:
        judged = self._judged.get(name)
        if judged is None and self._first_start:
            judged = newest - self._lateness + 1  # what is past when alerts are first switched on is nobody's news
        oldest = min(newest if judged is None else judged, newest) - KEEP_S - LONGEST_ALERT_S
        alerts = [shift_of(alert) for alert in read_alerts(client, _time(oldest)) if alert.source == name]
        table = self._read(client, oldest - 120, now, name).get(name, np.zeros((0, 4)))
        seconds = Seconds.of(table)
        opened = next((shift for shift in reversed(alerts) if shift.closed is None), None)
        past = [shift for shift in alerts if shift.closed is not None]
        # The alerts in the table are younger than the state file where the process was killed.
        after = [shift.detected + 1 for shift in alerts] + [shift.closed or 0 for shift in past]
        judged = max([seconds.start if judged is None else judged, *after])
        return _Source(Watch(self._rules(name), seconds, judged, opened, past), newest, now)

    def _read_on(self, client: Any, now: float) -> None:
        if not self._sources:
            return
        # One statement for all whose event time is about the same; one that is behind is read by itself when it has moved.
        prompt = max(found.watch.judged for found in self._sources.values()) - PROMPT_S
        since = min(found.watch.judged for found in self._sources.values() if found.watch.judged >= prompt) - LATE_S
        tables = self._read(client, since, now)
        for name in tables:
            if name not in self._sources:
                self._discovered_at = -math.inf
            elif (mine := self._sources[name].watch.judged - LATE_S) < since:
                tables[name] = self._read(client, mine, now, name)[name]
        self._take_in(tables, now)

    def _read(self, client: Any, since: int, now: float, source: str | None = None) -> dict[str, np.ndarray]:
        rows = client.query(
            "SELECT source, toUnixTimestamp(bucket), sum(messages), sum(score), sum(score_squared) FROM rollup_second FINAL "
            "WHERE bucket >= toDateTime({since:UInt32}) AND bucket <= toDateTime({limit:UInt32}) "
            + ("AND source = {source:String} " if source is not None else "")
            + "GROUP BY source, bucket ORDER BY source, bucket",
            parameters={"since": max(0, since), "limit": int(now) + AHEAD_S, "source": source or ""},
        ).result_rows
        tables: dict[str, list[Sequence[float]]] = {}
        for name, *row in rows:
            tables.setdefault(name, []).append(row)
        return {name: np.array(table, dtype=float) for name, table in tables.items()}

    def _take_in(self, tables: dict[str, np.ndarray], now: float) -> None:
        for name, table in tables.items():
            if found := self._sources.get(name):
                found.watch.seconds.put(table)
                newest = int(table[:, 0].max())
                if newest > found.newest:
                    found.newest, found.changed_at = newest, now

    def _write(self, client: Any) -> list[Alert]:
        told = []
        while self._unwritten:
            name, shift = self._unwritten[0]
            texts: Sequence[str] = ()
            try:
                texts = moving_texts(client, name, shift)
            except Exception as error:  # better without texts than not at all; a warehouse that is away refuses the insert too
                _log.warning("The texts of an alert could not be read: %s", str(error).splitlines()[0][:200])
            alert = alert_of(name, shift, texts)
            write_alerts(client, [alert])
            self._unwritten.pop(0)
            self._pass_on(alert)
            told.append(alert)
        return told

    def _pass_on(self, alert: Alert) -> None:
        _log.info("%s", slack_message(alert)[0])
        self._tell(alert)
        self._told.pop(alert.id, None)
        self._told[alert.id] = alert.revision

    def _rules(self, source: str) -> Rules:
        return Rules(threshold_of(self._var, self._settings, source), self._settings.min_volume)


class Teller:
    """Passes alerts on to the topic and the webhook; neither can hold up detection.

    librdkafka keeps what a broker that is away did not take, up to 10,000 alerts, for as long as this process lives.
    """

    def __init__(self, stream: StreamSettings, settings: AlertSettings) -> None:
        from confluent_kafka import Producer

        self._producer = Producer(
            {**client_config(stream), "message.timeout.ms": 0, "queue.buffering.max.messages": 10_000, "linger.ms": 0}
        )
        self._webhook = WebhookThread(settings.webhook.get_secret_value()) if settings.webhook else None

    def __call__(self, alert: Alert) -> None:
        """Hand over; does not block."""
        try:
            self._producer.produce(ALERTS, alert.model_dump_json().encode(), key=alert.id, on_delivery=_delivered)
        except BufferError:
            _log.error("The broker has been away for too long: alert %s is in the warehouse and not on the topic.", alert.id)
        self._producer.poll(0)
        if self._webhook:
            self._webhook.tell(*slack_message(alert))

    def poll(self) -> None:
        """Hear what the broker said; does not block."""
        self._producer.poll(0)

    def close(self, timeout_s: float = 5.0) -> None:
        """Give what waits a last try; blocks for at most twice `timeout_s`."""
        if left := self._producer.flush(timeout_s):
            _log.error("%d alerts are in the warehouse and did not reach the topic.", left)
        if self._webhook:
            self._webhook.close(timeout_s)


def _delivered(error: Any, message: Any) -> None:
    if error is not None:
        _log.error("An alert did not reach the topic: %s", error.str())


def run_alerts(
    var: Path, *, stop: threading.Event, settings: AlertSettings | None = None, stream: StreamSettings | None = None,
    connect: Callable[[], AbstractContextManager[Any]] | None = None, told: Callable[[Alert], None] | None = None,
) -> None:  # fmt: skip
    """Watch the warehouse until `stop` is set. Survives the warehouse and the broker being away, and says so in the log.

    Args:
        var: Where state and calibration lie; one such process for each.
        stop: Set to end it; it then returns within seconds.
        settings: None: as configured.
        stream: The broker; None: as configured.
        connect: Gives a context with a clickhouse-connect client; None: the one of `var`.
        told: Called with each alert after topic and webhook.

    Raises:
        StreamError: Another such process runs.
    """
    settings, stream = settings or AlertSettings.load(), stream or StreamSettings.load()
    folder = var / "stream"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "alerts.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StreamError(
            "Alerts are already watched.",
            found=f"{folder / 'alerts.lock'} is held by another process",
            remedy="Stop that one first.",
        ) from None
    try:
        teller = Teller(stream, settings)

        def tell(alert: Alert) -> None:
            teller(alert)
            if told:
                told(alert)

        alerts = Alerts(var, settings, tell)
        try:
            _watch(alerts, teller, connect or _connect_to(var), stop)
        finally:
            teller.close()
            alerts.save()
    finally:
        lock.release()


def _watch(alerts: Alerts, teller: Teller, connect: Callable[[], AbstractContextManager[Any]], stop: threading.Event) -> None:
    pause, said_at = POLL_S, -math.inf
    while not stop.is_set():
        try:
            with connect() as client:
                while not stop.is_set():
                    before = time.monotonic()
                    alerts.poll(client)
                    teller.poll()
                    if pause > POLL_S:
                        _log.warning("The warehouse answers again.")
                        pause, said_at = POLL_S, -math.inf
                    stop.wait(max(0.0, POLL_S - (time.monotonic() - before)))
        except Exception as error:  # clickhouse-connect, chDB and the network raise unrelated classes
            if time.monotonic() - said_at >= SAY_AGAIN_S:
                _log.warning("Alerts wait for the warehouse: %s", (str(error).splitlines() or [type(error).__name__])[0][:300])
                said_at = time.monotonic()
            pause = min(pause * 2, _PAUSE_S)
            stop.wait(pause)


def _connect_to(var: Path) -> Callable[[], AbstractContextManager[Any]]:
    from serving.warehouse.connect import connect

    return lambda: connect(var, own=False)


def _time(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _escaped(text: str) -> str:
    """As Slack asks: these three and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
