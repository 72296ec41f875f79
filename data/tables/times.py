"""Columns of times as files hold them."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from numbers import Integral, Real
from typing import Any

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
"""Times outside are wrong; later ones cannot be held in nanoseconds."""
MIN_EPOCH_S = 100_000_000
"""A smaller number is no time: a year, a count or a date without signs."""
_UNITS = ((2e10, 1), (2e13, 10**3), (2e16, 10**6), (2e19, 10**9))
"""Seconds, milliseconds, microseconds, nanoseconds since 1970: numbers below each bound, which is the year 2603 in its unit."""
ZONES = {
    **dict.fromkeys(("UTC", "GMT", "Z", "WET"), 0),
    **{
        "PST": -8,
        "PDT": -7,
        "MST": -7,
        "MDT": -6,
        "CST": -6,
        "CDT": -5,
        "EST": -5,
        "EDT": -4,
        "AKST": -9,
        "AKDT": -8,
        "HST": -10,
    },
    **{"BST": 1, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "KST": 9, "AEST": 10, "AEDT": 11},
}
"""Hours of the abbreviations that are read; CST and BST as American and British."""
_TWITTER = re.compile(
    r"(?:[A-Z][a-z]{2},? )?([A-Z][a-z]{2}) +(\d{1,2}) (\d{2}:\d{2}:\d{2}) ([A-Za-z]{1,5}|[+-]\d{2}:?\d{2}) (\d{4})"
)
_MAIL = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}:\d{2}(?::\d{2})?) ?([A-Za-z]{1,5}|[+-]\d{2}:?\d{2})?"
)
_ISO = re.compile(r"(\d{4}-?\d{2}-?\d{2})(?:[T ](\d{1,2}:\d{2}(?::\d{2})?)([.,]\d+)?)? ?([A-Za-z]{1,5}|[+-]\d{2}(?::?\d{2})?)?")
_NUMBER = re.compile(r"\d{9,19}(\.\d+)?")


@dataclass
class Times:
    """Times in UTC, None where there is none, and what was assumed or not read."""

    values: list[datetime | None] = field(default_factory=list)
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


def as_written(value: Any) -> datetime | None:
    """Return a time in UTC, without `tzinfo` where the value has no zone; None if it cannot be read or is outside 1970 to 2261.

    Read: seconds to nanoseconds since 1970 by their size; ISO 8601; Twitter's `Tue Aug 01 16:23:56 +0000 2017`; the form of
    e-mails. A zone may be an abbreviation of `ZONES`.
    """
    try:
        if isinstance(value, datetime):
            # Without the nanoseconds of pandas, which Parquet with microseconds refuses.
            plain = datetime(*value.timetuple()[:6], value.microsecond, tzinfo=value.tzinfo, fold=value.fold)
            found = plain.astimezone(UTC) if plain.tzinfo else plain
        elif isinstance(value, Real) and not isinstance(value, bool):
            found = _from_number(int(value) if isinstance(value, Integral) else float(value))
        else:
            found = _from_text(str(value).strip())
    except (ValueError, OverflowError, TypeError):
        return None
    if found is None or not EARLIEST <= (found if found.tzinfo else found.replace(tzinfo=UTC)) < LATEST:
        return None
    return found


def _from_number(number: int | float) -> datetime | None:
    if number < MIN_EPOCH_S:
        return None
    unit = next((per_second for bound, per_second in _UNITS if number < bound), None)
    if unit is None:
        return None
    # In integers: a float of nanoseconds would move the microseconds.
    microseconds = int(number) * 10**6 // unit if isinstance(number, int) or unit > 10**6 else round(number * 10**6 / unit)
    return EARLIEST + timedelta(microseconds=microseconds)


def _from_text(text: str) -> datetime | None:
    if _NUMBER.fullmatch(text):
        return _from_number(float(text) if "." in text else int(text))
    if match := _TWITTER.fullmatch(text):
        month, day, clock, zone, year = match.groups()
        return _zoned(datetime.strptime(f"{year} {month} {day} {clock}", "%Y %b %d %H:%M:%S"), zone)
    if match := _MAIL.fullmatch(text):
        day, month, year, clock, zone = match.groups()
        clock = clock if clock.count(":") == 2 else f"{clock}:00"
        return _zoned(datetime.strptime(f"{year} {month} {day} {clock}", "%Y %b %d %H:%M:%S"), zone)
    if match := _ISO.fullmatch(text):
        day, clock, fraction, zone = match.groups()
        clock = (clock or "0:00").zfill(5)
        whole = datetime.fromisoformat(f"{day.replace('-', '')}T{clock.replace(':', '')}")
        return _zoned(whole + timedelta(microseconds=int((fraction or ".0")[1:7].ljust(6, "0"))), zone)
    return None


def _zoned(time: datetime, zone: str | None) -> datetime | None:
    """Return the time in UTC; without `tzinfo` where there is no zone, None where the zone is unknown."""
    if not zone:
        return time
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) * (-1 if zone[0] == "-" else 1)
    elif zone.upper() in ZONES:
        offset = timedelta(hours=ZONES[zone.upper()])
    else:
        return None
    return time.replace(tzinfo=timezone(offset)).astimezone(UTC)
