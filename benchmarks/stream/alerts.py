"""Detection delay of a sentiment shift at equal false-alarm rates: our alerts, a plain z-score, river's ADWIN and Page-Hinkley.

Real texts, classified once, are drawn in random order at Poisson times. A shift replaces messages at random by messages from the
fifth of all texts at the other end; the probability is chosen so that the mean moves by the given number of points. Half of the
shifts go down, half up, and each begins at a random time within a second. All four detectors see the same seconds. They are tuned
to the same number of false alarms on the same quiet weeks; their false alarms are then counted on other weeks. The delay runs
from the start of the shift to the end of the second in which it is detected, in event time. The delay that the pipeline adds to
ours is listed separately.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from data.artifacts import digest
from serving.bundle import Bundle
from serving.streaming.alerts.calibration import PEAK_S, WEEK_S, peaks_of
from serving.streaming.alerts.detector import POINTS, Rules, Seconds, Watch
from serving.streaming.alerts.service import POLL_S

SHIFTS = (2, 5, 10, 20)
RATES = (20, 100, 1000)
HISTORY_S, LIMIT_S = 3600, 120
OURS, Z_SCORE, ADWIN, PAGE_HINKLEY = "Groundswell", "z-score", "river ADWIN", "river Page-Hinkley"
GOAL_SHIFT, GOAL_RATE, GOAL_S = 10, 100, 5.0
_END = 0.2
_MANY = 500
"""From this number of messages per second on, a second's sums are drawn from a normal distribution, which then fits well."""
_STEPS = 10


@dataclass(frozen=True)
class _ScorePool:
    """Scores of real texts, from which seconds of a stream are drawn."""

    scores: np.ndarray

    def quiet(self, rng: np.random.Generator, rate: float, seconds: int) -> np.ndarray:
        """Draw seconds without a shift: messages, sum and sum of squares; shape (3, seconds)."""
        return _sums(rng, self.scores, rng.poisson(rate, seconds))

    def share(self, shift: float) -> float:
        """Return the share of messages that a shift (in score, signed) replaces."""
        return shift / (float(self.end(shift).mean()) - float(self.scores.mean()))

    def end(self, shift: float) -> np.ndarray:
        """Return the fifth of the scores that a shift draws from."""
        ordered = np.sort(self.scores)
        size = int(len(ordered) * _END)
        return ordered[-size:] if shift > 0 else ordered[:size]

    def shifted(self, rng: np.random.Generator, rate: float, seconds: int, shift: float, late: float) -> np.ndarray:
        """Draw seconds as `quiet` does, with the mean moved by `shift` from `late` (0 to 1) in the first second on."""
        share = self.share(shift)
        lengths = np.full(seconds, rate, dtype=float)
        lengths[0] *= 1 - late
        moved = _sums(rng, self.end(shift), rng.poisson(lengths * share))
        rest = _sums(rng, self.scores, rng.poisson(rate - lengths * share))
        return moved + rest

    def divergence(self, shift: float) -> float:
        """Return the Kullback-Leibler divergence of one shifted message from a quiet one, in nats."""
        share = self.share(shift)
        outside, inside = 1 - share, 1 - share + share / _END
        return (1 - _END) * outside * math.log(outside) + _END * inside * math.log(inside)


def _sums(rng: np.random.Generator, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    if counts.max(initial=0) < _MANY:
        out = np.zeros((3, len(counts)))
        out[0] = counts
        for start in range(0, len(counts), 86_400):
            part = counts[start : start + 86_400]
            drawn = scores[rng.integers(0, len(scores), int(part.sum()))]
            ends = np.concatenate([[0], np.cumsum(part)])
            for row, values in ((1, drawn), (2, drawn**2)):
                sums = np.concatenate([[0.0], np.cumsum(values)])
                out[row, start : start + 86_400] = sums[ends[1:]] - sums[ends[:-1]]
        return out
    both = np.stack([scores, scores**2])
    noise = np.linalg.cholesky(np.cov(both)) @ rng.standard_normal((2, len(counts))) * np.sqrt(counts)
    return np.vstack([counts[None, :], both.mean(axis=1)[:, None] * counts + noise])


Alarms = Callable[[np.ndarray, int], np.ndarray]
"""Takes seconds (3, N) and how many at the start raise no alarm; returns the numbers of the seconds with an alarm."""


def _ours(threshold: float, values: np.ndarray, skip: int) -> np.ndarray:
    watch = Watch(Rules(threshold), Seconds(0, *values), skip)
    return np.array([change.detected for change in watch.advance(values.shape[1]) if change.closed is None], dtype=int)


def _plain_z(values: np.ndarray) -> np.ndarray:
    """Return |z| of the 30 s moving average, with mean and standard deviation of the moving averages of the last hour."""
    count, total = (np.concatenate([[0.0], np.cumsum(row)]) for row in values[:2])
    average = np.zeros(values.shape[1])
    average[30:] = (total[31:] - total[1:-30]) / np.maximum(count[31:] - count[1:-30], 1)
    sums, squares = (np.concatenate([[0.0], np.cumsum(row)]) for row in (average, average**2))
    z = np.zeros(len(average))
    past = min(HISTORY_S - 30, len(average) - 31)
    at = np.arange(past + 30, len(average))
    mean = (sums[at] - sums[at - past]) / past
    variance = np.maximum((squares[at] - squares[at - past]) / past - mean**2, 1e-12)
    z[at] = np.abs(average[at] - mean) / np.sqrt(variance)
    return z


def _z_score(threshold: float, values: np.ndarray, skip: int) -> np.ndarray:
    over = np.flatnonzero(_plain_z(values) >= threshold)
    return _apart(over[over >= skip])


def _apart(seconds: np.ndarray) -> np.ndarray:
    """Keep at most one alarm in two minutes."""
    kept: list[int] = []
    for second in seconds.tolist():
        if not kept or second - kept[-1] >= PEAK_S:
            kept.append(second)
    return np.array(kept, dtype=int)


def _river(
    make: Callable[[float], Any],
    scale: tuple[float, float],
    setting: float,
    values: np.ndarray,
    skip: int,
    most: int | None = None,
) -> np.ndarray:
    """Run a detector of river on the mean of each second, standardized by mean and deviation of quiet seconds.

    It stops after `most` alarms.
    """
    detector, mean, deviation = make(setting), *scale
    fed = ((values[1] / np.maximum(values[0], 1) - mean) / deviation).tolist()
    found: list[int] = []
    for second, value in enumerate(fed):
        detector.update(value)
        if detector.drift_detected and second >= skip:
            found.append(second)
            if len(found) == most:
                break
    return _apart(np.array(found, dtype=int))


def _adwin(setting: float) -> Any:
    from river.drift import ADWIN as Detector

    # Tests each second and windows of one second; by default it tests every 32nd second and windows of at least five.
    return Detector(delta=math.exp(-setting), clock=1, min_window_length=1, grace_period=1)


def _page_hinkley(delta: float, setting: float) -> Any:
    from river.drift import PageHinkley as Detector

    # With its default alpha the sum decays and becomes a random walk: false alarms at any threshold.
    return Detector(delta=delta, threshold=setting, alpha=1.0)


def _tune(alarms: Callable[[float], int], low: float, high: float, allowed: float) -> float:
    """Return the smallest setting with at most `allowed` alarms; a larger setting means fewer alarms."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if alarms(middle) <= allowed else (middle, high)
    return high


def _detectors(
    values: np.ndarray, weeks: int, alarms_per_week: float, progress: Callable[[str], None]
) -> dict[str, tuple[Alarms, str]]:
    """Return each detector with its setting, tuned on these quiet seconds."""
    allowed = alarms_per_week * weeks
    at = round(allowed)
    ours = float(np.sort(peaks_of(Seconds(0, *values)))[::-1][at]) + 1e-6
    plain = (
        float(np.sort(_plain_z(values)[: values.shape[1] // PEAK_S * PEAK_S].reshape(-1, PEAK_S).max(axis=1))[::-1][at]) + 1e-6
    )
    found: dict[str, tuple[Alarms, str]] = {
        OURS: (partial(_ours, ours), f"threshold {ours:.2f}"),
        Z_SCORE: (partial(_z_score, plain), f"threshold {plain:.2f}"),
    }
    means = values[1] / np.maximum(values[0], 1)
    scale = (float(means.mean()), float(means.std()))
    if find_spec("river") is None:
        progress("river is not installed, its detectors are skipped; run uv pip install river --constraint requirements.lock")
        return found
    most = 100 + 20 * at  # far above the budget: no need to count further
    adwin = partial(_river, _adwin, scale)
    setting = _tune(lambda x: len(adwin(x, values, 0, most)), 0.0, 12.0, allowed)
    found[ADWIN] = partial(adwin, setting), f"delta {math.exp(-setting):.2g}, clock 1"
    for points in (5, 10):  # its delta is half of the shift it is tuned for
        delta = points / POINTS / 2 / scale[1]
        page = partial(_river, partial(_page_hinkley, delta), scale)
        setting = _tune(lambda x, page=page: len(page(x, values, 0, most)), 0.01, 60.0, allowed)
        name = f"{PAGE_HINKLEY} for {points} points"
        found[name] = partial(page, setting), f"delta {delta:.2f} σ, threshold {setting:.1f}"
    return found


def run(
    bundle: Bundle,
    var: Path,
    texts: list[str],
    *,
    runs: int = 200,
    weeks: int = 4,
    alarms_per_week: float = 1.0,
    lateness_s: float = 2.0,
    block_age_s: float = 0.25,
    rates: tuple[int, ...] = RATES,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure every cell. Takes about four minutes on one CPU; scores are cached in `var/bench`.

    Args:
        bundle: Classifies the texts.
        var: Folder for the cache of scores.
        texts: Real texts, thousands of them.
        runs: Shifts of each size at each rate.
        weeks: Quiet weeks to tune the detectors on, and the same number of other weeks to count false alarms on.
        alarms_per_week: False alarms that each detector is tuned to.
        lateness_s: As the alerts' setting.
        block_age_s: As the worker's setting.
        rates: Messages per second.
        seed: Seed of all random numbers.
        progress: Called with a message after each step.

    Returns:
        `cells` (one per rate, shift and detector), `settings`, `goal`, and the parameters of the measurement.
    """
    pool = _ScorePool(_scores(bundle, var, texts))
    rng = np.random.default_rng(seed)
    # A second is evaluated when the first message dated `lateness` later arrives; its rows wait for their block and the poll.
    added = max(1, math.ceil(lateness_s)) - 1 + block_age_s / 2 + POLL_S / 2
    cells: list[dict[str, Any]] = []
    settings: list[dict[str, Any]] = []
    for rate in rates:
        started = time.monotonic()
        quiet, fresh = (pool.quiet(rng, rate, weeks * WEEK_S) for _ in range(2))
        detectors = _detectors(quiet, weeks, alarms_per_week, progress)
        for name, (alarms, setting) in detectors.items():
            settings.append(
                {
                    "messages_per_s": rate,
                    "detector": name,
                    "setting": setting,
                    "alarms_per_week": len(alarms(quiet, HISTORY_S)) / weeks,
                    "alarms_per_week_fresh": len(alarms(fresh, HISTORY_S)) / weeks,
                }
            )
        progress(f"{rate:,} messages/s: tuned to {alarms_per_week:g} per week in {time.monotonic() - started:.0f} s")
        for points in SHIFTS:
            delays: dict[str, list[float]] = {name: [] for name in detectors}
            bounds = []
            for number in range(runs):
                shift = points / POINTS * (1 if number % 2 else -1)
                bounds.append(math.log(WEEK_S / alarms_per_week) / (rate * pool.divergence(shift)))
                start, late = int(rng.integers(0, fresh.shape[1] - HISTORY_S)), float(rng.random())
                values = np.hstack([fresh[:, start : start + HISTORY_S], pool.shifted(rng, rate, LIMIT_S, shift, late)])
                for name, (alarms, _) in detectors.items():
                    found = alarms(values, HISTORY_S)
                    delays[name].append(float(found[0]) + 1 - HISTORY_S - late if len(found) else math.inf)
            for name, mine in delays.items():
                cells.append(
                    {
                        "messages_per_s": rate,
                        "points": points,
                        "detector": name,
                        "median_s": _quantile(mine, 0.5),
                        "p95_s": _quantile(mine, 0.95),
                        "missed": float(np.mean(np.isinf(mine))),
                        "bound_s": float(np.mean(bounds)),
                    }
                )
        progress(f"{rate:,} messages/s: {runs} shifts of each size in {time.monotonic() - started:.0f} s")
    return {
        "cells": cells,
        "settings": settings,
        "goal": _goal(cells, added),
        "added_s": added,
        "runs": runs,
        "weeks": weeks,
        "alarms_per_week": alarms_per_week,
        "texts": len(pool.scores),
        "bundle": bundle.manifest.version,
        "mean": float(pool.scores.mean()),
        "deviation": float(pool.scores.std()),
    }


def _quantile(values: list[float], share: float) -> float | None:
    """Return the quantile in seconds, or None if too many shifts were missed to know it."""
    value = sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]
    return None if math.isinf(value) else round(value, 2)


def _goal(cells: list[dict[str, Any]], added: float) -> dict[str, Any] | None:
    for cell in cells:
        if (cell["detector"], cell["messages_per_s"], cell["points"]) == (OURS, GOAL_RATE, GOAL_SHIFT):
            median = None if cell["median_s"] is None else cell["median_s"] + added
            return {
                "what": f"{GOAL_SHIFT} points at {GOAL_RATE} messages/s, median delay of the alert with lateness, block and poll",
                "seconds": median,
                "goal_s": GOAL_S,
                "reached": median is not None and median < GOAL_S,
            }
    return None


def _scores(bundle: Bundle, var: Path, texts: list[str]) -> np.ndarray:
    from serving.classifier import Classifier

    path = var / "bench" / f"alert-scores-{digest([bundle.fingerprint, texts])[:16]}.npy"
    if path.is_file():
        return np.load(path)
    proba = Classifier(bundle).predict_proba(texts)
    scores = np.round(proba[:, 2] - proba[:, 0], 4).astype(float)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, scores)
    return scores


def tables(found: dict[str, Any]) -> list[Any]:
    """Return the result of `run` as tables for a terminal."""
    from rich.table import Table

    names = list(dict.fromkeys(cell["detector"] for cell in found["cells"]))
    delays = Table(
        title=f"Delay of an alert in event time: median / p95 (missed within {LIMIT_S} s), {found['runs']} shifts per cell"
    )
    for column in ("messages/s", "points", *names, "bound"):
        delays.add_column(column, justify="right")
    for rate, points in dict.fromkeys((cell["messages_per_s"], cell["points"]) for cell in found["cells"]):
        row = {c["detector"]: c for c in found["cells"] if (c["messages_per_s"], c["points"]) == (rate, points)}
        bound = next(iter(row.values()))["bound_s"]
        delays.add_row(f"{rate:,}", str(points), *(_shown(row[name]) for name in names), f"{bound:.1f} s")
    settings = Table(title=f"Tuned to {found['alarms_per_week']:g} false alarm(s) per week on {found['weeks']} quiet weeks")
    for column in ("messages/s", "detector", "setting", "per week", "per week, other weeks"):
        settings.add_column(column, justify="right")
    for row in found["settings"]:
        settings.add_row(
            f"{row['messages_per_s']:,}",
            row["detector"],
            row["setting"],
            f"{row['alarms_per_week']:.2f}",
            f"{row['alarms_per_week_fresh']:.2f}",
        )
    return [delays, settings]


def notes(found: dict[str, Any]) -> list[str]:
    """Return the notes below the tables."""
    lines = [
        f"{found['texts']:,} texts classified by {found['bundle']}: mean score {found['mean']:.3f}, "
        f"deviation {found['deviation']:.3f}.",
        "River's detectors get a second's mean, standardized by the quiet weeks' own mean and deviation, "
        "which are unknown for a live source.",
        "Bound: ln(seconds between false alarms) / (messages/s x KL), the delay of a detector that knows the exact shift "
        "(Lorden, 1971; asymptotic, so a median may be slightly lower).",
        f"The pipeline adds {found['added_s']:.2f} s to ours on average: lateness, half a block's age, half a poll interval.",
    ]
    if goal := found["goal"]:
        shown = "missed" if goal["seconds"] is None else f"{goal['seconds']:.1f} s"
        lines.append(f"{goal['what']}: {shown}, goal < {goal['goal_s']:g} s: {'reached' if goal['reached'] else 'NOT reached'}.")
    return lines


def _shown(cell: dict[str, Any]) -> str:
    median, p95 = ("-" if value is None else f"{value:.1f}" for value in (cell["median_s"], cell["p95_s"]))
    return f"{median} / {p95} s" + (f" ({cell['missed']:.1%})" if cell["missed"] else "")
