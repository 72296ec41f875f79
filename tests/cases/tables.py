"""Own datasets and scored files for the cases of tables."""

from pathlib import Path
from typing import Any

import pandas as pd

from data.settings import DataSettings
from data.sources import RawDataset, fetch
from serving.classifier import Classification
from serving.score import ScoreResult, score_file
from tests.make import spec

TEXTS = {
    "positive": "Great crew on flight {}, thank you",
    "negative": "My bag of flight {} is lost again",
    "neutral": "The gate of flight {} is B12",
}


def lines_of(count: int, line: str, *, first: str = "") -> str:
    """Return a header and `count` lines of `{n}`, `{text}` and `{label}`, the labels in turn."""
    labels = list(TEXTS)
    rows = [(n, TEXTS[labels[n % 3]].format(n), labels[n % 3]) for n in range(count)]
    return first + "".join(line.format(n=n, text=text, label=label) for n, text, label in rows)


def dataset(folder: Path, name: str, content: str | bytes, *, columns: dict[str, str] | None = None, **fields: Any):
    """Fetch an own file as a dataset; return what was fetched and its rows."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    read_as = {key: fields.pop(key) for key in ("delimiter", "quoting", "encoding", "names") if key in fields}
    file = {"path": str(path), "columns": columns or {"text": "text", "label": "label"}, **read_as}
    found: RawDataset = fetch(spec("own", local=None, file=file, **fields), DataSettings.load(), folder / "raw")
    return found, pd.read_parquet(found.path)


class Echo:
    """A classifier that keeps the texts that it was given, and finds each neutral."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def classify(self, texts: list[str], tier: str = "base", *, domains: object = None) -> list[Classification]:
        self.texts += texts
        return [Classification("neutral", 1.0, (0.0, 1.0, 0.0)) for _ in texts]


def scored(
    path: Path, content: str | bytes, *, label_column: str | None = "label", **options: Any
) -> tuple[list[str], ScoreResult]:
    """Score a file; return the texts that were classified, and the result."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    classifier = Echo()
    result = score_file(path, classifier, text_column="text", label_column=label_column, **options)  # type: ignore[arg-type]
    return classifier.texts, result
