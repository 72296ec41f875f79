"""Columns of times as files hold them."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from numbers import Integral, Real

from data import times

MIN_EPOCH_S = 100_000_000
"""A smaller number is no time: a year, a count or a date without signs."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass
class Times:
    """Times in UTC, None where there is none, and what was assumed or not read."""

    values: list[datetime | None] = field(default_factory=list[datetime | None])
    naive: int = 0
    """Times without a zone, read as UTC."""
    unreadable: int = 0
    example: str = ""
    """The first unreadable time."""

    @property
    def notes(self) -> list[str]:
        """One line each for what was assumed or not read."""
        count = len(self.values)
        notes = [f"{self.naive:,} of {count:,} times have no zone and were read as UTC"] if self.naive else []
        if self.unreadable:
            notes.append(f"{self.unreadable:,} of {count:,} times cannot be read, such as {self.example!r}")
        return notes


def utc_times(values: Iterable[object]) -> Times:
    """Parse a column of times; see `as_written`."""
    times = Times()
    for value in values:
        if _is_missing(value):
            times.values.append(None)
            continue
        found = as_written(value)
        if found is None:
            times.unreadable += 1
            times.example = times.example or str(value)[:60]
        elif found.tzinfo is None:
            times.naive += 1
            found = found.replace(tzinfo=UTC)
        times.values.append(found)
    return times


def _is_missing(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_written(value: object) -> datetime | None:
    """Return a time as `data.times.as_written` does; None too for one outside its range, and for a number that is no time."""
    if not isinstance(value, bool) and isinstance(value, Real):
        value = int(value) if isinstance(value, Integral) else float(value)  # pandas' numbers are not Python's
        if value < MIN_EPOCH_S:
            return None
    elif not isinstance(value, datetime):
        value = str(value).strip()
        if _NUMBER.fullmatch(value) and float(value) < MIN_EPOCH_S:
            return None
    found = times.as_written(value)
    if found is None or times.misdated(found if found.tzinfo else found.replace(tzinfo=UTC)):
        return None
    return found
