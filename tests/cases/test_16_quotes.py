"""Rows swallowed by a quotation mark.

pandas-dev/pandas#25228, pandas-dev/pandas#39857, pytorch/text#612: 20,000 lines, 19,988 rows.
"""

import pytest

from data.errors import MalformedData
from tests.cases.tables import dataset, lines_of, scored


def quoted_lines(delimiter: str, *, at: tuple[int, ...], mark: str = '"', end: str = "") -> str:
    """Return 180 rows of which some texts begin with a quotation mark that nothing closes."""
    lines = lines_of(180, f"{{n}}{delimiter}{{text}}{delimiter}{{label}}\n").replace(", ", " ").splitlines(keepends=True)
    for number in at:
        identity, text, label = lines[number].split(delimiter)
        lines[number] = delimiter.join([identity, f"{mark}{text}{end}", label])
    return delimiter.join(["id", "text", "label\n"]) + "".join(lines)


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("at", [(40, 120), (40,), (0, 1), (179,)])
def test_a_text_that_begins_with_a_quotation_mark_swallows_no_row(name, delimiter, at, tmp_path):
    found, frame = dataset(tmp_path, name, quoted_lines(delimiter, at=at))
    assert len(frame) == 180 and frame["text"].str.len().max() < 100
    assert frame["text"].str.startswith('"').sum() == len(at)
    assert frame["label"].value_counts().to_dict() == {"negative": 60, "neutral": 60, "positive": 60}
    assert "quoting none" in found.notes[0] and "180 rows in 181 lines" in found.notes[0]


@pytest.mark.parametrize(("delimiter", "rows_between"), [("\t", 81), ("\t", 4), (",", 81), (",", 4)])
def test_marks_that_open_in_one_row_and_close_in_another_swallow_no_row(delimiter, rows_between, tmp_path):
    lines = quoted_lines(delimiter, at=(40,)).splitlines(keepends=True)
    identity, text, label = lines[40 + rows_between].split(delimiter)
    lines[40 + rows_between] = delimiter.join([identity, f'{text}"', label])
    if (delimiter, rows_between) != (",", 4):
        assert len(dataset(tmp_path, "a.csv", "".join(lines))[1]) == 180
        return
    with pytest.raises(MalformedData, match="two ways") as caught:
        dataset(tmp_path, "a.csv", "".join(lines))
    assert "177 rows if the quotation mark in line 42" in str(caught.value.found) and "180 if" in str(caught.value.found)
    assert len(dataset(tmp_path, "a.csv", "".join(lines), quoting="none")[1]) == 180


def test_a_mark_that_is_not_closed_among_quoted_texts_is_refused_by_its_line(tmp_path):
    content = lines_of(90, '{n},"{text}",{label}\n', first="id,text,label\n").splitlines(keepends=True)
    content[41] = '40,"My bag, and no reply,negative\n'
    with pytest.raises(MalformedData, match="after line 41") as caught:
        dataset(tmp_path, "a.csv", "".join(content))
    assert "set quoting to none" in str(caught.value.remedy)


def test_quoted_line_breaks_are_one_row_and_lines_add_up(tmp_path):
    content = lines_of(90, '{n},"{text}\nand\nmore, with ""marks""",{label}\n', first="id,text,label\n")
    found, frame = dataset(tmp_path, "a.csv", content)
    assert len(frame) == 90 and frame["text"][0] == 'Great crew on flight 0, thank you\nand\nmore, with "marks"'
    assert "90 rows in 271 lines" in found.notes[0]


def test_score_reads_the_same_rows(tmp_path):
    texts, result = scored(tmp_path / "a.tsv", quoted_lines("\t", at=(40, 120)))
    assert (len(texts), result.rows, result.skipped) == (180, 180, {})
    assert result.read["quoting"] == "none" and result.read["lines"] == 181
