"""The tables of docs/data.md: each row has an example here, and the example does what the row states."""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import MalformedData
from data.tables import ReadAs, Rejected, open_table, require_texts, streams
from data.tables.ids import id_text
from data.tables.times import utc_times
from tests.cases.tables import dataset, lines_of
from tests.data.sheets import write_sheet

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
ROWS = [{"text": "Great, so", "label": "ok"}, {"text": "Bad", "label": "ok"}]
CSV = 'text,label\n"Great, so",ok\nBad,ok\n'


def rows_under(header: str) -> dict[str, str]:
    """Return the rows of the table with this header: first cell to second cell."""
    table = PAGE.split(f"{header}\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    return dict(re.match(r"\| (.+?) \| (.+) \|$", line).groups() for line in table.splitlines())  # type: ignore[union-attr]


def read(path: Path, content: str | bytes, **read_as):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [row for chunk, _ in open_table(path, ["text", "label"], read_as=ReadAs(**read_as)).chunks() for row in chunk]


def delimited(folder):
    for suffix in (".csv", ".tsv", ".txt"):
        for delimiter in ",\t;|":
            assert read(folder / f"a{suffix}", CSV.replace(",", delimiter).replace(f"t{delimiter} ", "t, ")) == ROWS
        assert read(folder / f"a{suffix}", CSV.replace("text,label", "text~label").replace(",ok", "~ok"), delimiter="~") == ROWS


def without_header(folder):
    assert read(folder / "a.csv", CSV.split("\n", 1)[1], names=("text", "label")) == ROWS
    (folder / "a.csv").write_text("Great, so\nBad\n")
    table = open_table(folder / "a.csv", ["text"], read_as=ReadAs(names=("text",)))
    assert [row for chunk, _ in table.chunks() for row in chunk] == [{"text": "Great, so"}, {"text": "Bad"}]


def json_files(folder):
    for suffix in (".jsonl", ".ndjson", ".json"):
        assert read(folder / f"a{suffix}", "\n".join(map(json.dumps, ROWS))) == ROWS
        assert read(folder / f"a{suffix}", json.dumps(ROWS)) == ROWS


def parquet(folder):
    sink = io.BytesIO()
    table = pa.Table.from_pylist(ROWS)
    large = table["text"].cast(pa.large_string())
    pq.write_table(table.set_column(0, "text", large).set_column(1, "label", table["label"].dictionary_encode()), sink)
    assert read(folder / "a.parquet", sink.getvalue()) == ROWS


def sheets(folder):
    cells = [["text", "label"], *[list(row.values()) for row in ROWS]]
    write_sheet(folder / "a.xlsx", [["other"], ["x"]], cells)
    assert read(folder / "a.xlsx", (folder / "a.xlsx").read_bytes()) == ROWS
    write_sheet(folder / "a.xlsx", cells, cells)
    with pytest.raises(MalformedData, match="Sheet1, Sheet2"):
        read(folder / "a.xlsx", (folder / "a.xlsx").read_bytes())


def packed(folder):
    assert read(folder / "a.CSV.GZ", gzip.compress(CSV.encode())) == ROWS
    with zipfile.ZipFile(folder / "A.Zip", "w") as archive:
        archive.writestr("folder/a.JSON", json.dumps(ROWS))
    assert read(folder / "A.Zip", (folder / "A.Zip").read_bytes()) == ROWS


def unicode(folder):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        assert read(folder / "a.csv", CSV.replace("Bad", "Süß 😀").encode(encoding))[1]["text"] == "Süß 😀"


def western(folder):
    assert read(folder / "a.csv", CSV.replace("Bad", "“Süß” café").encode("cp1252"))[1]["text"] == "“Süß” café"
    assert read(folder / "a.csv", CSV.replace("Bad", "Плохо").encode("cp1251"), encoding="cp1251")[1]["text"] == "Плохо"


FILES: dict[str, Callable[[Path], None]] = {
    "`.csv`, `.tsv`, `.txt`": delimited,
    "`.csv` without a header": without_header,
    "`.jsonl`, `.ndjson`, `.json`": json_files,
    "`.parquet`": parquet,
    "`.xlsx`": sheets,
    "`.gz`, `.zip`": packed,
    "UTF-8, UTF-16, UTF-32": unicode,
    "cp1252, latin-1": western,
}


def ragged(folder):
    found = read(folder / "a.csv", CSV + "a,b,c\nd\n")
    assert found[:2] == ROWS and [str(row) for row in found[2:]] == [
        "line 4: 3 fields, expected 2",
        "line 5: 1 fields, expected 2",
    ]
    assert all(isinstance(row, Rejected) for row in found[2:])


def refused(content: str | bytes, message: str) -> Callable[[Path], None]:
    def example(folder: Path) -> None:
        with pytest.raises(MalformedData, match=message):
            read(folder / "a.csv", content)

    return example


def trailing(folder):
    assert read(folder / "a.csv", "text,label\nGreat,ok,\nBad,ok,\n") == [{"text": "Great", "label": "ok"}, ROWS[1]]


def stray_quotes(folder):
    assert read(folder / "a.csv", 'text,label\n"Great,ok\nBad,ok\n')[0]["text"] == '"Great'
    refused('text,label\n"Great,ok\n"Bad, so",ok\n', "quote|expected after")(folder)


def line_breaks(folder):
    table = 'text,label\n"two\nlines",ok\nBad,ok\n'
    assert read(folder / "a.csv", table)[0]["text"] == "two\nlines"
    assert "lines" in open_table(folder / "a.csv", ["text"]).found


def labels_as_texts(folder):
    with pytest.raises(MalformedData, match="holds no texts"):
        require_texts(["positive", "negative"], {"positive", "negative"}, "The column", "Set it.")


def halved(folder):
    written = {
        "a.csv": lines_of(60, '"{text} \ud83d",{label}\n', first="text,label\n"),
        "a.jsonl": lines_of(60, '{{"text": "{text} \\ud83d", "label": "{label}"}}\n'),
    }
    for name, content in written.items():
        _, frame = dataset(folder, name, content.encode("utf-8", "surrogatepass"))
        assert len(frame) == 60 and frame["text"][0] == "Great crew on flight 0, thank you "


def bomb(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "ALWAYS_ALLOWED", 2**20)
        with pytest.raises(MalformedData, match="expands to more than 200 times"):
            read(folder / "a.csv.gz", gzip.compress(CSV.encode() + b"Bad,ok\n" * 2**20, 9))


def labeled(mapping: dict, names: dict[str, object], *, null: bool = False) -> Callable[[Path], None]:
    def example(folder: Path) -> None:
        rows = [json.loads(line) for line in lines_of(60, '{{"text": "{text}", "label": "{label}"}}\n').splitlines()]
        rows = [{**row, "label": names[row["label"]]} for row in rows]
        rows[0]["label"] = None if null else rows[0]["label"]
        found, frame = dataset(
            folder, "a.jsonl", "\n".join(map(json.dumps, rows)), **({"label_mapping": mapping} if mapping else {})
        )
        assert frame["label"].value_counts().to_dict() == {"negative": 20, "neutral": 20, "positive": 20 - null}
        assert ("1 rows without a label are rejected" in found.notes) == null

    return example


def lost_ids(folder):
    for written in ("1.23E+17", "1,23E+17", "1.23E17", "123456789012345678,0"):
        with pytest.raises(MalformedData, match="lost digits"):
            id_text(written, "of a set")
    assert id_text("12E5", "of a set") == "12E5"


def no_strings(folder):
    rows = [json.loads(line) for line in lines_of(60, '{{"text": "{text}", "label": "{label}"}}\n').splitlines()]
    others = [["a list"], {"an": "object"}, 7]
    mixed = [{**row, "text": others[n] if n < 3 else row["text"]} for n, row in enumerate(rows)]
    found, frame = dataset(folder, "a.jsonl", "\n".join(map(json.dumps, mixed)))
    assert frame["text"].tolist() == [row["text"] for row in rows[3:]] and "3 rows without a text are rejected" in found.notes
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [row["text"].encode() for row in rows], "label": [row["label"] for row in rows]}), sink)
    with pytest.raises(MalformedData, match="no texts") as caught:
        dataset(folder, "a.parquet", sink.getvalue())
    assert "60 of 60 values that are no strings, such as b'Great crew" in str(caught.value.found)


def times(*written: object, notes: str = "") -> Callable[[Path], None]:
    def example(folder: Path) -> None:
        found = utc_times(written)
        assert notes in " ".join(found.notes) and bool(found.notes) == bool(notes)
        known = {at for at in found.values if at}
        assert {at.isoformat() for at in known} == {"2017-07-14T02:40:01+00:00"}

    return example


CONTENT: dict[str, Callable[[Path], None]] = {
    "more or fewer fields in a row than in the header": ragged,
    "a delimiter at the end of each line": trailing,
    "quotation marks that are part of the texts": stray_quotes,
    "line breaks in quoted fields": line_breaks,
    "one column that seems to be several": refused("text\nGreat;ok\nBad;ok\n", "has no column 'label'|only one column"),
    "labels in the text column": labels_as_texts,
    "lists, objects, numbers or bytes in the text column": no_strings,
    "bytes of another encoding in a few lines": refused(
        CSV.encode() + "é,ok\n".encode() * 3 + b"\xe9,ok\n", "byte 0xe9 in line 7"
    ),
    "half an emoji, as an escape or in bytes": halved,
    "a compressed size that expands more than 200 times and over 1 GiB": bomb,
    "labels that are numbers, with a null among them": labeled(
        {0: "negative", 2: "neutral", 4: "positive"}, {"negative": 0.0, "neutral": 2, "positive": "4.0"}, null=True
    ),
    "`Positive `, `NEGATIVE`": labeled({}, {"negative": "NEGATIVE", "neutral": "ｎｅｕｔｒａｌ", "positive": "Positive "}),
    "keys `0:`, `no:`, `yes:` in `label_mapping`": labeled(
        {0: "neutral", "bad": "negative", True: "positive"}, {"negative": "Bad", "neutral": 0, "positive": "Yes"}
    ),
    "ids that went through a float, such as `1.23E+17`": lost_ids,
    "times in seconds, milliseconds, microseconds or nanoseconds": times(
        1500000001, 1500000001000, 1500000001000000, "1500000001000000000"
    ),
    "times with `PDT`, `CET` and the like": times(
        "Thu Jul 13 19:40:01 PDT 2017", "2017-07-14 03:40:01 CET", "2017-07-14 03:40:01 XXT", notes="1 of 3 times cannot be read"
    ),
    "times without a zone": times("2017-07-14 02:40:01", notes="no zone and were read as UTC"),
}


@pytest.mark.parametrize(("header", "examples"), [("| file | read as |", FILES), ("| a file with | gives |", CONTENT)])
def test_the_page_has_the_rows_that_are_proven_here(header, examples):
    assert list(rows_under(header)) == list(examples)


@pytest.mark.parametrize("row", [*FILES, *CONTENT])
def test_a_row_of_the_page_is_true(row, tmp_path):
    (FILES | CONTENT)[row](tmp_path)
