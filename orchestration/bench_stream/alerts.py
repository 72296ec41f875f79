"""How soon a shift of sentiment is found, at equal false alarms: our alerts, a plain z-score, river's ADWIN and Page-Hinkley.

Real texts, judged once, are drawn in random order at Poisson times. A shift replaces messages, with a chance that moves the mean
by exactly so many points, by ones from the fifth of all texts at the other end; half of the shifts go down, half up, and each
begins at a random moment within a second. All four see the same seconds, are set to the same number of false alarms on the same
quiet weeks, and are then counted again on weeks that they were not set on. The delay runs from the first moment of the shift to
the end of the second that gives it away, in event time; what the pipeline adds to ours is listed beside it.
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
from serving.streaming.alerts import POLL_S
from serving.streaming.anomaly import POINTS, Rules, Seconds, Watch
from serving.streaming.calibrate import PEAK_S, WEEK_S, peaks_of

SHIFTS = (2, 5, 10, 20)
RATES = (20, 100, 1000)
HISTORY_S, LIMIT_S = 3600, 120
OURS, Z_SCORE, ADWIN, PAGE_HINKLEY = "Groundswell", "z-score", "river ADWIN", "river Page-Hinkley"
GOAL_SHIFT, GOAL_RATE, GOAL_S = 10, 100, 5.0
_END = 0.2
_MANY = 500
"""From so many messages a second on, a second's sums are drawn as normal: of so many scores they are."""
_STEPS = 10


@dataclass(frozen=True)
class _World:
    """Scores of real texts, and seconds made of them."""

    scores: np.ndarray

    def quiet(self, chance: np.random.Generator, rate: float, seconds: int) -> np.ndarray:
        """Messages, sum and sum of squares; shape (3, seconds)."""
        return _sums(chance, self.scores, chance.poisson(rate, seconds))

    def share(self, shift: float) -> float:
        """Share of messages that a shift (in score, signed) replaces."""
        return shift / (float(self.end(shift).mean()) - float(self.scores.mean()))

    def end(self, shift: float) -> np.ndarray:
        """The fifth of the scores that a shift draws from."""
        ordered = np.sort(self.scores)
        size = int(len(ordered) * _END)
        return ordered[-size:] if shift > 0 else ordered[:size]

    def shifted(self, chance: np.random.Generator, rate: float, seconds: int, shift: float, late: float) -> np.ndarray:
        """As `quiet`, but from `late` (0 to 1) in the first second on the mean is moved by `shift`."""
        share = self.share(shift)
        lengths = np.full(seconds, rate, dtype=float)
        lengths[0] *= 1 - late
        moved = _sums(chance, self.end(shift), chance.poisson(lengths * share))
        rest = _sums(chance, self.scores, chance.poisson(rate - lengths * share))
        return moved + rest

    def divergence(self, shift: float) -> float:
        """Kullback-Leibler divergence of one shifted message from a quiet one, in nats."""
        share = self.share(shift)
        outside, inside = 1 - share, 1 - share + share / _END
        return (1 - _END) * outside * math.log(outside) + _END * inside * math.log(inside)


def _sums(chance: np.random.Generator, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    if counts.max(initial=0) < _MANY:
        out = np.zeros((3, len(counts)))
        out[0] = counts
        for start in range(0, len(counts), 86_400):
            part = counts[start : start + 86_400]
            drawn = scores[chance.integers(0, len(scores), int(part.sum()))]
            ends = np.concatenate([[0], np.cumsum(part)])
            for row, values in ((1, drawn), (2, drawn**2)):
                sums = np.concatenate([[0.0], np.cumsum(values)])
                out[row, start : start + 86_400] = sums[ends[1:]] - sums[ends[:-1]]
        return out
    both = np.stack([scores, scores**2])
    noise = np.linalg.cholesky(np.cov(both)) @ chance.standard_normal((2, len(counts))) * np.sqrt(counts)
    return np.vstack([counts[None, :], both.mean(axis=1)[:, None] * counts + noise])


Alarms = Callable[[np.ndarray, int], np.ndarray]
"""Seconds (3, N) and how many of them to pass over in silence; gives the numbers of the seconds with an alarm."""


def _ours(threshold: float, values: np.ndarray, skip: int) -> np.ndarray:
    watch = Watch(Rules(threshold), Seconds(0, *values), skip)
    return np.array([change.detected for change in watch.advance(values.shape[1]) if change.closed is None], dtype=int)


def _plain_z(values: np.ndarray) -> np.ndarray:
    """|z| of the 30 s moving average against mean and standard deviation of those of the hour before."""
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
    """One alarm in each two minutes."""
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
    """A detector of river's, fed the mean of each second, standardized by mean and deviation of quiet seconds.

    It ends after `most` alarms.
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

    # Looks at each second and at windows of one second: its defaults look at every 32nd, and at windows of at least five.
    return Detector(delta=math.exp(-setting), clock=1, min_window_length=1, grace_period=1)


def _page_hinkley(delta: float, setting: float) -> Any:
    from river.drift import PageHinkley as Detector

    # Its default alpha forgets the sum, which then stops falling and wanders: false alarms at any threshold.
    return Detector(delta=delta, threshold=setting, alpha=1.0)


def _tune(alarms: Callable[[float], int], low: float, high: float, allowed: float) -> float:
    """The smallest setting with at most so many alarms; more of the setting means fewer alarms."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if alarms(middle) <= allowed else (middle, high)
    return high


def _contestants(
    values: np.ndarray, weeks: int, alarms_per_week: float, say: Callable[[str], None]
) -> dict[str, tuple[Alarms, str]]:
    """Each with its setting, found on these quiet seconds."""
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
        say("River is not installed, so its detectors are left out: uv pip install river --constraint requirements.lock")
        return found
    most = 100 + 20 * at  # far too many: no need to count on
    adwin = partial(_river, _adwin, scale)
    setting = _tune(lambda x: len(adwin(x, values, 0, most)), 0.0, 12.0, allowed)
    found[ADWIN] = partial(adwin, setting), f"delta {math.exp(-setting):.2g}, clock 1"
    for points in (5, 10):  # its delta is half of the shift it is made for
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
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure every cell. Takes some four minutes of one processor; scores are kept in `var/bench`.

    Args:
        bundle: Judges the texts.
        var: For its cache.
        texts: Real ones, thousands of them.
        runs: Shifts of each size at each rate.
        weeks: Quiet weeks to set the false alarms on, and again as many to count them on.
        alarms_per_week: False alarms that each contestant is set to.
        lateness_s: As the alerts' setting.
        block_age_s: As the worker's setting.
        rates: Messages a second.
        seed: Of everything drawn.
        say: Told of each step.

    Returns:
        `cells` (one a rate, shift and contestant), `settings`, `goal`, and what was measured how.
    """
    world = _World(_scores(bundle, var, texts))
    chance = np.random.default_rng(seed)
    # A second is judged with the first message of the one `lateness` on; its rows wait for their block, the block for the poll.
    added = max(1, math.ceil(lateness_s)) - 1 + block_age_s / 2 + POLL_S / 2
    cells: list[dict[str, Any]] = []
    settings: list[dict[str, Any]] = []
    for rate in rates:
        started = time.monotonic()
        quiet, fresh = (world.quiet(chance, rate, weeks * WEEK_S) for _ in range(2))
        contestants = _contestants(quiet, weeks, alarms_per_week, say)
        for name, (alarms, setting) in contestants.items():
            settings.append(
                {
                    "messages_per_s": rate,
                    "contestant": name,
                    "setting": setting,
                    "alarms_per_week": len(alarms(quiet, HISTORY_S)) / weeks,
                    "alarms_per_week_fresh": len(alarms(fresh, HISTORY_S)) / weeks,
                }
            )
        say(f"{rate:,} messages/s: set to {alarms_per_week:g} a week in {time.monotonic() - started:.0f} s")
        for points in SHIFTS:
            delays: dict[str, list[float]] = {name: [] for name in contestants}
            bounds = []
            for number in range(runs):
                shift = points / POINTS * (1 if number % 2 else -1)
                bounds.append(math.log(WEEK_S / alarms_per_week) / (rate * world.divergence(shift)))
                start, late = int(chance.integers(0, fresh.shape[1] - HISTORY_S)), float(chance.random())
                values = np.hstack([fresh[:, start : start + HISTORY_S], world.shifted(chance, rate, LIMIT_S, shift, late)])
                for name, (alarms, _) in contestants.items():
                    found = alarms(values, HISTORY_S)
                    delays[name].append(float(found[0]) + 1 - HISTORY_S - late if len(found) else math.inf)
            for name, mine in delays.items():
                cells.append(
                    {
                        "messages_per_s": rate,
                        "points": points,
                        "contestant": name,
                        "median_s": _quantile(mine, 0.5),
                        "p95_s": _quantile(mine, 0.95),
                        "missed": float(np.mean(np.isinf(mine))),
                        "bound_s": float(np.mean(bounds)),
                    }
                )
        say(f"{rate:,} messages/s: {runs} shifts of each size in {time.monotonic() - started:.0f} s")
    return {
        "cells": cells,
        "settings": settings,
        "goal": _goal(cells, added),
        "added_s": added,
        "runs": runs,
        "weeks": weeks,
        "alarms_per_week": alarms_per_week,
        "texts": len(world.scores),
        "bundle": bundle.manifest.version,
        "mean": float(world.scores.mean()),
        "deviation": float(world.scores.std()),
    }


def _quantile(values: list[float], share: float) -> float | None:
    """None where so many were missed that it is not known."""
    value = sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]
    return None if math.isinf(value) else round(value, 2)


def _goal(cells: list[dict[str, Any]], added: float) -> dict[str, Any] | None:
    for cell in cells:
        if (cell["contestant"], cell["messages_per_s"], cell["points"]) == (OURS, GOAL_RATE, GOAL_SHIFT):
            median = None if cell["median_s"] is None else cell["median_s"] + added
            return {
                "what": f"{GOAL_SHIFT} points at {GOAL_RATE} messages/s, median to the alert with lateness, block and poll",
                "seconds": median,
                "asked_s": GOAL_S,
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
    """What `run` found, as tables for a terminal."""
    from rich.table import Table

    names = list(dict.fromkeys(cell["contestant"] for cell in found["cells"]))
    delays = Table(
        title=f"Delay of an alert in event time: median / p95 (missed within {LIMIT_S} s), {found['runs']} shifts a cell"
    )
    for column in ("messages/s", "points", *names, "bound"):
        delays.add_column(column, justify="right")
    for rate, points in dict.fromkeys((cell["messages_per_s"], cell["points"]) for cell in found["cells"]):
        row = {c["contestant"]: c for c in found["cells"] if (c["messages_per_s"], c["points"]) == (rate, points)}
        bound = next(iter(row.values()))["bound_s"]
        delays.add_row(f"{rate:,}", str(points), *(_shown(row[name]) for name in names), f"{bound:.1f} s")
    settings = Table(title=f"Set to {found['alarms_per_week']:g} false alarm(s) a week on {found['weeks']} quiet weeks")
    for column in ("messages/s", "contestant", "setting", "a week", "a week, other weeks"):
        settings.add_column(column, justify="right")
    for row in found["settings"]:
        settings.add_row(
            f"{row['messages_per_s']:,}",
            row["contestant"],
            row["setting"],
            f"{row['alarms_per_week']:.2f}",
            f"{row['alarms_per_week_fresh']:.2f}",
        )
    return [delays, settings]


def notes(found: dict[str, Any]) -> list[str]:
    """What a reader has to know beside the tables."""
    said = [
        f"{found['texts']:,} texts judged by {found['bundle']}: mean score {found['mean']:.3f}, "
        f"deviation {found['deviation']:.3f}.",
        "River's detectors are fed a second's mean, standardized by the quiet weeks' own mean and deviation, "
        "which no detector knows of a live source.",
        "Bound: ln(seconds between false alarms) / (messages/s x KL), what a detector needs that knows this very shift "
        "(Lorden, 1971; asymptotic, so a median may lie a little under it).",
        f"To ours the pipeline adds {found['added_s']:.2f} s on average: lateness, half a block's age, half a poll.",
    ]
    if goal := found["goal"]:
        shown = "missed" if goal["seconds"] is None else f"{goal['seconds']:.1f} s"
        said.append(f"{goal['what']}: {shown}, asked < {goal['asked_s']:g} s: {'reached' if goal['reached'] else 'NOT reached'}.")
    return said


def _shown(cell: dict[str, Any]) -> str:
    median, p95 = ("-" if value is None else f"{value:.1f}" for value in (cell["median_s"], cell["p95_s"]))
    return f"{median} / {p95} s" + (f" ({cell['missed']:.1%})" if cell["missed"] else "")
