"""Times as numbers, and times with the abbreviation of a zone.

pandas-dev/pandas#3818 (23); the column `date` of Sentiment140 (49).
"""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cases.tables import dataset, lines_of

COLUMNS = {"text": "text", "label": "label", "created_at": "at"}
AT = datetime(2017, 7, 14, 2, 40, 1, tzinfo=UTC)
WRITTEN = {
    "seconds": 1500000001,
    "seconds as text": "1500000001",
    "a float": 1500000001.0,
    "milliseconds": 1500000001000,
    "microseconds": 1500000001000000,
    "nanoseconds": 1500000001000000000,
    "Sentiment140": "Thu Jul 13 19:40:01 PDT 2017",
    "Twitter": "Fri Jul 14 02:40:01 +0000 2017",
    "ISO": "2017-07-14T04:40:01+02:00",
    "a zone after a space": "2017-07-13 18:40:01 -0800",
    "mail": "Fri, 14 Jul 2017 02:40:01 GMT",
}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_time_is_the_same_in_every_form_and_format(form, name, tmp_path):
    rows = [json.loads(line) for line in lines_of(60, '{{"text": "{text}", "label": "{label}"}}\n').splitlines()]
    rows = [{**row, "at": WRITTEN[form]} for row in rows]
    content = "\n".join(map(json.dumps, rows)).encode()
    if name == "a.csv":
        content = lines_of(60, f'"{{text}}",{{label}},"{WRITTEN[form]}"\n', first="text,label,at\n").encode()
    elif name == "a.parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        content = sink.getvalue().to_pybytes()
    found, frame = dataset(tmp_path, name, content, columns=COLUMNS)
    assert set(frame["created_at"]) == {AT}
    assert len(found.notes) == 1, "nothing was assumed"


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ns", "UTC"), pa.timestamp("ns"), pa.timestamp("s", "America/Los_Angeles"), pa.int64()]
)
def test_a_time_of_parquet_keeps_its_microseconds(kind, tmp_path):
    rows = [json.loads(line) for line in lines_of(60, '{{"text": "{text}", "label": "{label}"}}\n').splitlines()]
    written = 1500000001 if "[s" in str(kind) else 1500000001000000123
    at = pa.array([written] * 60, pa.int64()).cast(kind)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows).append_column("at", at), sink)
    found, frame = dataset(tmp_path, "a.parquet", sink.getvalue().to_pybytes(), columns=COLUMNS)
    assert set(frame["created_at"]) == {AT}
    assert len(found.notes) == (2 if kind == pa.timestamp("ns") else 1)


def test_a_time_without_a_zone_is_utc_and_reported_as_that_and_an_unknown_zone_is_no_time(tmp_path):
    times = ["2017-07-14 02:40:01", "2017-07-14T02:40:01", "Fri Jul 14 02:40:01 XYZ 2017", "soon", "", "2017"]
    rows = [f'"{text}",{times[n % 6]}' for n, text in enumerate(lines_of(60, "{text}\n").splitlines())]
    content = "text,at,label\n" + "".join(f"{row},{('positive', 'negative', 'neutral')[n % 3]}\n" for n, row in enumerate(rows))
    found, frame = dataset(tmp_path, "a.csv", content, columns=COLUMNS)
    assert frame["created_at"].notna().sum() == 20 and set(frame["created_at"].dropna()) == {AT}
    assert found.notes[1:] == (
        "20 of 60 times have no zone and were read as UTC",
        "30 of 60 times cannot be read, such as 'Fri Jul 14 02:40:01 XYZ 2017'",
    )
