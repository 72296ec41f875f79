"""Read the times that records state: one rule for events, the lakehouse and datasets."""

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

MAX_AHEAD_S = 300
"""A time more than this many seconds after its record's arrival is wrong: a clock, or a unit that was mistaken."""
OLDEST = datetime(1970, 1, 1, tzinfo=UTC)
NEWEST = datetime(2261, 12, 31, tzinfo=UTC)
"""Nanoseconds since 1970 end in April 2262, and with them the times that pandas can hold."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = ((2e10, 1), (2e13, 10**3), (2e16, 10**6), (2e19, 10**9))
"""Up to each number, units a second: seconds reach to the year 2603, milliseconds begin in August 1970."""
_NUMBER = re.compile(r"[+-]?\d{1,19}(\.\d{1,9})?")
_TWITTER = re.compile(r"[A-Za-z]{3},? ([A-Za-z]{3}) +(\d{1,2}) (\d{2}):(\d{2}):(\d{2}) ([A-Za-z]{1,5}|[+-]\d{2}:?\d{2}) (\d{4})")
"""`Wed Oct 10 20:19:24 +0000 2018`, and with the name of a zone as in Sentiment140."""
_ISO = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?) ?([A-Za-z]{1,5}|[+-]\d{2}(?::?\d{2})?)?)?")
_MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"
_ZONES = {
    **dict.fromkeys(("z", "ut", "utc", "gmt", "wet"), 0.0),
    **{"est": -5.0, "edt": -4.0, "cst": -6.0, "cdt": -5.0, "mst": -7.0, "mdt": -6.0, "pst": -8.0, "pdt": -7.0},
    **{"akst": -9.0, "akdt": -8.0, "hst": -10.0, "nst": -3.5, "ndt": -2.5, "ast": -4.0, "adt": -3.0, "brt": -3.0, "art": -3.0},
    **{"bst": 1.0, "west": 1.0, "cet": 1.0, "cest": 2.0, "eet": 2.0, "eest": 3.0, "sast": 2.0, "msk": 3.0, "pkt": 5.0},
    **{"sgt": 8.0, "hkt": 8.0, "awst": 8.0, "jst": 9.0, "kst": 9.0, "acst": 9.5, "acdt": 10.5},
    **{"aest": 10.0, "aedt": 11.0, "nzst": 12.0, "nzdt": 13.0},
}
"""Hours from UTC: RFC 5322's names, and those with one common meaning. One that is missing, such as IST, gives no time."""


def utc(written: object) -> datetime | None:
    """Return the time that a record states, in UTC; None where it is missing or cannot be read. See `as_written`.

    A time without a zone is in UTC. It may lie outside the allowed range: see `misdated`.
    """
    at = as_written(written)
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def as_written(written: object) -> datetime | None:
    """Return the time that a record states; None where it is missing or cannot be read.

    Args:
        written: Seconds, milliseconds, microseconds or nanoseconds since 1970, as a number or a string (its size shows which);
            ISO 8601; Twitter's `Wed Oct 10 20:19:24 +0000 2018`; an e-mail's date; a `datetime`.

    Returns:
        In UTC, or without `tzinfo` where the value has no zone; in microseconds, as Delta and ClickHouse hold it.
    """
    try:
        if isinstance(written, str):
            # The usual form, without a regular expression.
            if written[4:5] == "-" and written[10:11] == "T" and written.endswith(("Z", "+00:00")):
                return datetime.fromisoformat(written)
            return _text(written.strip())
        if isinstance(written, datetime):
            return _aware(written)
        if isinstance(written, int | float) and not isinstance(written, bool):
            return _number(written)
    except (ValueError, OverflowError, TypeError):
        pass
    return None


def misdated(at: datetime, arrived_at: datetime | None = None) -> str | None:
    """Return why a time cannot be right (`before 1970`, `in the future`), or None.

    Args:
        at: From `utc`.
        arrived_at: When its record arrived; None: only the range is checked.
    """
    if at < OLDEST:
        return "before 1970"
    if at > NEWEST or (arrived_at is not None and at > arrived_at + timedelta(seconds=MAX_AHEAD_S)):
        return "in the future"
    return None


def plausible(written: object, arrived_at: datetime | None = None) -> datetime | None:
    """Return the time that a record states, or None where it is missing, unreadable or cannot be right."""
    at = utc(written)
    return None if at is None or misdated(at, arrived_at) else at


def _aware(at: datetime) -> datetime:
    # Raises for pandas' NaT. Without pandas' nanoseconds.
    at = datetime(*at.timetuple()[:6], at.microsecond, tzinfo=at.tzinfo, fold=at.fold)
    return at.astimezone(UTC) if at.tzinfo else at


def _number(written: float) -> datetime | None:
    if isinstance(written, float) and not math.isfinite(written):
        return None
    for below, units in _UNITS:
        if abs(written) <= below:
            whole = written * 10**6 // units if isinstance(written, int) else round(written * 10**6 / units)
            return _EPOCH + timedelta(microseconds=whole)
    return None


def _text(written: str) -> datetime | None:
    if _NUMBER.fullmatch(written):
        return _number(float(written) if "." in written else int(written))
    if found := _ISO.fullmatch(written):
        date, clock, zone = found.groups()
        at = datetime.fromisoformat(f"{date}T{(clock or '00:00').replace(',', '.')}")
        return _in_zone(at, zone)
    if found := _TWITTER.fullmatch(written):
        month, day, hour, minute, second, zone, year = found.groups()
        at = datetime(int(year), _month(month), int(day), int(hour), int(minute), int(second))
        return _in_zone(at, zone)
    return _mail(written)


def _month(name: str) -> int:
    at = _MONTHS.find(name.lower())
    return at // 3 + 1 if at % 3 == 0 else 0  # no month 0: the time is refused


def _mail(written: str) -> datetime | None:
    """Read an e-mail's date: `Wed, 10 Oct 2018 20:19:24 GMT`."""
    parts = written.rsplit(" ", 1)
    if len(parts) != 2 or not re.match(r"(?:[A-Za-z]{3}, ?)?\d{1,2} [A-Za-z]{3} \d{4} ", written):
        return None
    return _in_zone(parsedate_to_datetime(f"{parts[0]} -0000"), parts[1])


def _in_zone(at: datetime, zone: str | None) -> datetime | None:
    """Return a time of a zone's clock in UTC, as it is without a zone; None where the zone's name is not known."""
    if zone is None:
        return at
    if zone == "+0000":
        return at.replace(tzinfo=UTC)
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        hours, minutes = int(digits[:2]), int(digits[2:])
        if hours > 18 or minutes > 59:
            return None
        away = timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
    elif zone.lower() in _ZONES:
        away = timedelta(hours=_ZONES[zone.lower()])
    else:
        return None
    return at.replace(tzinfo=timezone(away)).astimezone(UTC)
