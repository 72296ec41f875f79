"""Finds the threshold that keeps to the false-alarm budget, by replaying quiet history: `groundswell stream calibrate`.

The seconds of each source, without those of alerts, are cut into blocks of five minutes. The blocks are drawn with replacement
into simulated weeks (a block bootstrap: Künsch, Annals of Statistics 17, 1989; blocks keep the correlation of neighboring
messages) and scanned by the same code as live messages. The threshold is read from the peaks: the largest |z| of each two
minutes. A few hours that are drawn again and again contain no new extremes. So the peaks are used as they are only up to a level
that the history passed often enough. Above it the squares of the peaks are assumed to fall exponentially, as those of normal
maxima do (Hall, Advances in Applied Probability 12, 1980), at the rate that this source shows: with bursts they fall more slowly.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from data.artifacts import read_json, write_json
from serving.settings import AlertSettings
from serving.streaming.alerts.detector import BLOCK_S, Rules, Seconds, Watch

WEEK_S = 7 * 86_400
PIECE_S = 300
LEAST_HISTORY_S = 3600
WEEKS = 4
PEAK_S = 120
_TAIL_PEAKS = 100
"""Number of different peaks of the history in the tail, limited to between 2 and 30 % of all."""
_EXPECTED_PEAKS = 50
"""Weight of the expected rate of the fall, in peaks of the history; it steadies the estimate from a few hours."""
_LEAST_THRESHOLD = 3.0
_ONCE_A_WEEK_SQUARED, _FALL = 25.6, 2.0


def default_threshold(alarms_per_week: float) -> float:
    """Return the threshold without a calibration, for independent messages.

    From thirty simulated weeks of normal scores at 20, 100 and 1,000 messages a second: 5.51, 5.06, 4.60, 4.36 for 0.1, 1, 10,
    30 alarms a week, alike at all three rates; the square falls by two with each e-fold, as for normal maxima.
    """
    return math.sqrt(max(_LEAST_THRESHOLD**2, _ONCE_A_WEEK_SQUARED - _FALL * math.log(alarms_per_week)))


@dataclass(frozen=True)
class Calibration:
    """The threshold of one source."""

    source: str
    threshold: float
    alarms_per_week: float
    """The budget that it keeps."""
    history_s: int
    """Quiet seconds with messages that it was calculated from."""
    weeks: float
    """Simulated from them; 0: too little history, this is the default threshold."""
    messages_per_s: float
    at: str
    """When, ISO 8601."""


def calibrate(
    history: Seconds,
    alarms_per_week: float,
    *,
    source: str = "",
    min_volume: int = 30,
    quiet: np.ndarray | None = None,
    weeks: int = WEEKS,
    seed: int = 0,
) -> Calibration:
    """Calculate the threshold of one source from its quiet history. Takes about a second of CPU time.

    Args:
        history: Its seconds.
        alarms_per_week: The budget.
        source: Its name.
        min_volume: As in the live rules.
        quiet: For each second whether it may be used; None: all.
        weeks: Number of weeks to simulate.
        seed: Of the random draws.
    """
    quiet = np.ones(len(history.count), dtype=bool) if quiet is None else quiet
    pieces = [start for start in range(0, len(quiet) - PIECE_S + 1, PIECE_S) if quiet[start : start + PIECE_S].all()]
    pieces = [start for start in pieces if history.count[start : start + PIECE_S].sum() > 0]
    used = len(pieces) * PIECE_S
    rate = sum(float(history.count[start : start + PIECE_S].sum()) for start in pieces) / max(1, used)
    given = (source, alarms_per_week, used, round(rate, 2), datetime.now(UTC).isoformat(timespec="seconds"))
    if used < LEAST_HISTORY_S:
        return _calibration(default_threshold(alarms_per_week), 0.0, *given)
    chance = np.random.default_rng(seed)
    peaks: list[np.ndarray] = []
    for _ in range(weeks):  # one at a time: a week is 15 MB
        drawn = chance.choice(np.array(pieces), WEEK_S // PIECE_S)
        at = (drawn[:, None] + np.arange(PIECE_S)[None, :]).ravel()
        peaks.append(peaks_of(Seconds(0, history.count[at], history.total[at], history.squares[at]), min_volume))
    return _calibration(threshold_from(np.concatenate(peaks), weeks, alarms_per_week, used), float(weeks), *given)


def peaks_of(seconds: Seconds, min_volume: int = 30) -> np.ndarray:
    """Return the largest |z| of each two minutes."""
    watch = Watch(Rules(math.inf, min_volume), seconds, seconds.start)
    stop = len(seconds.count) // PEAK_S * PEAK_S
    step = 180 * PEAK_S
    parts = [watch.scan(seconds.start + a, seconds.start + min(a + step, stop))[0] for a in range(0, stop, step)]
    return np.abs(np.concatenate(parts)).reshape(-1, PEAK_S).max(axis=1) if parts else np.zeros(0)


def threshold_from(peaks: np.ndarray, weeks: float, alarms_per_week: float, history_s: float = math.inf) -> float:
    """Return the level that peaks pass `alarms_per_week` times a week.

    Args:
        peaks: Of the simulated weeks.
        weeks: Number of simulated weeks.
        alarms_per_week: The budget.
        history_s: Seconds that they were drawn from; it limits how many of the peaks are different ones.
    """
    ordered = np.sort(peaks)[::-1]
    share = min(0.3, max(0.02, _TAIL_PEAKS * PEAK_S / history_s))
    tail = max(1, min(round(share * len(ordered)), len(ordered) - 1))
    budget = alarms_per_week * weeks
    if budget >= tail:
        return max(_LEAST_THRESHOLD, float(ordered[min(round(budget), len(ordered) - 1)]))
    level = float(ordered[tail])
    seen = float((ordered[:tail] ** 2 - level**2).mean())
    # The fall above the level, expected if z differs from that of independent messages only in scale.
    expected = _FALL * level**2 / default_threshold(tail / weeks) ** 2
    different = min(tail, share * history_s / PEAK_S)
    fall = (different * seen + _EXPECTED_PEAKS * expected) / (different + _EXPECTED_PEAKS)
    return max(_LEAST_THRESHOLD, math.sqrt(level**2 + fall * math.log(tail / budget)))


def calibrate_from_warehouse(client: Any, var: Path, settings: AlertSettings) -> list[Calibration]:
    """Calibrate each source on the seconds that the warehouse keeps (a week), and write the file that the alerts read.

    Raises:
        GroundswellError: The file cannot be written. Errors of the warehouse pass through.
    """
    names = [row[0] for row in client.query("SELECT DISTINCT source FROM rollup_second ORDER BY source").result_rows]
    calibrations = []
    for name in names:
        rows = client.query(
            "SELECT toUnixTimestamp(bucket), sum(messages), sum(score), sum(score_squared) FROM rollup_second FINAL "
            "WHERE source = {source:String} AND bucket <= now() GROUP BY bucket ORDER BY bucket",
            parameters={"source": name},
        ).result_rows
        if not rows:
            continue
        table = np.array(rows, dtype=float)
        table = table[table[:, 0] > table[-1, 0] - 2 * WEEK_S]
        start = int(table[0, 0]) // BLOCK_S * BLOCK_S
        values = np.zeros((3, int(table[-1, 0]) - start + 1))
        values[:, table[:, 0].astype(int) - start] = table[:, 1:].T
        seconds = Seconds(start, *values)
        quiet = np.ones(len(seconds.count), dtype=bool)
        for began, ended in _alerts(client, name):
            quiet[max(0, began - PEAK_S - start) : max(0, ended + PEAK_S - start)] = False
        calibrations.append(
            calibrate(seconds, settings.alarms_per_week, source=name, min_volume=settings.min_volume, quiet=quiet)
        )
    write_json(calibration_file(var), {"sources": {row.source: asdict(row) for row in calibrations}})
    return calibrations


def calibration_file(var: Path) -> Path:
    """Return the path of the thresholds."""
    return var / "stream" / "alerts.json"


def read_calibration(var: Path) -> dict[str, Calibration]:
    """Return the calibrations by source; empty where there is no file or it cannot be read."""
    try:
        return {name: Calibration(**row) for name, row in read_json(calibration_file(var))["sources"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


_read: dict[Path, tuple[int, dict[str, Calibration]]] = {}


def threshold_of(var: Path, settings: AlertSettings, source: str) -> float:
    """Return the setting; else the calibration of this source for this budget; else the default. Reads a changed file again."""
    if settings.threshold is not None:
        return settings.threshold
    path = calibration_file(var)
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return default_threshold(settings.alarms_per_week)
    if _read.get(path, (None,))[0] != changed:
        _read[path] = changed, read_calibration(var)
    row = _read[path][1].get(source)
    if row is None or row.alarms_per_week != settings.alarms_per_week:
        return default_threshold(settings.alarms_per_week)
    return row.threshold


def _calibration(threshold: float, weeks: float, source: str, budget: float, history: int, rate: float, at: str) -> Calibration:
    return Calibration(source, round(threshold, 3), budget, history, weeks, rate, at)


def _alerts(client: Any, source: str) -> Sequence[tuple[int, int]]:
    return client.query(
        "SELECT toUnixTimestamp(started_at), toUnixTimestamp(ifNull(closed_at, now())) FROM alerts FINAL "
        "WHERE source = {source:String}",
        parameters={"source": source},
    ).result_rows
