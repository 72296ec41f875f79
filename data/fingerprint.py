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


def text_key(text: str, prefix: bytes = b"") -> bytes:
    """Return the key of a cleaned text in a cache of predictions, 16 bytes.

    Args:
        text: Any string, lone surrogates included.
        prefix: What predictions depend on apart from the text, such as the model; none for a cache of one model.
    """
    return hashlib.blake2b(prefix + text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
