"""Ids that went through a float, clients in HTML, and NaN.

DocNow/twarc-csv#51, JustAnotherArchivist/snscrape#140, neo4j-contrib/twitter-neo4j#2; Python's own `json.dumps` writes NaN.
"""

import pyarrow as pa
import pytest

from data.errors import MalformedData
from serving.lakehouse.messages import read_messages
from tests.cases.tables import lines_of, scored


def rows(*lines: str):
    return [row for (row,) in read_messages(pa.array(lines)).to_pylist()]


@pytest.mark.parametrize(
    "written",
    ["2.23456789012346E+17", "223456789012346000.0", '"2,23E+17"', '"223456789012346000,0"', '"2.23456789012346E+17"', "2.5"],
)
def test_id_that_went_through_a_float_is_rejected_by_name(written):
    (row,) = rows(f'{{"id": {written}, "text": "Fine seat"}}')
    assert (row["reason"], row["id"]) == ("id is a float", None)


def test_string_next_to_a_float_is_the_id_and_integers_keep_all_digits():
    first, second = rows('{"id": 2.2E17, "id_str": "223456789012345678", "text": "a"}', '{"id": 223456789012345678, "text": "a"}')
    assert first["id"] == second["id"] == "223456789012345678"


def test_source_is_the_clients_name():
    (row,) = rows('{"id": 1, "text": "a", "source": "<a href=\\"https://a.b\\" rel=\\"nofollow\\">Tweet &amp; Go</a>"}')
    assert row["source"] == "Tweet & Go"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1" + "0" * 5000])
def test_number_in_a_field_that_is_not_read_costs_nothing(value):
    (row,) = rows(f'{{"id": 1, "text": "a", "score": {value}, "more": [{{"deep": {value}}}]}}')
    assert (row["reason"], row["text"]) == (None, "a")


@pytest.mark.parametrize("array", [False, True])
def test_datasets_and_score_read_a_file_with_long_numbers_and_marks_within(array, tmp_path):
    lines = lines_of(60, '{{"text": "{text}", "label": "{label}", "n": NUMBER}}\n').replace("NUMBER", "7" * 5000)
    content = f"[{lines.strip().replace(chr(10), ',')}]" if array else lines + "\ufeff" + lines
    assert scored(tmp_path / "a.jsonl", content)[1].rows == (60 if array else 120)


@pytest.mark.parametrize("array", [False, True])
def test_an_object_that_is_nested_too_deep_is_refused_by_its_line(array, tmp_path):
    deep = '{"text": "a", "label": "positive", "n": ' + "[" * 100_000 + "]" * 100_000 + "}"
    with pytest.raises(MalformedData, match="item 1 cannot be read" if array else "line 1 cannot be read"):
        scored(tmp_path / "a.jsonl", f"[{deep}]" if array else deep)


@pytest.mark.parametrize("value", ["NaN", "null", "7", "[]"])
def test_such_a_value_as_text_or_time_is_rejected_by_name(value):
    text, time = rows(f'{{"id": 1, "text": {value}}}', f'{{"id": 1, "text": "a", "created_at": {value}}}')
    assert text["reason"] == "no text"
    assert time["reason"] in (None, "created_at unreadable")
