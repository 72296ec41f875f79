"""A digest of labeled rows, independent of their order; any changed row changes it."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["id", "text", "label", "sarcasm", "source", "split"]


def fingerprint(frame: "pd.DataFrame") -> str:
    """Return the hex SHA-256 of the sorted rows (columns `COLUMNS`)."""
    columns = [frame[name].astype("string").fillna("\x00").tolist() for name in COLUMNS]
    rows = sorted("\x1f".join(row) for row in zip(*columns, strict=True))
    return hashlib.sha256("\x1e".join(rows).encode("utf-8", "surrogatepass")).hexdigest()
