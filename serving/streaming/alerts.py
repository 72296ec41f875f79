"""Alerts of all sources of one warehouse: read the seconds that changed, evaluate them, record and publish the result.

The mathematics is `anomaly.py`; this is when it is applied. The result depends on the rows, not on the order of their arrival:

- *Read*: the rollups, not the topic, so a message delivered twice cannot count twice. Each row of `rollup_second` is dated when
  its newest message was inserted (`changed_at`). A look reads what was dated since the last one, of whatever second: a backlog
  that comes partition by partition, a late block and a recount all reach the baseline (`alert_reads.py`).
- *Evaluate*: time is event time, by source. A second is evaluated once a message `lateness_s` further on is there, so the clock
  of one source harms no other. Seconds that change afterwards are evaluated again, up to three hours back, as far as a baseline
  reaches, and never into a known alert. One poll evaluates at most `REVISE_BUDGET_S` again, the longest waiting source first.
- *Hold*: while most messages of a source arrive more than `LATE_S` after their date, it is catching up: one partition is there
  up to now, another is not. Its seconds then wait until this stops for `SETTLE_S`, and at most `HOLD_S`: a part of the
  partitions may be a part of the authors, which can look like a shift. A source that is always late waits once.
- *First start*: seconds before the first start are history. They make the baseline and raise no alert, as long as they arrive
  within `FIRST_S` of the first row.

After a restart the baseline is read from the warehouse and the alerts from their table; `var/stream/alerts-state.json` has up to
where each source was evaluated, the newest change seen, and what was published. What changed meanwhile is evaluated then; no
alert is repeated. The table is the truth; topic and webhook are notified at least once, with an id that makes repeats harmless.
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
from serving.streaming.alert_drivers import driving_words, moving_texts
from serving.streaming.alert_reads import AHEAD_S, Changes, Tables, first_changed, newest_seconds, read_seconds
from serving.streaming.alert_rows import alert_of, muted_sources, read_alerts, shift_of, slack_message, time_of, write_alerts
from serving.streaming.anomaly import BLOCK_S, KEEP_S, LONGEST_ALERT_S, Rules, Seconds, Shift, Watch
from serving.streaming.calibrate import threshold_of

POLL_S = 0.5
LATE_S = 10.0
SETTLE_S = 3.0
HOLD_S = 60.0
CALM_S = 10.0
"""After so long without late messages a source may be held again."""
FIRST_S = 120.0
REVISE_BUDGET_S = 400_000
"""Seconds of sources that one poll evaluates again: about 0.3 s of CPU."""
SILENT_S = 120.0
"""An open alert of a source without a message for this long, by this machine's clock, is closed."""
FORGET_S = 3600.0
"""A source without a message for this long leaves the memory, some 350 KB, until it has one again."""
NORMAL_S = 5.0
SAVE_S = 5.0
_PUBLISHED = 200
_NORMAL_COLUMNS = ["source", "bucket", "mean", "variance", "drift", "threshold"]
_log = logging.getLogger(__name__)


def state_file(var: Path) -> Path:
    """What the alerts remember."""
    return var / "stream" / "alerts-state.json"


def forget_sources(var: Path, names: Sequence[str]) -> None:
    """Forget up to where these sources were evaluated. Only while no alerts process runs, which would write it again."""
    try:
        state = read_json(state_file(var))
        for part in ("judged", "news_from"):
            state[part] = {name: value for name, value in state.get(part, {}).items() if name not in names}
    except (OSError, ValueError, KeyError, AttributeError):
        return
    write_json(state_file(var), state)


@dataclass
class _Source:
    """One source, and what arrived of it; times are of this machine's clock unless they are seconds."""

    watch: Watch
    newest: int
    """Its newest second."""
    heard_at: float
    """When messages of it last arrived."""
    normal_to: int
    """Second up to which its normal is recorded."""
    revise_from: float = math.inf
    """First second that changed after it was evaluated."""
    revise_since: float = math.inf
    """When that was noticed."""
    arrived: float = 0.0
    """Messages that arrived lately, halved each `SETTLE_S`."""
    late: float = 0.0
    """Those of them that were dated more than `LATE_S` before."""
    seen_at: float = -math.inf
    late_at: float = -math.inf
    """When most of what arrived was late."""
    held_from: float = -math.inf

    def arrive(self, changed: np.ndarray, now: float) -> None:
        """Take note of seconds that changed: second and messages gained, shape (n, 2)."""
        if not len(changed):
            return
        gained = changed[:, 1].clip(min=0)
        late = float(gained[changed[:, 0] < now - LATE_S].sum())
        fade = 0.5 ** ((now - self.seen_at) / SETTLE_S)
        self.arrived, self.late, self.seen_at = self.arrived * fade + float(gained.sum()), self.late * fade + late, now
        if gained.any():
            self.heard_at = now
        if late and self.late > self.arrived / 2:
            if now - self.late_at >= CALM_S:
                self.held_from = now
            self.late_at = now
        self.newest = max(self.newest, int(changed[:, 0].max()))
        self.revise(float(changed[:, 0].min()), now)

    def revise(self, second: float, now: float) -> None:
        """Have seconds from this one on evaluated again, if they were evaluated."""
        if second < self.watch.judged:
            self.revise_from = min(self.revise_from, second)
            self.revise_since = min(self.revise_since, now)

    def catches_up(self, now: float) -> bool:
        """Whether its seconds should wait for what is still arriving."""
        return now - self.late_at < SETTLE_S and now - self.held_from < HOLD_S


class Alerts:
    """All sources of one warehouse. `poll` looks once, evaluates what can be evaluated, and publishes what changed."""

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
        self._judged: dict[str, int] = {}
        self._news_from: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._began: float | None = None
        self._history_until: float | None = None
        self._saved_at = self._normals_at = -math.inf
        self._polled_at: float | None = None

    def poll(self, client: Any) -> list[Alert]:
        """One round. Blocks for the time of a few statements; what it could not write, the next round writes first.

        Raises:
            Exception: The warehouse did not answer (clickhouse-connect and chDB raise unrelated classes). Nothing is lost.
        """
        now = self._clock()
        changes = self._changes or self._start(client, now)
        published = self._write(client, now)
        if self._polled_at is not None and now - self._polled_at > SILENT_S / 4:  # we were stopped, not the sources
            for found in self._sources.values():
                found.heard_at = max(found.heard_at, now)
        self._take_in(client, changes.read(client, now), now)
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
        """Note up to where each source was evaluated, the newest change that was seen, and what was published."""
        if self._changes is None or self._unwritten:
            return
        self._told = dict(list(self._told.items())[-_PUBLISHED:])
        self._news_from = {
            name: found.watch.news_from for name, found in self._sources.items() if found.watch.news_from > found.watch.oldest
        }
        # What waits to be evaluated again is evaluated by whoever resumes from here.
        waiting = {name: int(min(found.watch.judged, found.revise_from)) for name, found in self._sources.items()}
        state = {
            "written_at": self._clock(),
            "judged": self._judged | waiting,
            "told": self._told,
            "mark": self._changes.mark,
            "began": self._began,
            "history_until": self._history_until,
            "news_from": self._news_from,
        }
        try:
            write_json(self._state_file, state)
        except GroundswellError as error:  # a full disk is no reason to stop; after a restart more is evaluated again
            _log.warning("%s", str(error).splitlines()[0])

    def _start(self, client: Any, now: float) -> Changes:
        seen = None
        try:
            state: Any = read_json(self._state_file)
            self._judged = {name: int(second) for name, second in state["judged"].items()}
            self._told = {name: int(revision) for name, revision in state["told"].items()} | self._told
            self._news_from = {name: int(second) for name, second in state.get("news_from", {}).items()}
            self._began, self._history_until = state.get("began"), state.get("history_until")
            seen = state.get("mark")
        except (OSError, ValueError, KeyError, AttributeError):  # the first start
            self._began = self._began or now
        else:  # written, and then the process ended before it published
            for alert in read_alerts(client, time_of(now - 86_400)):
                if self._told.get(alert.id, 0) < alert.revision:
                    self._pass_on(alert)
        newest, mark = newest_seconds(client, now)
        changed = first_changed(client, now, seen) if seen else {}
        known = {name: second for name, second in newest.items() if name in changed or second >= self._judged.get(name, 0)}
        self._take_up(client, known, now)
        for name in changed.keys() & known.keys():
            self._sources[name].revise(changed[name], now)
        self._changes = Changes(mark)
        return self._changes

    def _take_up(self, client: Any, newest: Mapping[str, int], now: float) -> None:
        """Begin with sources, given their newest seconds: read all that their evaluation can depend on."""
        if not newest:
            return
        wanted = {
            name: (min(self._judged.get(name, second), second) - KEEP_S - LONGEST_ALERT_S - 2 * BLOCK_S, int(now) + AHEAD_S)
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
        # The alerts in the table are younger than the state file where the process was killed.
        after = [shift.detected + 1 for shift in shifts] + [shift.closed or 0 for shift in past]
        judged = max([self._judged.get(name, seconds.start), *after])
        watch = Watch(self._rules(name), seconds, judged, opened, past, self._news_from.get(name, 0))
        # The last minutes may not have been recorded; those before an alert was known are not what they would be now.
        found = _Source(watch, newest, now, normal_to=max([judged - 120, *after]))
        found.arrive(table[:, :2], now)
        found.revise_from = found.revise_since = math.inf
        return found

    def _take_in(self, client: Any, tables: Tables, now: float) -> None:
        newest = {name: int(table[-1, 0]) for name, table in tables.items() if name not in self._sources}
        for name in tables.keys() - newest.keys():
            found = self._sources[name]
            found.arrive(found.watch.put(tables[name]), now)
        self._take_up(client, {name: at for name, at in newest.items() if at >= self._judged.get(name, 0)}, now)

    def _evaluate(self, now: float) -> None:
        budget = REVISE_BUDGET_S
        gone = []
        for name, found in sorted(self._sources.items(), key=lambda each: each[1].revise_since):
            watch = found.watch
            watch.rules = self._rules(name)
            if self._began is not None and (self._history_until is None or now < self._history_until):
                watch.news_from = max(watch.news_from, min(found.newest + 1, int(self._began)))
            if found.catches_up(now):
                continue
            if found.revise_from < math.inf and budget > 0:
                watch.revise(int(found.revise_from))
                found.normal_to = min(found.normal_to, watch.judged)
                found.revise_from = found.revise_since = math.inf
                budget -= found.newest - watch.judged
            silent = now - found.heard_at > SILENT_S
            changes = watch.advance(found.newest + 1 if silent else found.newest - self._lateness + 1)
            if silent and (closed := watch.close(found.newest + 1)):
                changes.append(closed)
            self._note_normal(name, found)
            watch.forget()
            self._judged[name] = watch.judged
            self._unwritten += [(name, change) for change in changes]
            if watch.open is None and now - found.heard_at > FORGET_S:
                gone.append(name)
        for name in gone:
            del self._sources[name]

    def _note_normal(self, name: str, found: _Source) -> None:
        watch = found.watch
        for second, *values in watch.normals(max(found.normal_to, watch.seconds.start), watch.judged).tolist():
            self._normals[name, int(second)] = [name, time_of(second), *values, watch.rules.threshold]
        found.normal_to = watch.judged

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
            self._pass_on(alert)
            published.append(alert)
        return published

    def _pass_on(self, alert: Alert) -> None:
        _log.info("%s", slack_message(alert)[0])
        self._publish(alert)
        self._told.pop(alert.id, None)
        self._told[alert.id] = alert.revision

    def _rules(self, source: str) -> Rules:
        return Rules(threshold_of(self._var, self._settings, source), self._settings.min_volume)


def _drivers(client: Any, source: str, shift: Shift) -> tuple[Sequence[str], Sequence[AlertWord]]:
    """What moved a shift. Better an alert without it than none: an unavailable warehouse refuses the insert, too."""
    try:
        return moving_texts(client, source, shift), driving_words(client, source, shift)
    except Exception as error:  # clickhouse-connect and chDB raise unrelated classes
        _log.warning("What drives an alert could not be read: %s", str(error).splitlines()[0][:200])
        return (), ()
