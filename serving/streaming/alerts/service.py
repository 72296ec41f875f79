"""Alerts of all sources of one warehouse: read the seconds that changed, evaluate them, record and publish the result.

`anomaly.py` has the mathematics; this module decides when to apply it. The result depends on the rows, not on the order in which
they arrive:

- *Read*: from the rollups, not from the topic, so a message delivered twice does not count twice. Each row of `rollup_second`
  has the time when its newest message was inserted (`changed_at`). A poll reads all rows, of any second, that changed since the
  last poll. So a backlog that arrives partition by partition, a late block and a recount all reach the baseline
  (`alert_reads.py`).
- *Evaluate*: in event time, for each source separately, so a wrong clock of one source does not affect the others. A second is
  evaluated once a message dated at least `lateness_s` later is there. Seconds that change afterwards are evaluated again, up to
  three hours back, as far as a baseline reaches, but never inside a known alert. One poll evaluates at most `REVISE_BUDGET_S`
  again, the longest waiting source first.
- *Hold*: while most messages of a source arrive more than `LATE_S` after their date, the source is catching up: some partitions
  are complete up to now and others are not. A part of the partitions may be a part of the authors, which can look like a shift.
  So its seconds wait until it has caught up for `SETTLE_S`, but at most `HOLD_S`. A source that is always late waits once.
- *First start*: seconds before the first start are history. They belong to the baseline and raise no alert, as long as they
  arrive within `FIRST_S` of the first row.

After a restart the baseline is read from the warehouse and the alerts from their table. `var/stream/alerts-state.json` holds up
to where each source was evaluated, the newest change seen, and what was published. Rows that changed meanwhile are evaluated
then; no alert is repeated. The table is authoritative; topic and webhook are notified at least once, with an id by which a
receiver recognizes duplicates.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.artifacts import read_json, write_json
from data.contracts import Alert, AlertWord
from data.errors import GroundswellError
from serving.settings import AlertSettings
from serving.streaming.alerts.calibration import threshold_of
from serving.streaming.alerts.detector import BLOCK_S, KEEP_S, LONGEST_ALERT_S, Rules, Seconds, Shift, Watch
from serving.streaming.alerts.drivers import driving_words, moving_texts
from serving.streaming.alerts.reads import AHEAD_S, Changes, Tables, first_changed, newest_seconds, read_seconds
from serving.streaming.alerts.rows import alert_of, muted_sources, read_alerts, shift_of, slack_message, time_of, write_alerts

POLL_S = 0.5
LATE_S = 10.0
SETTLE_S = 3.0
HOLD_S = 60.0
CALM_S = 10.0
"""A source may be held again after this time without late messages."""
FIRST_S = 120.0
REVISE_BUDGET_S = 400_000
"""Seconds of sources that one poll evaluates again: about 0.3 s of CPU."""
SILENT_S = 120.0
"""An open alert is closed after this time without a message of its source, by this machine's clock."""
FORGET_S = 3600.0
"""A source is dropped from memory (about 350 KB) after this time without a message, until its next one."""
NORMAL_S = 5.0
SAVE_S = 5.0
_KEPT_REVISIONS = 200
_NORMAL_COLUMNS = ["source", "bucket", "mean", "variance", "drift", "threshold"]
_log = logging.getLogger(__name__)


def state_file(var: Path) -> Path:
    """Return the path of the alerts' state."""
    return var / "stream" / "alerts-state.json"


def forget_sources(var: Path, names: Sequence[str]) -> None:
    """Remove these sources from the state. Call it only while no alerts process runs, which would write them again."""
    try:
        state = read_json(state_file(var))
        for part in ("judged", "news_from"):
            state[part] = {name: value for name, value in state.get(part, {}).items() if name not in names}
    except (OSError, ValueError, KeyError, AttributeError):
        return
    write_json(state_file(var), state)


@dataclass
class _Source:
    """One source and its arrivals. A `float` time is of this machine's clock; an `int` second is event time."""

    watch: Watch
    newest: int
    """Its newest second."""
    last_arrival_at: float
    """When messages of it last arrived."""
    normal_to: int
    """Second up to which its normal is recorded."""
    revise_from: float = math.inf
    """First second that changed after it was evaluated."""
    revise_since: float = math.inf
    """When that change was read."""
    arrived: float = 0.0
    """Messages that arrived recently, halved each `SETTLE_S`."""
    late: float = 0.0
    """Those of them that are dated more than `LATE_S` before their arrival."""
    seen_at: float = -math.inf
    late_at: float = -math.inf
    """When most of what arrived was late."""
    held_from: float = -math.inf

    def arrive(self, changed: np.ndarray, now: float) -> None:
        """Record seconds that changed: second and messages gained, shape (n, 2)."""
        if not len(changed):
            return
        gained = changed[:, 1].clip(min=0)
        late = float(gained[changed[:, 0] < now - LATE_S].sum())
        fade = 0.5 ** ((now - self.seen_at) / SETTLE_S)
        self.arrived, self.late, self.seen_at = self.arrived * fade + float(gained.sum()), self.late * fade + late, now
        if gained.any():
            self.last_arrival_at = now
        if late and self.late > self.arrived / 2:
            if now - self.late_at >= CALM_S:
                self.held_from = now
            self.late_at = now
        self.newest = max(self.newest, int(changed[:, 0].max()))
        self.revise(float(changed[:, 0].min()), now)

    def revise(self, second: float, now: float) -> None:
        """Evaluate again from this second, if it was evaluated already."""
        if second < self.watch.evaluated_to:
            self.revise_from = min(self.revise_from, second)
            self.revise_since = min(self.revise_since, now)

    def catches_up(self, now: float) -> bool:
        """Whether its seconds should wait for messages that are still arriving."""
        return now - self.late_at < SETTLE_S and now - self.held_from < HOLD_S


class Alerts:
    """All sources of one warehouse. `poll` reads once, evaluates what can be evaluated, and publishes what changed."""

    def __init__(
        self, var: Path, settings: AlertSettings, publish: Callable[[Alert], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._var, self._settings, self._publish, self._clock = var, settings, publish, clock
        self._lateness = max(1, math.ceil(settings.lateness_s))
        self._sources: dict[str, _Source] = {}
        self._changes: Changes | None = None
        self._unwritten: list[tuple[str, Shift]] = []
        self._normals: dict[tuple[str, int], list[Any]] = {}
        self._state_file = state_file(var)
        self._evaluated_to: dict[str, int] = {}
        self._news_from: dict[str, int] = {}
        self._published: dict[str, int] = {}
        """The newest revision published, by alert id."""
        self._began: float | None = None
        self._history_until: float | None = None
        self._saved_at = self._normals_at = -math.inf
        self._polled_at: float | None = None

    def poll(self, client: Any) -> list[Alert]:
        """Do one round. Blocks for a few statements; the next round begins with writing what this one could not write.

        Returns:
            The alerts published.

        Raises:
            Exception: The warehouse did not respond (clickhouse-connect and chDB raise unrelated classes). Nothing is lost.
        """
        now = self._clock()
        changes = self._changes or self._start(client, now)
        published = self._write(client, now)
        if self._polled_at is not None and now - self._polled_at > SILENT_S / 4:  # this process was stopped, not the sources
            for source in self._sources.values():
                source.last_arrival_at = max(source.last_arrival_at, now)
        self._add_changes(client, changes.read(client, now), now)
        changes.seen()
        if self._history_until is None and self._began is not None and self._sources:
            self._history_until = now + FIRST_S
        self._evaluate(now)
        published += self._write(client, now)
        self._write_normals(client, now)
        if published or now - self._saved_at >= SAVE_S:
            self.save()
            self._saved_at = now
        self._polled_at = now
        return published

    def save(self) -> None:
        """Save up to where each source was evaluated, the newest change that was seen, and what was published."""
        if self._changes is None or self._unwritten:
            return
        self._published = dict(list(self._published.items())[-_KEPT_REVISIONS:])
        self._news_from = {
            name: source.watch.news_from for name, source in self._sources.items() if source.watch.news_from > source.watch.oldest
        }
        # The process that resumes from this state evaluates again what still waits for it.
        waiting = {name: int(min(source.watch.evaluated_to, source.revise_from)) for name, source in self._sources.items()}
        state = {
            "written_at": self._clock(),
            "judged": self._evaluated_to | waiting,
            "told": self._published,
            "mark": self._changes.mark,
            "began": self._began,
            "history_until": self._history_until,
            "news_from": self._news_from,
        }
        try:
            write_json(self._state_file, state)
        except GroundswellError as error:  # continue when the disk is full; after a restart more is evaluated again
            _log.warning("%s", str(error).splitlines()[0])

    def _start(self, client: Any, now: float) -> Changes:
        seen = None
        try:
            state: Any = read_json(self._state_file)
            self._evaluated_to = {name: int(second) for name, second in state["judged"].items()}
            self._published = {name: int(revision) for name, revision in state["told"].items()} | self._published
            self._news_from = {name: int(second) for name, second in state.get("news_from", {}).items()}
            self._began, self._history_until = state.get("began"), state.get("history_until")
            seen = state.get("mark")
        except (OSError, ValueError, KeyError, AttributeError):  # the first start
            self._began = self._began or now
        else:  # alerts written by a process that ended before it published them
            for alert in read_alerts(client, time_of(now - 86_400)):
                if self._published.get(alert.id, 0) < alert.revision:
                    self._log_and_publish(alert)
        newest, mark = newest_seconds(client, now)
        changed = first_changed(client, now, seen) if seen else {}
        known = {name: second for name, second in newest.items() if name in changed or second >= self._evaluated_to.get(name, 0)}
        self._add_sources(client, known, now)
        for name in changed.keys() & known.keys():
            self._sources[name].revise(changed[name], now)
        self._changes = Changes(mark)
        return self._changes

    def _add_sources(self, client: Any, newest: Mapping[str, int], now: float) -> None:
        """Begin to watch sources, given their newest seconds: read all seconds that their evaluation can depend on."""
        if not newest:
            return
        wanted = {
            name: (
                min(self._evaluated_to.get(name, second), second) - KEEP_S - LONGEST_ALERT_S - 2 * BLOCK_S,
                int(now) + AHEAD_S,
            )
            for name, second in newest.items()
        }
        alerts = read_alerts(client, time_of(max(0, min(first for first, _ in wanted.values()))))
        for name, table in read_seconds(client, wanted).items():
            shifts = [shift_of(alert) for alert in alerts if alert.source == name]
            self._sources[name] = self._source(name, newest[name], table, shifts, now)

    def _source(self, name: str, newest: int, table: np.ndarray, shifts: list[Shift], now: float) -> _Source:
        seconds = Seconds.of(table)
        opened = next((shift for shift in reversed(shifts) if shift.closed is None), None)
        past = [shift for shift in shifts if shift.closed is not None]
        # After a kill, the alerts in the table are newer than the state file.
        after = [shift.detected + 1 for shift in shifts] + [shift.closed or 0 for shift in past]
        evaluated_to = max([self._evaluated_to.get(name, seconds.start), *after])
        watch = Watch(self._rules(name), seconds, evaluated_to, opened, past, self._news_from.get(name, 0))
        # Record the last minutes again: they may not have been written. Those before a known alert would now differ.
        source = _Source(watch, newest, now, normal_to=max([evaluated_to - 120, *after]))
        source.arrive(table[:, :2], now)
        source.revise_from = source.revise_since = math.inf
        return source

    def _add_changes(self, client: Any, tables: Tables, now: float) -> None:
        newest = {name: int(table[-1, 0]) for name, table in tables.items() if name not in self._sources}
        for name in tables.keys() - newest.keys():
            source = self._sources[name]
            source.arrive(source.watch.put(tables[name]), now)
        self._add_sources(client, {name: at for name, at in newest.items() if at >= self._evaluated_to.get(name, 0)}, now)

    def _evaluate(self, now: float) -> None:
        budget = REVISE_BUDGET_S
        inactive = []
        for name, source in sorted(self._sources.items(), key=lambda each: each[1].revise_since):
            watch = source.watch
            watch.rules = self._rules(name)
            if self._began is not None and (self._history_until is None or now < self._history_until):
                watch.news_from = max(watch.news_from, min(source.newest + 1, int(self._began)))
            if source.catches_up(now):
                continue
            if source.revise_from < math.inf and budget > 0:
                watch.revise(int(source.revise_from))
                source.normal_to = min(source.normal_to, watch.evaluated_to)
                source.revise_from = source.revise_since = math.inf
                budget -= source.newest - watch.evaluated_to
            silent = now - source.last_arrival_at > SILENT_S
            changes = watch.advance(source.newest + 1 if silent else source.newest - self._lateness + 1)
            if silent and (closed := watch.close(source.newest + 1)):
                changes.append(closed)
            self._record_normal(name, source)
            watch.forget()
            self._evaluated_to[name] = watch.evaluated_to
            self._unwritten += [(name, change) for change in changes]
            if watch.open is None and now - source.last_arrival_at > FORGET_S:
                inactive.append(name)
        for name in inactive:
            del self._sources[name]

    def _record_normal(self, name: str, source: _Source) -> None:
        watch = source.watch
        for second, *values in watch.normals(max(source.normal_to, watch.seconds.start), watch.evaluated_to).tolist():
            self._normals[name, int(second)] = [name, time_of(second), *values, watch.rules.threshold]
        source.normal_to = watch.evaluated_to

    def _write_normals(self, client: Any, now: float) -> None:
        if not self._normals or now - self._normals_at < NORMAL_S:
            return
        client.insert("normal_minute", list(self._normals.values()), column_names=_NORMAL_COLUMNS)
        self._normals.clear()
        self._normals_at = now

    def _write(self, client: Any, now: float) -> list[Alert]:
        published = []
        muted = muted_sources(client, time_of(now)) if self._unwritten else set()
        while self._unwritten:
            name, shift = self._unwritten[0]
            alert = alert_of(name, shift, *_drivers(client, name, shift), muted=name in muted)
            write_alerts(client, [alert])
            self._unwritten.pop(0)
            self._log_and_publish(alert)
            published.append(alert)
        return published

    def _log_and_publish(self, alert: Alert) -> None:
        _log.info("%s", slack_message(alert)[0])
        self._publish(alert)
        self._published.pop(alert.id, None)
        self._published[alert.id] = alert.revision

    def _rules(self, source: str) -> Rules:
        return Rules(threshold_of(self._var, self._settings, source), self._settings.min_volume)


def _drivers(client: Any, source: str, shift: Shift) -> tuple[Sequence[str], Sequence[AlertWord]]:
    """Read the texts and words that drive a shift; empty if that fails, since an alert without them is better than none."""
    try:
        return moving_texts(client, source, shift), driving_words(client, source, shift)
    except Exception as error:  # clickhouse-connect and chDB raise unrelated classes
        _log.warning("The texts and words of an alert could not be read: %s", str(error).splitlines()[0][:200])
        return (), ()
