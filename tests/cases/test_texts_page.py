"""Every row of the table in docs/texts.md is what `clean` does."""

import re
from pathlib import Path

import pytest

from data.cleaning import clean

PAGE = (Path(__file__).parents[2] / "docs" / "texts.md").read_text(encoding="utf-8")
TABLE = PAGE.split("| kind | raw | cleaned |")[1].split("\n\n")[0]
ROWS = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in TABLE.splitlines()[2:]]


def _text(cell: str) -> str:
    """The text of a cell, with the characters that are written as escapes; a doubled backslash is one."""
    text = re.sub(r"(?<!\\)\\u([0-9a-f]{4})", lambda match: chr(int(match.group(1), 16)), cell.strip().strip("`"))
    return text.replace("\\\\", "\\")


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_table(row):
    kind, raw, *rest = row
    cleaned = rest[0] if rest else ""
    assert raw.startswith("`") and clean(_text(raw)) == _text(cleaned.strip("| ")), kind


def test_the_table_has_rows():
    assert len(ROWS) >= 25
