"""A fake warehouse for tests of the alerts: it runs their few statements in memory, with the clock of the test.

`test_alert_order.py` compares it with chDB.
"""

from collections import defaultdict
from contextlib import contextmanager

from serving.streaming.alerts import reads as alert_reads
from serving.warehouse.blocks import CHUNK


class Result:
    """The result class of clickhouse-connect."""

    def __init__(self, rows):
        self.result_rows = rows


class FakeWarehouse:
    """Rollups of seconds by chunk, alerts and normals. Messages are (second, source, partition, offset, score)."""

    def __init__(self, clock):
        self.clock = clock
        self.rollup = defaultdict(dict)
        """By (source, second), by (partition, chunk): messages, score, score squared, changed at."""
        self.written = {}
        """By (partition, offset)."""
        self.log = []
        """(changed at, source, second), in the order of writing."""
        self.alerts, self.normals = {}, {}

    def write(self, messages):
        """Write like a worker: each message counts once, however often it is delivered."""
        now = self.clock()
        for second, source, partition, offset, score in messages:
            row = self.rollup[source, second]
            key = partition, offset // CHUNK
            count, total, squares, _ = row.get(key, (0, 0.0, 0.0, 0.0))
            if (partition, offset) not in self.written:
                count, total, squares = count + 1, total + score, squares + score**2
            self.written[partition, offset] = now
            row[key] = count, total, squares, now
            self.log.append((now, source, second))

    def _changed(self, given):
        since = min(given["mark"] / 1000, self.clock()) - given["back"]
        seconds = set()
        for changed, source, second in reversed(self.log):
            if changed < since:
                break
            if second <= given["limit"]:
                seconds.add((source, second))
        return sorted(seconds)

    def _totals(self, keys):
        return [(*key, *map(sum, zip(*(row[:3] for row in self.rollup[key].values()), strict=True))) for key in keys]

    def _changed_at(self, key):
        return int(max(row[3] for row in self.rollup[key].values()) * 1000)

    def query(self, sql, parameters=None):
        given = parameters or {}
        if sql == alert_reads._CHANGED:
            keys = self._changed(given)
            return Result([(*row, self._changed_at(key)) for key, row in zip(keys, self._totals(keys), strict=True)])
        if sql == alert_reads._SOURCES:
            newest = {}
            for source, second in self.rollup:
                if second <= given["limit"]:
                    old = newest.get(source, (0, 0))
                    newest[source] = max(old[0], second), max(old[1], self._changed_at((source, second)))
            return Result([(source, *values) for source, values in newest.items()])
        if sql == alert_reads._FIRST_CHANGED:
            first = {}
            for source, second in self._changed(given):
                first[source] = min(first.get(source, second), second)
            return Result(list(first.items()))
        if "FROM alerts " in sql:
            columns = sql.removeprefix("SELECT ").partition(" FROM")[0].split(", ")
            kept = [row for row in self.alerts.values() if not row["closed_at"] or row["closed_at"].timestamp() >= given["since"]]
            return Result([[row[name] for name in columns] for row in sorted(kept, key=lambda row: row["started_at"])])
        assert "FROM alert_mutes" in sql or "FROM predictions" in sql, sql
        return Result([])

    @contextmanager
    def query_column_block_stream(self, sql, parameters):
        assert sql == alert_reads._SECONDS
        first, last, names = parameters["since"], parameters["until"], parameters["names"]
        rows = self._totals([key for key in self.rollup if key[0] in names and first <= key[1] <= last])
        yield [list(zip(*rows[at : at + 500], strict=True)) for at in range(0, len(rows), 500)]

    def insert(self, table, rows, column_names):
        for row in rows:
            values = dict(zip(column_names, row, strict=True))
            if table == "alerts":
                values["words"] = []
                if self.alerts.get(values["id"], values)["revision"] <= values["revision"]:
                    self.alerts[values["id"]] = values
            else:
                assert table == "normal_minute"
                self.normals[values["source"], int(values["bucket"].timestamp())] = values
