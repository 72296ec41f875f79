import csv
import gc
import gzip
import io
import json
import zipfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data import tables
from data.errors import MalformedData, SourceUnavailable
from data.tables import ReadAs, Rejected, open_table, require_texts
from data.tables.streams import locate

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=12)
ROWS = st.lists(st.fixed_dictionaries({"text": TEXT, "label": TEXT}), min_size=1, max_size=30)


def read(path, columns=(), **read_as):
    """Return all rows, rejected ones in their place."""
    return [row for chunk, _ in open_table(path, columns, read_as=ReadAs(**read_as)).chunks() for row in chunk]


def report(path, columns=(), **read_as):
    table = open_table(path, columns, read_as=ReadAs(**read_as))
    for _ in table.chunks():
        pass
    return table.report()


def to_csv(rows):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["text", "label"], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def zipped(path, name, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.writestr("__MACOSX/._" + name, b"x")


@settings(max_examples=60, deadline=None)
@given(ROWS, st.booleans())
def test_every_format_gives_the_rows_that_were_written(tmp_path_factory, rows, end):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("rows")
    text = to_csv(rows) if end else to_csv(rows).removesuffix("\r\n")  # the last line may have no end
    (folder / "a.csv").write_bytes(text.encode("utf-8-sig"))
    (folder / "a.CSV.GZ").write_bytes(gzip.compress(text.encode()))
    zipped(folder / "a.zip", "A.CSV", text.encode("utf-16"))
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "a.json").write_text(json.dumps(rows, indent=2))
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    for path in folder.iterdir():
        assert read(path, ["text", "label"]) == rows, path.name


# What csv.writer may write: any delimiter, quoting, line end and encoding, with and without a header.
CELL = st.one_of(
    st.text(st.sampled_from(list("ab \"',;|\t\n\\é😀")), max_size=6), st.sampled_from(["positive", "It was good, really", '"hi"'])
)
WIDTH_ROWS = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=12)
)


@settings(max_examples=200, deadline=None)
@given(
    rows=WIDTH_ROWS,
    delimiter=st.sampled_from([",", "\t", ";", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"]),
    has_header=st.booleans(),
)
@example([['"a', "b"], ['c"', "d"]], ",", csv.QUOTE_NONE, "\n", "utf-8", True)
@example([["", "😀"]], "\t", csv.QUOTE_MINIMAL, "\n", "utf-16-le", False)
@example([["", "😀"]], ";", csv.QUOTE_ALL, "\n", "utf-16-be", False)
@example([['a,\nb"', "c"], ["d", "e"]], ",", csv.QUOTE_MINIMAL, "\n", "utf-8", True)
def test_rows_of_csv_writer_read_back_or_are_refused(tmp_path_factory, rows, delimiter, quoting, end, encoding, has_header):
    names = ["text", "label", "more", "last"][: len(rows[0])]
    out = io.StringIO(newline="")
    writer = csv.writer(
        out, delimiter=delimiter, quoting=quoting, lineterminator=end, quotechar=None if quoting == csv.QUOTE_NONE else '"'
    )
    try:
        if has_header:
            writer.writerow(names)
        writer.writerows(rows)
        content = out.getvalue().encode(encoding)
    except (csv.Error, UnicodeEncodeError):
        return  # csv.writer itself refuses
    cells = [cell for row in rows for cell in row]
    if quoting == csv.QUOTE_NONE and any("\n" in cell or (cell.startswith('"') and cell.endswith('"')) for cell in cells):
        return  # the file does not have where the row ends, or whether the quotation marks are of the text
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(content)
    try:
        found = read(path, ["text", "label"], names=None if has_header else tuple(names))
    except MalformedData as error:
        assert error.found or error.remedy, error
        return
    assert not [row for row in found if isinstance(row, Rejected)] or quoting == csv.QUOTE_NONE
    assert len(found) == len(rows)
    for row, written in zip(found, rows, strict=True):
        assert isinstance(row, Rejected) or list(row.values()) == written


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text(st.sampled_from(list('ab ,"\n')), max_size=5), min_size=1, max_size=5), min_size=1, max_size=20))
def test_a_ragged_row_is_rejected_by_its_line_and_never_shifted(tmp_path_factory, rows):
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    whole = [["text", "label", "more"], *[["x, y", "neutral", "z"]] * (len(rows) + 1), *rows]
    lines = []
    for row in whole:
        lines.append(out.getvalue().count("\n") + 1)
        writer.writerow(row)
    path = tmp_path_factory.mktemp("ragged") / "a.csv"
    path.write_text(out.getvalue())
    found = read(path, ["text", "label"])
    assert len(found) == len(whole) - 1
    for row, written, line in zip(found, whole[1:], lines[1:], strict=True):
        if len(written) == 3:
            assert isinstance(row, dict) and list(row.values()) == written
        else:
            assert isinstance(row, Rejected) and row.line == line and f"{len(written)} fields" in str(row)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('text,label\nx,"neutral, or so"\n"y,neutral\nz,neutral\n', 2),
        ('text,label\nx,neutral\ny,"', 2),
        ('text,label\nx,neutral,"more\n', 1),
        ('text,"label\nx,neutral\n', 0),
    ],
)
def test_open_quote_is_refused_by_line(content, line, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(MalformedData, match=f"a quote that is not closed.*, after line {line}"):
        read(tmp_path / "a.csv")


def test_a_line_of_another_encoding_is_named(tmp_path):
    content = b"text,label\n" + "naïve 😀,neutral\n".encode() * 5000 + b"caf\xe9,neutral\n"
    for name, packed in (("a.csv", content), ("a.csv.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(MalformedData, match="byte 0xe9 in line 5,002"):
            read(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"])
def test_the_encoding_is_detected(encoding, tmp_path):
    (tmp_path / "a.csv").write_bytes("text,label\nsüß, naïve café,positive\n".replace("süß,", "süß").encode(encoding))
    assert read(tmp_path / "a.csv", ["text"]) == [{"text": "süß naïve café", "label": "positive"}]
    (tmp_path / "a.jsonl").write_bytes('{"text": "süß café"}\n'.encode(encoding))
    assert read(tmp_path / "a.jsonl", ["text"]) == [{"text": "süß café"}]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Очень хороший самолёт"),
        ("koi8-r", "Очень хороший самолёт"),
        ("cp1253", "Πολύ καλή πτήση"),
        ("shift-jis", "とても良いフライト"),
        ("gbk", "非常好的航班"),
        ("cp1250", "żółty samolot był całkiem miły"),
    ],
)
def test_an_encoding_that_cannot_be_known_is_refused_until_it_is_set(encoding, text, tmp_path):
    (tmp_path / "a.csv").write_bytes(f"text,label,and a long column in ASCII\n{text},positive,{'x' * 100}\n".encode(encoding) * 2)
    with pytest.raises(MalformedData, match=r"encoding of .* is not known"):
        read(tmp_path / "a.csv", ["text"])
    assert read(tmp_path / "a.csv", ["text"], encoding=encoding)[0]["text"] == text


@pytest.mark.parametrize(
    "text", ["“Süß” café", "l’été à l’hôtel – 5 €", "¿Qué tal? ¡Olé!", "Ærø, smørrebrød", "n° 5, 20º", "œuvre…"]
)
def test_western_texts_are_read(text, tmp_path):
    (tmp_path / "a.csv").write_bytes(f'text,label\n"{text}",positive\n'.encode("cp1252"))
    assert read(tmp_path / "a.csv", ["text"]) == [{"text": text, "label": "positive"}]


def test_a_file_is_read_in_chunks_with_the_share_that_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 4)
    (tmp_path / "a.tsv").write_text("text\n" + "x\n" * 10)
    chunks = list(open_table(tmp_path / "a.tsv").chunks())
    assert [(len(chunk), 0 < share <= 1) for chunk, share in chunks] == [(4, True), (4, True), (2, True)]


def test_missing_columns_are_named_with_the_nearest(tmp_path):
    (tmp_path / "a.csv").write_text("txt;label\nx;neutral\n")
    with pytest.raises(MalformedData) as caught:
        open_table(tmp_path / "a.csv", ["text", "id", "label"], fix="Set it.")
    assert str(caught.value).endswith(
        "has no column 'text', 'id'.\n  found: txt, label (delimiter: semicolon)\n  expected: text, id, label\n"
        "  remedy: Did you mean 'txt'? Set it."
    )


@pytest.mark.parametrize("name", ["a.xls", "a", "a.gz", "a.parquet.gz", "a.doc"])
def test_other_formats_are_refused(name, tmp_path):
    (tmp_path / name).write_text("x")
    with pytest.raises(MalformedData, match=r"expected: \.csv"):
        read(tmp_path / name)
    with pytest.raises(SourceUnavailable, match="not found"):
        locate(tmp_path / "none.csv")


def test_a_zip_file_holds_one_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "text\nx\n")
        archive.writestr("b.csv", "text\nx\n")
    with pytest.raises(MalformedData, match=r"found: a\.csv, b\.csv"):
        read(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(MalformedData, match="truncated or corrupt"):
        read(tmp_path / "b.zip")


@pytest.mark.parametrize(
    "offset, value, found", [(6, b"\x01\x00", "encrypted"), (8, b"\x5d\x00", "compression")], ids=["encrypted", "Zstandard"]
)
def test_zip_member_that_cannot_be_unpacked_is_refused_with_the_reason(offset, value, found, tmp_path):
    zipped(tmp_path / "a.zip", "a.csv", b"text\nx\n")
    content = (tmp_path / "a.zip").read_bytes()
    for header, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        at = content.index(header) + offset + shift
        content = content[:at] + value + content[at + 2 :]
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(MalformedData, match=f"(?s){found}.*expected: a ZIP file that is not encrypted"):
        read(tmp_path / "a.zip")


def test_damaged_member_of_a_zip_file_is_named_as_such(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.csv", "text\n" + "so good\n" * 1000)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[60:80] = b"\xff" * 20
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(MalformedData, match=r"(?s)truncated or corrupt.*expected: a complete ZIP file"):
        read(tmp_path / "a.zip")


def test_error_of_the_reader_is_not_one_of_the_file(tmp_path):
    (tmp_path / "a.csv").write_text("text\nx\n")
    with pytest.raises(RuntimeError, match="password of the database"), tables.streams.open_bytes(locate(tmp_path / "a.csv")):
        raise RuntimeError("password of the database missing")


def test_what_expands_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables.streams, "ALWAYS_ALLOWED", 2**20)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\n" + b"x" * 2**24, 9))
    with pytest.raises(MalformedData, match="expands to more than 200 times"):
        read(tmp_path / "a.csv.gz")


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables.streams, "MAX_LINE_CHARS", 1000)
    (tmp_path / "a.csv").write_text("text,label\n" + "x" * 5000)
    with pytest.raises(MalformedData, match="line 2 has over 1,000 characters"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x1f\x8b\x08", b"PAR1"])
def test_a_binary_file_with_the_suffix_of_a_text_is_named(start, tmp_path):
    (tmp_path / "a.csv").write_bytes(start + bytes(range(256)))
    with pytest.raises(MalformedData, match="is not text"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"}, {"text": "b"}', "no end of the array after item 2"),
        ('[{"text": "a"}, 5]', "item 2 is not an object"),
        ('[{"text": "a"}, {"text": }]', "item 2 cannot be read"),
        ('[{"text": "a"}] {"text": "b"}', "after its end"),
        ("", "has no rows"),
        ("[]", "has no rows"),
        ('{\n"text": "a"\n}', "line 1 cannot be read"),
    ],
)
def test_a_damaged_json_file_is_refused_by_its_item(content, message, tmp_path):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(MalformedData, match=message):
        read(tmp_path / "a.json", ["text"])


def test_a_json_array_longer_than_a_block_is_read_whole(tmp_path):
    rows = [{"text": "word " * (n % 40) * 100, "id": n} for n in range(300)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert read(tmp_path / "a.json", ["text"]) == rows


def test_a_sheet_is_read_with_its_types(tmp_path):
    from tests.data.sheets import write_sheet

    write_sheet(
        tmp_path / "a.xlsx", [["text", "label", "n"], ["Great, so", "positive", 4], ["", "", ""], ["Bad", "negative", 0.5]]
    )
    assert read(tmp_path / "a.XLSX".replace("XLSX", "xlsx"), ["text"]) == [
        {"text": "Great, so", "label": "positive", "n": 4},
        {"text": "Bad", "label": "negative", "n": 0.5},
    ]
    assert report(tmp_path / "a.xlsx", ["text"])["sheet"] == "Sheet1"


def test_the_report_adds_lines_and_rows_up(tmp_path):
    (tmp_path / "a.csv").write_text('text;label\n"two\nlines";neutral\n\nx;neutral\na;b;c\n')
    found = report(tmp_path / "a.csv", ["text"])
    assert found == {
        "format": "CSV",
        "encoding": "utf-8",
        "delimiter": "semicolon",
        "quoting": "quoted",
        "columns": ["text", "label"],
        "lines": 6,
        "blank_lines": 1,
        "rows": 2,
        "first_row": {"text": "two\nlines", "label": "neutral"},
        "rejected": {"too many fields": 1},
        "rejected_rows": ["line 6: 3 fields, expected 2"],
    }


@pytest.mark.parametrize(
    ("content", "read_as", "rows"),
    [
        ("sep=;\ntext;label\na, b;neutral\n", {}, [{"text": "a, b", "label": "neutral"}]),
        (
            "a, b|neutral\nc|neutral\n",
            {"names": ("text", "label")},
            [{"text": "a, b", "label": "neutral"}, {"text": "c", "label": "neutral"}],
        ),
        ("Not bad, in fact\nOk\n", {"names": ("text",)}, [{"text": "Not bad, in fact"}, {"text": "Ok"}]),
        ("text\nNot bad, in fact\nOk\n", {}, [{"text": "Not bad, in fact"}, {"text": "Ok"}]),
        ("text\nNot bad, in fact\n", {"delimiter": "none"}, [{"text": "Not bad, in fact"}]),
        ('label, text\nok, "a, b"\nok, c\n', {}, [{"label": "ok", "text": "a, b"}, {"label": "ok", "text": "c"}]),
        ("text~label\na, b~neutral\n", {"delimiter": "~"}, [{"text": "a, b", "label": "neutral"}]),
        ('text,label\n"he \\"likes\\" it, so",neutral\n', {}, [{"text": 'he "likes" it, so', "label": "neutral"}]),
        (
            'text,label\n"a,neutral\nb",neutral\n',
            {"quoting": "none"},
            [{"text": '"a', "label": "neutral"}, {"text": 'b"', "label": "neutral"}],
        ),
    ],
)
def test_a_dialect_is_detected_or_set(content, read_as, rows, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    assert read(tmp_path / "a.csv", ["text"], **read_as) == rows


@pytest.mark.parametrize(
    ("content", "read_as", "message"),
    [
        ('text,label\n"a,neutral\nb",neutral\n', {}, "can be read in two ways"),
        ("text\nNot bad, positive\nOk, neutral\n", {}, "only one column"),
        ("a, b|neutral\n", {"names": ("text", "label")}, "can be read in two ways"),
        ("text,label\na;neutral\nb;neutral\n", {}, "do not fit"),
        ("text,text,label\na,b,neutral\n", {}, "two columns 'text'"),
        ("text,label\na,neutral\n", {"names": ("text", "label")}, "has a header"),
        ("a,ok\nb,ok\n", {"names": ("id", "text", "label")}, "2 of 2 rows do not fit"),
        ("", {}, "has no rows"),
        ("text,label\n", {}, "has no rows"),
    ],
)
def test_a_suspicious_file_is_refused_with_what_to_do(content, read_as, message, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(MalformedData, match=message) as caught:
        read(tmp_path / "a.csv", ["text"], **read_as)
    assert caught.value.remedy or caught.value.expected


@pytest.mark.parametrize(
    "options", [{"delimiter": "ab"}, {"delimiter": '"'}, {"encoding": "utf-99"}, {"quoting": "single"}, {"names": ()}]
)
def test_an_invalid_setting_is_refused(options):
    with pytest.raises(ValueError, match="validation error"):
        ReadAs(**options)


@pytest.mark.parametrize(
    ("texts", "are_texts"),
    [
        (["Positive ", "NEGATIVE", "a text", "4.0"], False),
        (["positive", "a text", "another text"], True),
        (["yes", "no"] * 25, False),
        (["yes", "no"] * 24, True),
        (["a great film", "the number"] * 25, True),
        ([None, 5, ""], True),
    ],
)
def test_a_column_of_labels_is_no_column_of_texts(texts, are_texts):
    try:
        require_texts(texts, {"positive", "negative", "4"}, "The column", "Set it.")
    except MalformedData as error:
        assert not are_texts and "holds no texts" in str(error)
    else:
        assert are_texts


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.json"])
def test_a_reader_that_stops_early_leaves_no_error(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 2)
    rows = [{"text": "word " * 50, "label": "ok"}] * 3000
    content = {"a.jsonl": "\n".join(map(json.dumps, rows)), "a.json": json.dumps(rows)}.get(name, to_csv(rows)).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    chunks = open_table(tmp_path / name, ["text"]).chunks()
    assert len(next(chunks)[0]) == 2
    del chunks
    gc.collect()
