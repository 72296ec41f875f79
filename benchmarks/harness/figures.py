"""Percentiles, ratios per round and goals: pure functions."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

PERCENTILES = (50, 95, 99)


def percentile(values: Sequence[float], which: float) -> float:
    """Return the smallest value that at least `which` percent of the values do not exceed; NaN for no values."""
    return float(np.percentile(values, which, method="inverted_cdf")) if values else math.nan


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return median, lowest and highest; NaN for no values."""
    return (statistics.median(values), min(values), max(values)) if values else (math.nan, math.nan, math.nan)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each round. A slowdown that hits both sides of a round does not change its ratio."""
    return [a / b if b else math.nan for a, b in zip(above, below, strict=True)]


def figure(values: Sequence[float]) -> str:
    """Return median [lowest, highest] as text, the median alone for one value."""
    median, low, high = (f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}" for value in spread(values))
    return median if len(values) == 1 else f"{median} [{low}, {high}]"


@dataclass(frozen=True)
class Goal:
    """A figure measured in every round, and the goal it has to reach."""

    what: str
    values: list[float]
    goal: float | None = None
    """None: shown without a goal."""
    sense: Literal["≥", "≤"] = "≥"
    unit: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the goal; None without a goal."""
        median = spread(self.values)[0]
        if self.goal is None:
            return None
        return median >= self.goal if self.sense == "≥" else median <= self.goal

    def required(self) -> str:
        """Return the goal as text, such as `≥ 1.5×`."""
        return "" if self.goal is None else f"{self.sense} {self.goal:g}{self.unit}"

    def measured(self) -> str:
        """Return the measured values as text: median [lowest, highest]."""
        median, low, high = (f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}" for value in spread(self.values))
        return f"{median}{self.unit} [{low}, {high}]"

    def to_dict(self) -> dict[str, Any]:
        """Return it for the JSON file."""
        median, low, high = spread(self.values)
        return {
            "what": self.what,
            "median": median,
            "low": low,
            "high": high,
            "values": self.values,
            "goal": self.required(),
            "reached": self.reached,
        }
