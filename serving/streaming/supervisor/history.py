"""History of the stream's state: a row a second for some hours, and a row a minute for a month."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS, MINUTES = "history.jsonl", "history-minutes.jsonl"
SECONDS_BYTES, MINUTES_BYTES = 5 * 2**20, 12 * 2**20
"""At most two files of this size are kept of each. A row of three processes has 250 bytes: 5 to 10 hours, 30 to 60 days."""
DETAILED_S = 7200
"""A span up to this long is read from the rows of seconds."""
_BLOCK = 256 * 1024
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)

Row = dict[str, Any]
"""at (epoch s), lag (messages, None: unknown), rate and arriving (messages/s), workers (running), target, cpu (cores) and
rss_bytes (both by process), dead_letters and restarts (in the time of the row)."""


class History:
    """Writes the rows of one supervisor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._minute: list[Row] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row; with the first row of a new minute, also a row for the minute before.

        Raises:
            OSError: The disk is full, or the folder may not be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._minute and row["at"] // 60 != self._minute[0]["at"] // 60:
            done, self._minute = self._minute, []
            _append(self._folder / MINUTES, merged(done, done[0]["at"] // 60 * 60), MINUTES_BYTES)
        self._minute.append(dict(row))
        _append(self._folder / SECONDS, row, SECONDS_BYTES)


def _append(path: Path, row: Mapping[str, Any], limit: int) -> None:
    if path.exists() and path.stat().st_size > limit:
        path.replace(_older(path))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, separators=(",", ":")) + "\n")


def _older(path: Path) -> Path:
    return path.with_name(f"{path.stem}.1{path.suffix}")


def read_history(folder: Path, since: float, until: float, most: int = 300) -> tuple[list[Row], int]:
    """Return the rows of a time span, oldest first, and the seconds that each covers.

    Rows are merged until there are at most `most`; a time in which no supervisor ran has none. Reads only the end of the files.

    Args:
        folder: Where the supervisor writes.
        since: Epoch s.
        until: Epoch s.
        most: Largest number of rows to return.
    """
    span_s = max(1.0, until - since)
    step_s = next((step for step in _STEPS_S if span_s / step <= most), _STEPS_S[-1])
    minutes: list[Row] = []
    if span_s > DETAILED_S:
        minutes = list(_rows(folder / MINUTES, since, until))
        seconds = list(_rows(folder / SECONDS, minutes[-1]["at"] + 60 if minutes else since, until))
    else:
        seconds = list(_rows(folder / SECONDS, since, until))
        if not seconds or seconds[0]["at"] - since > 60:  # there may be minutes before the oldest second
            minutes = list(_rows(folder / MINUTES, since, seconds[0]["at"] - 60 if seconds else until))
    groups: dict[int, list[Row]] = {}
    for row in [*minutes, *seconds]:
        groups.setdefault(int(row["at"] // step_s), []).append(row)
    return [merged(rows, index * step_s) for index, rows in sorted(groups.items())], step_s


def _rows(path: Path, since: float, until: float) -> Iterator[Row]:
    """Yield the rows of a time span from a file and its predecessor."""
    newer = _tail(path, since)
    older = _tail(_older(path), since) if not newer or newer[0]["at"] >= since else []
    for row in [*older, *newer]:
        if since <= row["at"] < until:
            yield row


def _tail(path: Path, since: float) -> list[Row]:
    """Return the rows at the end of a file, back to one before `since` or to the beginning."""
    blocks: list[bytes] = []
    try:
        with path.open("rb") as file:
            at = file.seek(0, 2)
            while at > 0:
                step = min(_BLOCK, at)
                at -= step
                file.seek(at)
                blocks.append(file.read(step))
                whole = blocks[-1].split(b"\n", 2)[1 if at else 0 : 2]  # the first line of a block may begin in the one before
                if any(row["at"] < since for row in _parsed(whole[:1])):
                    break
    except FileNotFoundError:
        return []
    return list(_parsed(b"".join(reversed(blocks)).split(b"\n")[1 if at else 0 :]))


def _parsed(lines: Iterable[bytes]) -> Iterator[Row]:
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # a killed supervisor may leave half a line
            row = json.loads(line)
            row["at"] = float(row["at"])
            yield row


def merged(rows: list[Row], at: float) -> Row:
    """Merge rows: the highest lag, workers and memory, mean rates and CPU, sums of dead letters and restarts, the last target."""
    return {
        "at": at,
        "lag": _highest(rows, "lag"),
        "rate": _mean(rows, "rate"),
        "arriving": _mean(rows, "arriving"),
        "workers": _highest(rows, "workers"),
        "target": rows[-1].get("target"),
        "cpu": {name: round(sum(values) / len(values), 3) for name, values in _by_process(rows, "cpu").items()},
        "rss_bytes": {name: int(max(values)) for name, values in _by_process(rows, "rss_bytes").items()},
        "dead_letters": sum(row.get("dead_letters") or 0 for row in rows),
        "restarts": sum(row.get("restarts") or 0 for row in rows),
    }


def _highest(rows: list[Row], name: str) -> int | None:
    return max((row[name] for row in rows if row.get(name) is not None), default=None)


def _mean(rows: list[Row], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return round(sum(values) / len(values), 1) if values else None


def _by_process(rows: list[Row], what: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in (row.get(what) or {}).items():
            if value is not None:
                values.setdefault(name, []).append(value)
    return values
