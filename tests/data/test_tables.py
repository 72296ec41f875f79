import csv
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import tables
from data.errors import MalformedData
from data.tables import read_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=12)
ROWS = st.lists(st.fixed_dictionaries({"text": TEXT, "label": TEXT}), min_size=1, max_size=30)


def read(path, **options):
    return [row for chunk, _ in read_rows(path, **options) for row in chunk]


def to_csv(rows):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["text", "label"], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@settings(max_examples=60, deadline=None)
@given(ROWS, st.booleans())
def test_every_format_gives_the_rows_that_were_written(tmp_path_factory, rows, end):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("rows")
    text = to_csv(rows) if end else to_csv(rows).removesuffix("\r\n")  # the last line may have no end
    (folder / "a.csv").write_bytes(text.encode("utf-8-sig"))
    (folder / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    for path in folder.iterdir():
        assert read(path, columns=["text", "label"]) == rows, path.name


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('text,label\nx,neutral\n"y,neutral\nz,neutral\n', 2),
        ('text,label\nx,neutral\ny,"', 2),
        ('text,label\nx,neutral,"more\n', 1),
        ('text,"label\nx,neutral\n', 0),
    ],
)
def test_open_quote_is_refused_by_line(content, line, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(MalformedData, match=f"a quote that is not closed, after line {line}"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_byte_that_is_not_utf_8_is_named_by_its_line(name, tmp_path):
    content = b"text,label\n" + b"x,neutral\n" * 5000 + b"caf\xe9,neutral\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(MalformedData, match="byte 0xe9 in line 5,002"):
        read(tmp_path / name)


def test_a_file_is_read_in_chunks_with_the_share_that_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 4)
    (tmp_path / "a.tsv").write_text("text\n" + "x\n" * 10)
    assert [(len(chunk), 0 < share <= 1) for chunk, share in read_rows(tmp_path / "a.tsv")] == [(4, True), (4, True), (2, True)]


def test_missing_columns_are_named_with_the_nearest(tmp_path):
    (tmp_path / "a.csv").write_text("txt,label\nx,neutral\n")
    with pytest.raises(MalformedData) as caught:
        read(tmp_path / "a.csv", columns=["text", "id", "label"], fix="Set it.")
    assert str(caught.value).endswith(
        "has no column 'text', 'id'.\n  found: txt, label\n  expected: text, id, label\n  remedy: Did you mean 'txt'? Set it."
    )


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.gz"])
def test_other_formats_are_refused(name, tmp_path):
    (tmp_path / name).write_text("x")
    with pytest.raises(MalformedData, match=r"expected: \.csv"):
        read(tmp_path / name)
