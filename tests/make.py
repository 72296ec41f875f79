"""Small real data for tests: labeled rows and a data folder. Checkpoints and bundles are in tests/models.py."""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from data.catalog import DatasetSpec, load_catalog
from data.sources import to_labeled
from serving.streaming.producer import event_bytes

PRAISE = ("great", "lovely", "wonderful", "superb", "delightful", "excellent")
BLAME = ("awful", "terrible", "horrible", "dreadful", "rotten", "useless")
PLAIN = ("on tuesday", "at noon", "in the hall", "by train", "for members", "near the harbour")
THINGS = ("flight", "meeting", "phone", "film", "soup", "concert", "parcel", "hotel", "match", "book", "train", "garden")


def text_of(label: str, n: int) -> str:
    """Return a text of this label, a different one for each n below 72 × 1000."""
    words = {"positive": PRAISE, "negative": BLAME, "neutral": PLAIN}[label]
    return f"the {THINGS[n // 6 % 12]} number {n} was {words[n % 6]} {THINGS[n * 7 % 12]} {n * 31 % 997}"


def rows(per_class: int = 30) -> list[dict[str, str]]:
    """Return rows of all three classes with splits: of ten rows, seven train, one val, two test."""
    return [
        {
            "id": f"{label[:3]}-{n}",
            "text": text_of(label, n),
            "label": label,
            "split": {7: "val", 8: "test", 9: "test"}.get(n % 10, "train"),
        }
        for label in ("negative", "neutral", "positive")
        for n in range(per_class)
    ]


def spec(name: str = "mine", **fields) -> DatasetSpec:
    """Return a catalog entry of the local layout."""
    return load_catalog({name: {"domain": "tweets", "license": "ours", "local": name, "train": True} | fields})[name]


def labeled(per_class: int = 30, **fields) -> pd.DataFrame:
    """Return `rows` in the columns of `LABELED_TEXT`."""
    return to_labeled(pd.DataFrame(rows(per_class)), spec(**fields))


def write_dataset(folder: Path, content: list[dict[str, str]], name: str = "mine", *, compress: bool = False) -> Path:
    """Write a dataset in the local layout: `<folder>/<name>/data.csv[.gz]`."""
    path = folder / name / ("data.csv.gz" if compress else "data.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    open_text = gzip.open if compress else open
    with open_text(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(content[0]))
        writer.writeheader()
        writer.writerows(content)
    return path


def numbered_events(count: int, *, start: int = 0, source: str = "numbered") -> Iterator[bytes]:
    """Yield messages `n-<k>`, k from `start`: lost and duplicated messages can be identified by their ids."""
    for number in range(start, start + count):
        yield event_bytes(f"n-{number}", f"message number {number}", source)


def evaluated(var: Path, name: str) -> None:
    """Write the files that a benchmark stores of a model, with one row."""
    from serving.service.panels.evaluated import FOLDER

    folder = var / FOLDER / name
    folder.mkdir(parents=True)
    row = {"ids": "a", "texts": "so good", "sources": "tweets", "labels": "negative", "predicted": "positive", "confidence": 0.5}
    (folder / "predictions.json").write_text(json.dumps({column: [value] for column, value in row.items()}))
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    (folder / "report.json").write_text(json.dumps({"metrics": {"macro_recall": interval, "accuracy": interval}, "slices": []}))
