"""Rates for display. A rate over less than half a second is not reported: it measures the clock rather than the work."""

MEASURABLE_S = 0.5


def rate(count: float, seconds: float) -> float | None:
    """Return `count` per second; None where `seconds` is too short to measure."""
    return count / seconds if seconds >= MEASURABLE_S else None


def rate_text(count: float, seconds: float) -> str:
    """Return the rate for a terminal: `670 a second`, or `too short to measure`."""
    per_second = rate(count, seconds)
    return "too short to measure" if per_second is None else f"{per_second:,.0f} a second"
