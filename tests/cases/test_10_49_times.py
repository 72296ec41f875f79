"""Times are read by one rule, and one that cannot be right never wins.

risingwavelabs/risingwave#8359, artie-labs/transfer#1551, apache/inlong#6552; Kaggle's Sentiment140 (column `date`).
"""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.contracts import Event
from data.times import NEWEST, OLDEST, as_written, misdated, plausible, utc
from data.tweets import Rejected, Tweet, read
from serving.streaming.decode import decode

AT = datetime(2023, 10, 10, 20, 19, 24, tzinfo=UTC)
SECONDS = 1_696_969_164


@pytest.mark.parametrize(
    "written",
    [
        *(SECONDS, SECONDS * 10**3, SECONDS * 10**6, SECONDS * 10**9, float(SECONDS)),
        *(str(SECONDS), str(SECONDS * 10**3), str(SECONDS * 10**6), str(SECONDS * 10**9), f"{SECONDS}.000"),
        *("2023-10-10T20:19:24Z", "2023-10-10T20:19:24.000Z", "2023-10-10 20:19:24", "2023-10-10T20:19:24.000000000+00:00"),
        *("2023-10-10T22:19:24+0200", "2023-10-10 22:19:24 +02", "2023-10-10 13:19:24 PDT", "2023-10-10 20:19:24,000 UTC"),
        *("Tue Oct 10 20:19:24 +0000 2023", "Tue Oct 10 13:19:24 PDT 2023", "Tue Oct 10 22:19:24 CEST 2023"),
        *("Tue, 10 Oct 2023 20:19:24 GMT", "Tue, 10 Oct 2023 13:19:24 -0700", "10 Oct 2023 16:19:24 EDT"),
        *(AT, AT.replace(tzinfo=None), AT.astimezone(None), pd.Timestamp(AT), pd.Timestamp(SECONDS, unit="s")),
    ],
    ids=str,
)
def test_one_moment_however_it_is_written(written):
    assert utc(written) == AT and utc(written).tzinfo is UTC  # type: ignore[union-attr]
    if not isinstance(written, datetime):
        event = Event.model_validate_json(json.dumps({"id": "1", "text": "x", "source": "s", "created_at": written}))
        assert event.created_at == AT
        assert read({"id": "1", "text": "x", "created_at": written}) == [Tweet("1", "x", created_at=AT)]


@pytest.mark.parametrize(
    "written",
    [
        "yesterday",
        "2023-02-30",
        "Tue Oct 10 20:19:24 XYZ 2023",
        "Tue Oct 10 20:19:24 IST 2023",
        "Tue Abc 10 20:19:24 UTC 2023",
        "",
        " ",
        None,
        True,
        [],
        {},
        float("nan"),
        float("inf"),
        10**30,
        pd.NaT,
        "10/04/2023 20:19",
    ],
    ids=repr,
)
def test_what_cannot_be_read_is_no_time(written):
    assert utc(written) is None


def test_time_without_a_zone_shows_that_it_has_none():
    assert as_written("2023-10-10 20:19:24") == AT.replace(tzinfo=None)
    assert as_written("2023-10-10 20:19:24Z") == AT


@given(st.datetimes(datetime(1971, 1, 1), datetime(2261, 1, 1)), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_each_unit_is_known_by_its_size(at, units):
    at = at.replace(tzinfo=UTC)
    number = (at - OLDEST) // timedelta(microseconds=1) * units // 10**6
    assert abs(utc(number) - at) <= timedelta(seconds=1 / units)  # type: ignore[operator]
    assert utc(str(number)) == utc(number)


@given(st.integers(-(10**20), 10**20) | st.floats() | st.text() | st.datetimes() | st.datetimes().map(str))
def test_anything_gives_a_time_in_utc_or_none(written):
    at = utc(written)
    assert at is None or at.tzinfo is UTC
    found = plausible(written)
    assert found is None or OLDEST <= found <= NEWEST


def test_a_time_is_compared_with_the_arrival():
    assert misdated(AT, AT) is None and misdated(AT, AT - timedelta(seconds=299)) is None
    assert misdated(AT, AT - timedelta(seconds=301)) == "in the future"
    assert (
        misdated(datetime(1969, 1, 1, tzinfo=UTC)) == "before 1970"
        and misdated(datetime(2262, 1, 1, tzinfo=UTC)) == "in the future"
    )


@pytest.mark.parametrize(
    ("written", "reason"), [("2300-01-01T00:00:00Z", "in the future"), ("1969-07-20T20:17:40Z", "before 1970")]
)
def test_impossible_time_of_a_tweet_is_rejected_and_of_an_edit_left_out(written, reason):
    assert read({"id": "1", "text": "x", "created_at": written}) == [Rejected(f"created_at {reason}", "1")]
    edited = {"id": "1", "text": "x", "created_at": SECONDS, "edited_at": written, "updated_at": SECONDS * 10**6}
    assert read(edited) == [Tweet("1", "x", created_at=AT, edited_at=AT)]
    value = json.dumps({"id": "1", "text": "x", "source": "s", "created_at": written}).encode()
    assert reason in str(decode(value))
