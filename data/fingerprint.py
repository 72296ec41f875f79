"""What labeled rows are, in one number: the same rows in any order give the same, any other row another."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["id", "text", "label", "sarcasm", "source", "split"]


def fingerprint(frame: "pd.DataFrame") -> str:
    """Hex SHA-256 over the sorted rows (columns `COLUMNS`); independent of the order of rows."""
    columns = [frame[name].astype("string").fillna("\x00").tolist() for name in COLUMNS]
    rows = sorted("\x1f".join(row) for row in zip(*columns, strict=True))
    return hashlib.sha256("\x1e".join(rows).encode("utf-8", "surrogatepass")).hexdigest()
