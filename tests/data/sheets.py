"""Write a small XLSX file: the package reads them, and writes none."""

import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/xl/workbook.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>{}</Types>'
)
_SHEET_TYPE = (
    '<Override PartName="/xl/worksheets/sheet{}.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
)
_RELATIONS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
)
_RELATION = '<Relationship Id="r{}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{}" Target="{}"/>'
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def write_sheet(path: Path, *sheets: list[list[Any]]) -> None:
    """Write sheets `Sheet1`, `Sheet2`, …, each a list of rows; strings are texts, "" is an empty cell, numbers are numbers."""
    numbers = range(1, len(sheets) + 1)
    listed = "".join(f'<sheet name="Sheet{n}" sheetId="{n}" r:id="r{n}"/>' for n in numbers)
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", _TYPES.format("".join(map(_SHEET_TYPE.format, numbers))))
        archive.writestr("_rels/.rels", _RELATIONS.format(_RELATION.format(1, "officeDocument", "xl/workbook.xml")))
        targets = "".join(_RELATION.format(n, "worksheet", f"worksheets/sheet{n}.xml") for n in numbers)
        archive.writestr("xl/_rels/workbook.xml.rels", _RELATIONS.format(targets))
        archive.writestr("xl/workbook.xml", f'<workbook {_MAIN} xmlns:r="{relation}"><sheets>{listed}</sheets></workbook>')
        for number, rows in zip(numbers, sheets, strict=True):
            lines = "".join(
                f'<row r="{at}">{"".join(_cell(at, n, cell) for n, cell in enumerate(row))}</row>'
                for at, row in enumerate(rows, 1)
            )
            archive.writestr(f"xl/worksheets/sheet{number}.xml", f"<worksheet {_MAIN}><sheetData>{lines}</sheetData></worksheet>")


def _cell(row: int, column: int, value: Any) -> str:
    place = f"{chr(ord('A') + column)}{row}"
    if value == "":
        return ""
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'
