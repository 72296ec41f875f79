"""The columns of labeled text. A separate module, so that serving does not need pyarrow."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

LABELED_TEXT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string()),  # null where a dataset labels only sarcasm
        pa.field("sarcasm", pa.bool_()),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label_confidence", pa.float64()),  # 0 to 1, null where the source has none
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Columns and types of every labeled text file (Parquet)."""


def objects(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column with its values as Python objects, None where they are missing."""
    return column.astype(object).where(column.notna(), None)  # type: ignore[arg-type]  # the stubs know no None
