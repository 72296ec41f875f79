"""Reads the seconds of sources from the warehouse: all seconds of some sources, and those that changed since the last read."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

AHEAD_S = 60
"""Event seconds that are further ahead of this machine's clock are not read yet."""
SETTLED_S = 60
"""A row has the time when its newest message was inserted (`changed_at`), and can be read once its rollup is written: at most
this much later."""
_PROMPT_S = 5
"""Nearly all rows can be read after this time; the whole minute is read every `_WHOLE_S`."""
_WHOLE_S = 10.0
_APART_S = 3600

_CHANGED = """
SELECT source, toUnixTimestamp(bucket), sum(messages), sum(score), sum(score_squared), toUnixTimestamp64Milli(max(changed_at))
FROM rollup_second FINAL
WHERE (bucket, source) IN (
    SELECT bucket, source FROM rollup_second
    WHERE changed_at >= least(fromUnixTimestamp64Milli({mark:Int64}, 'UTC'), now64(3)) - toIntervalSecond({back:UInt32})
      AND bucket <= toDateTime({limit:UInt32}))
GROUP BY source, bucket
ORDER BY source, bucket
"""
_SOURCES = """
SELECT source, toUnixTimestamp(max(bucket)), toUnixTimestamp64Milli(max(changed_at))
FROM rollup_second
WHERE bucket <= toDateTime({limit:UInt32})
GROUP BY source
"""
_FIRST_CHANGED = """
SELECT source, toUnixTimestamp(min(bucket))
FROM rollup_second
WHERE changed_at >= least(fromUnixTimestamp64Milli({mark:Int64}, 'UTC'), now64(3)) - toIntervalSecond({back:UInt32})
  AND bucket <= toDateTime({limit:UInt32})
GROUP BY source
"""
_SECONDS = """
SELECT source, toUnixTimestamp(bucket), sum(messages), sum(score), sum(score_squared)
FROM rollup_second FINAL
WHERE bucket >= toDateTime({since:UInt32}) AND bucket <= toDateTime({until:UInt32}) AND source IN {names:Array(String)}
GROUP BY source, bucket
"""
Tables = dict[str, np.ndarray]
"""By source, shape (n, 4): second, messages, sum and sum of squares of their scores."""


class Changes:
    """The changes of the warehouse since the last read. `mark` is the newest change seen, in ms of the warehouse's clock.

    One read covers what was written within the last five seconds (every ten seconds: the last minute), however much is stored.
    If the warehouse's clock is set back, the last minute is read again, and nothing else changes.
    """

    def __init__(self, mark: int) -> None:
        self.mark = mark
        self._whole_at = -math.inf
        self._next = mark, self._whole_at

    def read(self, client: Any, now: float) -> Tables:
        """Return the seconds that changed since the last read, and some of before, as they are now. Blocks for one statement.

        Until `seen` is called, each call reads the same range again, so a failure in between loses nothing.
        """
        whole = now - self._whole_at >= _WHOLE_S
        given = {"mark": self.mark, "back": SETTLED_S if whole else _PROMPT_S, "limit": int(now) + AHEAD_S}
        tables: dict[str, list[Any]] = {}
        self._next = self.mark, now if whole else self._whole_at
        for name, *row, changed in client.query(_CHANGED, parameters=given).result_rows:
            tables.setdefault(name, []).append(row)
            self._next = max(self._next[0], changed), self._next[1]
        return {name: np.array(table, dtype=float) for name, table in tables.items()}

    def seen(self) -> None:
        """Confirm the last read: the next one begins after it."""
        self.mark, self._whole_at = self._next


def newest_seconds(client: Any, now: float) -> tuple[dict[str, int], int]:
    """Return the newest second of each source, and the newest change of all sources in ms. Reads the whole table."""
    rows = client.query(_SOURCES, parameters={"limit": int(now) + AHEAD_S}).result_rows
    return {name: int(newest) for name, newest, _ in rows}, max((int(changed) for *_, changed in rows), default=0)


def first_changed(client: Any, now: float, mark: int) -> dict[str, int]:
    """Return, by source, the first second that changed, or may have changed, since a mark."""
    given = {"mark": mark, "back": SETTLED_S, "limit": int(now) + AHEAD_S}
    return {name: int(first) for name, first in client.query(_FIRST_CHANGED, parameters=given).result_rows}


def read_seconds(client: Any, wanted: Mapping[str, tuple[int, int]]) -> Tables:
    """Return all seconds of sources, each from a first to a last one. Sources of about the same time share a statement."""
    tables: Tables = {name: np.zeros((0, 4)) for name in wanted}
    for names in _alike(wanted):
        since, until = min(wanted[name][0] for name in names), max(wanted[name][1] for name in names)
        given = {"since": max(0, since), "until": max(0, until), "names": names}
        number = {name: at for at, name in enumerate(names)}
        blocks = [np.zeros((0, 5))]
        with client.query_column_block_stream(_SECONDS, parameters=given) as stream:
            for sources, *columns in stream:
                which = np.fromiter(map(number.__getitem__, sources), dtype=float, count=len(sources))
                blocks.append(np.stack([which, *(np.asarray(column, dtype=float) for column in columns)], axis=1))
        rows = np.concatenate(blocks)
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        ends = np.searchsorted(rows[:, 0], np.arange(len(names) + 1))
        for at, name in enumerate(names):
            table = rows[ends[at] : ends[at + 1], 1:]
            tables[name] = table[(table[:, 0] >= wanted[name][0]) & (table[:, 0] <= wanted[name][1])]
    return tables


def _alike(wanted: Mapping[str, tuple[int, int]]) -> Iterable[list[str]]:
    """Yield groups of sources whose first seconds are within one hour."""
    group: list[str] = []
    for name in sorted(wanted, key=lambda each: wanted[each][0]):
        if group and wanted[name][0] - wanted[group[0]][0] > _APART_S:
            yield group
            group = []
        group.append(name)
    if group:
        yield group
