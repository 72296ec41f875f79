"""Parse the timestamp formats of records to UTC, in microseconds."""

from pyspark.sql import Column
from pyspark.sql import functions as F

MILLISECONDS_FROM = 20_000_000_000
"""A number above this is in milliseconds (from August 1970 on), else in seconds (up to the year 2603). The rule is pydantic's,
which parses the stream's events."""
_NUMBER = r"^-?\d{1,16}(\.\d{1,9})?$"
_TWITTER = r"^[A-Z][a-z]{2} [A-Z][a-z]{2} \d{1,2} \d{2}:\d{2}:\d{2} [+-]\d{4} \d{4}$"
_ISO = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)? ?([Zz]|[+-]\d{2}(:?\d{2})?)$"


def utc(written: Column) -> Column:
    """Parse `Tue Aug 01 16:23:56 +0000 2017`, ISO 8601 with a zone, or seconds or milliseconds since 1970; else null.

    A time without a zone is ambiguous and gives null.
    """
    text = F.trim(written)
    number = text.try_cast("decimal(27,9)")
    seconds = F.when(F.abs(number) > MILLISECONDS_FROM, number / 1000).otherwise(number)
    # Spark cannot parse a weekday, so it is cut off.
    twitter = F.try_to_timestamp(F.substring(text, 5, 100), F.lit("MMM d HH:mm:ss Z yyyy"))
    return (
        F.when(text.rlike(_NUMBER), F.timestamp_micros((seconds * 1_000_000).try_cast("bigint")))
        .when(text.rlike(_TWITTER), twitter)
        .when(text.rlike(_ISO), _iso(text).try_cast("timestamp"))
    )


def _iso(text: Column) -> Column:
    whole = F.regexp_replace(F.regexp_replace(F.upper(text), " ([Z+-])", "$1"), ",", ".")
    with_minutes = F.regexp_replace(whole, r"([+-]\d{2})$", "$1:00")
    with_seconds = F.regexp_replace(with_minutes, r"([T ]\d{2}:\d{2})(Z|[+-])", "$1:00$2")
    return F.regexp_replace(with_seconds, r"([+-]\d{2})(\d{2})$", "$1:$2")
