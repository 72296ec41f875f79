"""What assets tell Dagster to show: tables with their columns, rows and place, Markdown, pictures."""

import base64
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from data.labeled_text import LABELLED_TEXT

_MEANING = {
    "id": "Unique in its dataset.",
    "text": "As its author wrote it.",
    "label": "negative, neutral or positive; null where the dataset labels sarcasm only.",
    "sarcasm": "Whether the text is sarcastic; null where the dataset does not say.",
    "domain": "tweets, reviews, support, finance or news.",
    "source": "The dataset it comes from.",
    "split": "train, val or test; empty before the split.",
    "label_confidence": "0 to 1; null where the dataset does not say.",
    "created_at": "When the text was written, UTC.",
}


def table_columns(schema: pa.Schema, meaning: dict[str, str]) -> dg.TableSchema:
    """The columns of a table, for `dagster/column_schema`."""
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
    """The columns of a table whose SQL is `name TYPE, name TYPE, …`; types may hold commas between `<` and `>`."""
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
    """The columns of every file of labeled text."""
    return {"dagster/column_schema": table_columns(LABELLED_TEXT, _MEANING)}


def stored(path: Path, rows: int) -> dict[str, Any]:
    """Where a table is stored and how many rows it has."""
    return {"dagster/uri": file_uri(path), "dagster/row_count": rows}


def file_uri(path: Path) -> str:
    """A local place, for `dagster/uri`."""
    return path.resolve().as_uri()


def table(rows: list[dict[str, Any]]) -> dg.MetadataValue:
    """Rows, all with the same columns."""
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def markdown(text: str) -> dg.MarkdownMetadataValue:
    """Under 1,000 characters Dagster shows it in place, else behind a click."""
    return dg.MetadataValue.md(text)


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """A PNG, within the metadata: the plot of this run stays what it was."""
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return markdown(f"![{path.stem}](data:image/png;base64,{encoded})")
