"""Commas in texts without quotes, semicolons, and suffixes in upper case.

simonw/sqlite-utils#440, python/cpython#112958 (20); radiant-rstats/radiant#202, asafdav/ng-csv#28 (29); found on the way (46).
"""

import gzip
import json

import pytest

from data.errors import MalformedData
from tests.cases.tables import dataset, lines_of, scored


def test_a_row_with_a_comma_and_no_quotes_is_rejected_by_line_and_never_cut(tmp_path):
    content = "label,text\nneutral,The gate is B12\nnegative,I wanted to like it, but no\nneutral,It leaves at nine\n"
    texts, result = scored(tmp_path / "a.csv", content)
    assert texts == ["The gate is B12", "It leaves at nine"]
    assert result.skipped == {"too many fields": 1}
    assert result.read["rejected_rows"] == ["line 3: 3 fields, expected 2"]


def test_a_file_in_which_most_rows_do_not_fit_is_refused(tmp_path):
    content = "label,text\nnegative,I wanted to like it, but no\npositive,Not bad, in fact I love it\nneutral,It leaves\n"
    for label_column in ("label", None):
        with pytest.raises(MalformedData, match="2 of 3 rows do not fit"):
            scored(tmp_path / "a.csv", content, label_column=label_column)


def test_a_dataset_that_would_lose_many_rows_is_refused(tmp_path):
    content = lines_of(180, "{n},{text},{label}\n", first="id,text,label\n")  # each positive text has a comma
    with pytest.raises(MalformedData, match="60 of 180 rows are rejected"):
        dataset(tmp_path, "a.csv", content)


@pytest.mark.parametrize("delimiter", [";", "|", "\t", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_delimiter_and_the_encoding_are_detected(delimiter, encoding, tmp_path):
    line = '"{text} – naïve";{label}\n'.replace(";", delimiter)
    content = lines_of(60, line, first=f"text{delimiter}label\n").encode(encoding)
    found, frame = dataset(tmp_path, "a.csv", content)
    assert frame["text"][0] == "Great crew on flight 0, thank you – naïve" and len(frame) == 60
    assert f"encoding {encoding}, delimiter " in found.notes[0]
    texts, result = scored(tmp_path / "b.csv", content)
    assert texts == frame["text"].tolist() and result.skipped == {}


def test_a_column_that_is_several_is_refused_with_its_delimiter(tmp_path):
    with pytest.raises(MalformedData, match="only one column") as caught:
        scored(tmp_path / "a.csv", "text\nGreat crew;positive\nMy bag is lost;negative\n", label_column=None)
    assert "delimiter is semicolon" in str(caught.value.found)


@pytest.mark.parametrize("name", ["A.CSV", "a.Csv.GZ", "A.JSONL", "a.json", "A.JSON.gz", "a.NDJSON", "a.TXT"])
def test_suffixes_in_upper_case_are_read_by_datasets_and_score(name, tmp_path):
    rows = [json.loads(line) for line in lines_of(60, '{{"text": "{text}", "label": "{label}"}}\n').splitlines()]
    content = lines_of(60, '"{text}",{label}\n', first="text,label\n")
    if "json" in name.lower():
        content = json.dumps(rows) if ".json" in name.lower().replace(".jsonl", "") else "\n".join(map(json.dumps, rows))
    packed = gzip.compress(content.encode()) if name.lower().endswith("gz") else content.encode()
    assert dataset(tmp_path, name, packed)[1]["text"].tolist() == [row["text"] for row in rows]
    assert scored(tmp_path / name, packed)[1].rows == 60
