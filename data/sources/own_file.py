"""A team's own file (CSV, JSON, Parquet, XLSX) with its own column names."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.artifacts import sha256_file
from data.catalog import DatasetSpec
from data.errors import MalformedData, SourceUnavailable
from data.labels import label_key
from data.sources.reading import FIX, MAX_REJECTED, Source, SourceRows, read_table


def find(spec: DatasetSpec, root: Path) -> Source:
    """Locate the file.

    Raises:
        SourceUnavailable: The file does not exist.
    """
    assert spec.file is not None
    path = spec.file.path if spec.file.path.is_absolute() else root / spec.file.path
    if not path.is_file():
        raise SourceUnavailable(f"{spec.name}: there is no file {path}.", remedy="Correct file.path in configs/datasets.yaml.")
    columns = spec.file.columns

    def read() -> SourceRows:
        rows = read_table(path, list(columns.values()), spec.file)
        frame = rows.frame.rename(columns={theirs: ours for ours, theirs in columns.items()})
        frame["text"] = _strings(frame["text"].tolist(), f"The text column of {spec.name}")
        if "id" not in frame:
            # An id from the text stays the same when rows are added or moved.
            seen = frame.groupby("text").cumcount()
            frame["id"] = [
                f"{hashlib.sha256(str(text).encode('utf-8', 'replace')).hexdigest()[:16]}-{n}"
                for text, n in zip(frame["text"], seen, strict=True)
            ]
        return replace(rows, frame=frame, notes=(rows.read_as, *rows.notes))

    return Source("file", sha256_file(path), read)


def _strings(values: list[Any], where: str) -> list[str | None]:
    """Return the texts, None for what is no string; `score` rejects the same.

    Raises:
        MalformedData: More than `MAX_REJECTED` of the values are lists, bytes or the like.
    """
    others = [value for value in values if not isinstance(value, str) and label_key(value) is not None]
    if len(others) > MAX_REJECTED * len(values):
        raise MalformedData(
            f"{where} holds no texts.",
            found=f"{len(others):,} of {len(values):,} values that are no strings, such as {others[0]!r}"[:200],
            expected="strings",
            remedy=FIX,
        )
    return [value if isinstance(value, str) else None for value in values]
