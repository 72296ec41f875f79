"""Metadata that Dagster shows of an asset: tables with columns, rows and path, Markdown, and pictures."""

import base64
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from data.labeled_text import LABELED_TEXT

_MEANING = {
    "id": "Unique in its dataset.",
    "text": "As its author wrote it.",
    "label": "negative, neutral or positive; null where the dataset labels sarcasm only.",
    "sarcasm": "Whether the text is sarcastic; null where the dataset has no such label.",
    "domain": "tweets, reviews, support, finance or news.",
    "source": "The dataset it comes from.",
    "split": "train, val or test; empty before the split.",
    "label_confidence": "0 to 1; null where the dataset has no such value.",
    "created_at": "When the text was written, UTC.",
}


def table_columns(schema: pa.Schema, meaning: dict[str, str]) -> dg.TableSchema:
    """Return the columns of a table, for `dagster/column_schema`."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                str(field.type),
                description=meaning.get(field.name),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def ddl_columns(ddl: str) -> dg.TableSchema:
    """Return the columns of a table whose SQL is `name TYPE, name TYPE, …`; types may hold commas between `<` and `>`."""
    parts, depth = [""], 0
    for character in ddl:
        depth += (character == "<") - (character == ">")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    columns = [part.strip().split(" ", 1) for part in parts]
    return dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns])


def labeled_text_columns() -> dict[str, Any]:
    """Return the columns of every file of labeled text."""
    return {"dagster/column_schema": table_columns(LABELED_TEXT, _MEANING)}


def stored(path: Path, rows: int) -> dict[str, Any]:
    """Return path and row count of a table, as metadata."""
    return {"dagster/uri": file_uri(path), "dagster/row_count": rows}


def file_uri(path: Path) -> str:
    """Return a local path as a URI, for `dagster/uri`."""
    return path.resolve().as_uri()


def table(rows: list[dict[str, Any]]) -> dg.MetadataValue:
    """Return rows, all with the same columns, as table metadata."""
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def markdown(text: str) -> dg.MarkdownMetadataValue:
    """Return Markdown metadata. Dagster shows it in place under 1,000 characters, else behind a click."""
    return dg.MetadataValue.md(text)


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """Embed a PNG in the metadata, so that the plot of this run stays as it was."""
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return markdown(f"![{path.stem}](data:image/png;base64,{encoded})")
