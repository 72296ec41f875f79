"""The columns of labeled text. A module of its own, so that what serves needs no pyarrow."""

import pyarrow as pa

LABELLED_TEXT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string()),  # null where a set labels sarcasm only
        pa.field("sarcasm", pa.bool_()),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label_confidence", pa.float64()),  # 0 to 1, null where the source does not say
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Columns and types of every labeled text file (Parquet)."""
