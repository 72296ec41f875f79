"""Classify a file of any size in bounded memory: read, classify and write it in chunks of rows."""

import csv
import gzip
import io
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.artifacts import atomic_file
from data.errors import DataError, MalformedData, SourceUnavailable
from data.labels import LABEL_IDS, LABELS
from data.names import nearest
from data.readable import MAX_DOCUMENT_CHARS, Unreadable, unreadable
from serving.classifier import Classification, Classifier

CHUNK_ROWS = 2048
"""Rows of a chunk; one chunk is in memory at a time."""

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class ScoreResult:
    """Counts and times of one scored file."""

    rows: int
    """Rows classified, without those skipped."""
    skipped: dict[str, int]
    """Rows not classified, by reason."""
    confusion: np.ndarray | None
    """Counts, int64, shape (3, 3), row = true label, column = predicted; None without a label column."""
    predicted: dict[str, int]
    seconds: float
    """Wall time, reading and writing included."""
    cpu_s: float


def score_file(
    path: Path,
    classifier: Classifier,
    *,
    text_column: str,
    label_column: str | None = None,
    out: Path | None = None,
    progress: Progress | None = None,
) -> ScoreResult:
    """Classify every row of a CSV (also .gz), JSONL or Parquet file.

    Args:
        path: The file; `CHUNK_ROWS` rows of it are in memory at a time.
        classifier: Classifies the texts.
        text_column: The column with the text.
        label_column: The column with the true label, `negative`, `neutral` or `positive`.
        out: Output (.csv, .jsonl, .parquet) with one line per row: `row, label, confidence, negative, neutral, positive,
            skipped`. Written under a temporary name and renamed at the end.
        progress: Called with a message and the share done, 0 to 1.

    Raises:
        SourceUnavailable: The file does not exist.
        MalformedData: A column is missing, the file is truncated or not UTF-8, or no row can be classified.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    confusion = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64) if label_column else None
    skipped: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    seen = 0
    with _writer(out) as write:
        for chunk, share in _chunks(path, [text_column, *([label_column] if label_column else [])]):
            reasons = [_unfit(row, text_column, label_column) for row in chunk]
            fit = [row for row, reason in zip(chunk, reasons, strict=True) if reason is None]
            predictions = classifier.classify([row[text_column] for row in fit])
            predicted.update(prediction.label for prediction in predictions)
            skipped.update(reason for reason in reasons if reason)
            if confusion is not None and label_column:
                for row, prediction in zip(fit, predictions, strict=True):
                    confusion[LABEL_IDS[row[label_column].strip().lower()], LABEL_IDS[prediction.label]] += 1
            remaining = iter(predictions)
            write([_line(seen + i, reason, remaining) for i, reason in enumerate(reasons)])
            seen += len(chunk)
            if progress:
                progress(f"{seen:,} rows, {seen / (time.monotonic() - started):,.0f} a second", share)
        rows = sum(predicted.values())
        if not rows:
            raise MalformedData(
                f"No row of {path} can be classified.",
                found=", ".join(f"{reason}: {count:,}" for reason, count in skipped.items()) or "no rows",
                expected=f"texts of 1 to {MAX_DOCUMENT_CHARS:,} characters"
                + (f" and labels {', '.join(LABELS)}" if label_column else ""),
            )
    return ScoreResult(
        rows,
        dict(skipped),
        confusion,
        {label: predicted[label] for label in LABELS},
        time.monotonic() - started,
        time.process_time() - cpu_started,
    )


def _unfit(row: dict[str, Any], text_column: str, label_column: str | None) -> str | None:
    text = row.get(text_column)
    if reason := unreadable(text, MAX_DOCUMENT_CHARS):
        return f"text over {MAX_DOCUMENT_CHARS:,} characters" if reason is Unreadable.TOO_LONG else reason.value
    if label_column and str(row.get(label_column) or "").strip().lower() not in LABEL_IDS:
        return "unknown label"
    return None


def _line(number: int, reason: str | None, predictions: Iterator[Classification]) -> dict[str, Any]:
    prediction = next(predictions) if reason is None else None
    line: dict[str, Any] = {
        "row": number,
        "label": prediction.label if prediction else None,
        "confidence": prediction.confidence if prediction else None,
    }
    for index, label in enumerate(LABELS):
        line[label] = prediction.probabilities[index] if prediction else None
    return {**line, "skipped": reason}


def _chunks(path: Path, columns: list[str]) -> Iterator[tuple[list[dict[str, Any]], float]]:
    """Read a file in chunks of rows, each with the share of the file read so far, 0 to 1."""
    if not path.is_file():
        raise SourceUnavailable(f"File {path} not found.")
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1].lower() if suffixes else ""
    if kind == ".parquet":
        yield from _parquet(path, columns)
    elif kind in {".csv", ".tsv", ".jsonl", ".ndjson"}:
        yield from _lines(path, columns, kind)
    else:
        raise MalformedData(f"{path} cannot be read.", found=path.suffix, expected=".csv, .csv.gz, .tsv, .jsonl or .parquet")


def _require_columns(columns: list[str], there: list[str], path: Path) -> None:
    for column in columns:
        if column not in there:
            close = nearest(column, there)
            raise MalformedData(
                f"{path} has no column {column!r}.",
                found=", ".join(there),
                remedy=f"Did you mean {close!r}? Set it with --text-column or --label-column." if close else None,
            )


def _parquet(path: Path, columns: list[str]) -> Iterator[tuple[list[dict[str, Any]], float]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        _require_columns(columns, file.schema_arrow.names, path)
        total, seen = max(file.metadata.num_rows, 1), 0
        for batch in file.iter_batches(batch_size=CHUNK_ROWS, columns=columns):
            seen += batch.num_rows
            yield batch.to_pylist(), seen / total
    except (pa.ArrowException, OSError) as error:
        raise MalformedData(f"{path} cannot be read.", found=error, expected="a Parquet file") from error


def _lines(path: Path, columns: list[str], kind: str) -> Iterator[tuple[list[dict[str, Any]], float]]:
    size = max(path.stat().st_size, 1)
    with path.open("rb") as raw:
        binary = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")  # type: ignore[arg-type]
        number, chunk = 0, []
        try:
            for row in _csv_rows(text, columns, path, kind) if kind in {".csv", ".tsv"} else _json_rows(text, columns, path):
                number += 1
                chunk.append(row)
                if len(chunk) == CHUNK_ROWS:
                    yield chunk, min(raw.tell() / size, 1.0)
                    chunk = []
        except UnicodeDecodeError as error:
            raise MalformedData(
                f"{path} is not UTF-8.",
                found=f"byte 0x{error.object[error.start]:02x} after row {number:,}",
                expected="UTF-8",
                remedy=f"iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf-8{kind}",
            ) from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise MalformedData(
                f"{path} is truncated or damaged.", found=f"{error} after row {number:,}", remedy="Copy it again."
            ) from error
        except csv.Error as error:
            raise MalformedData(f"{path} is not CSV.", found=f"{error} after row {number:,}") from error
        if chunk:
            yield chunk, 1.0


def _csv_rows(text: io.TextIOWrapper, columns: list[str], path: Path, kind: str) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(64 * 2**20)  # a text of megabytes is one invalid row, not the end of the file
    reader = csv.DictReader(text, delimiter="\t" if kind == ".tsv" else ",")
    _require_columns(columns, list(reader.fieldnames or []), path)
    yield from reader


def _json_rows(text: io.TextIOWrapper, columns: list[str], path: Path) -> Iterator[dict[str, Any]]:
    seen_columns = False
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise MalformedData(
                f"{path} is not JSONL: line {number:,} cannot be read.", found=f"{error}: {line[:60]!r}"
            ) from error
        if not isinstance(row, dict):
            raise MalformedData(f"{path} line {number:,} is not an object.", found=line[:60])
        if not seen_columns:
            _require_columns(columns, list(row), path)
            seen_columns = True
        yield row


@contextmanager
def _writer(out: Path | None) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """Write chunks under a temporary name; the file appears only if the block ends without an error."""
    if out is None:
        yield lambda lines: None
        return
    kind = out.suffix.lower()
    if kind not in {".csv", ".jsonl", ".parquet"}:
        raise DataError(f"{out} cannot be written.", found=kind or "no suffix", expected=".csv, .jsonl or .parquet")
    with atomic_file(out, DataError) as temporary, _open_writer(temporary, kind) as write:
        yield write


@contextmanager
def _open_writer(path: Path, kind: str) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    if kind == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        numbers = [pa.field(name, pa.float64()) for name in ("confidence", *LABELS)]
        schema = pa.schema(
            [pa.field("row", pa.int64()), pa.field("label", pa.string()), *numbers, pa.field("skipped", pa.string())]
        )
        with pq.ParquetWriter(path, schema) as writer:
            yield lambda lines: writer.write_table(pa.Table.from_pylist(lines, schema=schema))
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if kind == ".jsonl":
            yield lambda lines: file.writelines(json.dumps(line) + "\n" for line in lines)
            return
        names = ["row", "label", "confidence", *LABELS, "skipped"]
        writer = csv.DictWriter(file, fieldnames=names)
        writer.writeheader()
        yield writer.writerows
