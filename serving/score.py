"""Classify a file of any size in bounded memory: read, classify and write it in chunks of rows."""

import csv
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.artifacts import atomic_file
from data.errors import BundleError, DataError, MalformedData
from data.labels import LABEL_IDS, LABELS, SARCASTIC, own_label, states_sarcasm
from data.language import Languages, language_of
from data.readable import MAX_DOCUMENT_CHARS, Unreadable, unreadable
from data.tables import ReadAs, Rejected, Row, open_table, require_texts
from serving.classifier import Classification, Classifier
from serving.tiers import BASE

Progress = Callable[[str, float | None], None]
LANGUAGE_COLUMN = "lang"
"""A column of this name states the language, as in an event of the stream."""
_NUMBERS = ("confidence", *LABELS, "sarcasm")
"""Columns of the output with numbers, 0 to 1."""
_FIX = "Name the columns with --text-column and --label-column."


@dataclass(frozen=True)
class ScoreResult:
    """Counts and times of one scored file."""

    rows: int
    """Rows classified, without those skipped."""
    skipped: dict[str, int]
    """Rows not classified, by reason."""
    other_languages: dict[str, int]
    """Rows, classified and rejected ones, in a language that the model was not measured on; the most frequent first."""
    read: dict[str, Any]
    """How the file was read: `data.tables.Table.report`."""
    confusion: np.ndarray | None
    """Counts, int64, shape (3, 3), row = true label, column = predicted; None without labels of sentiment."""
    sarcasm: np.ndarray | None
    """Counts, int64, shape (2, 2), row = whether a text is sarcastic, column = whether it was found; None without such labels."""
    predicted: dict[str, int]
    seconds: float
    """Wall time, reading and writing included."""
    cpu_s: float
    tiers: dict[str, int]
    """Rows by the tier whose prediction counts."""
    heads: dict[str, int]
    """Rows by the head that decided: a domain, or `general`."""


def score_file(
    path: Path,
    classifier: Classifier,
    *,
    text_column: str,
    label_column: str | None = None,
    tier: str = BASE,
    domain: str | None = None,
    read_as: ReadAs | None = None,
    out: Path | None = None,
    languages: Languages | None = None,
    progress: Progress | None = None,
) -> ScoreResult:
    """Classify every row of a file: CSV, JSON, Parquet or XLSX.

    Args:
        path: The file; `data.tables.CHUNK_ROWS` rows of it are in memory at a time.
        classifier: Classifies the texts.
        tier: The tier of the bundle that classifies, or `auto`.
        domain: What kind of texts they are; its head decides, where the bundle has one.
        text_column: The column with the text.
        label_column: The column with the true label: `negative`, `neutral` or `positive`; or, where no row has one of these,
            whether a text is sarcastic, such as `sarcastic` and `not_sarcastic`.
        read_as: What is not to be detected of the file.
        out: Output (.csv, .jsonl, .parquet) with one line per row: `row, label, confidence, negative, neutral, positive,
            sarcasm, skipped`. Written under a temporary name and renamed at the end.
        languages: The languages of the model, and whether rows in other ones are skipped; None: English, not skipped.
        progress: Called with a message and the share done, 0 to 1.

    Raises:
        SourceUnavailable: The file does not exist.
        MalformedData: As `open_table`; or the text column holds labels, or no row can be classified.
        BundleError: The labels are of sarcasm, which the tier does not predict.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    counts: _Counts | None = None
    skipped, predicted, tiers, heads, others = (Counter[str]() for _ in range(5))
    languages = languages or Languages()
    seen = 0
    columns = [text_column, *([label_column] if label_column else [])]
    table = open_table(path, columns, read_as=read_as, only=[LANGUAGE_COLUMN], fix=_FIX)
    with _writer(out) as write:
        for chunk, share in table.chunks():
            if not seen:
                read = [row for row in chunk if not isinstance(row, Rejected)]
                require_texts([row.get(text_column) for row in read], LABELS, f"The column {text_column!r} of {path}", _FIX)
                counts = _counts_for(read, label_column, classifier, tier) if label_column else None
            reasons = [_unfit(row, text_column, label_column, counts) for row in chunk]
            reasons = [
                reason or _foreign(row, text_column, languages, others) for row, reason in zip(chunk, reasons, strict=True)
            ]
            fit: list[Row] = [row for row, reason in zip(chunk, reasons, strict=True) if reason is None]  # type: ignore[misc]
            predictions = classifier.classify([row[text_column] for row in fit], tier, domains=[domain] * len(fit))
            predicted.update(prediction.label for prediction in predictions)
            tiers.update(prediction.tier for prediction in predictions)
            heads.update(prediction.head for prediction in predictions)
            skipped.update(reason for reason in reasons if reason)
            if counts is not None and label_column:
                for row, prediction in zip(fit, predictions, strict=True):
                    counts.add(row[label_column], prediction)
            remaining = iter(predictions)
            write([_line(seen + i, reason, remaining) for i, reason in enumerate(reasons)])
            seen += len(chunk)
            if progress:
                progress(f"{seen:,} rows, {seen / (time.monotonic() - started):,.0f} a second", share)
        rows = sum(predicted.values())
        if not rows:
            raise _none_classified(path, skipped, label_column)
    return ScoreResult(
        rows,
        dict(skipped),
        dict(others.most_common()),
        table.report(),
        counts.counts if counts and not counts.sarcasm else None,
        counts.counts if counts and counts.sarcasm else None,
        {label: predicted[label] for label in LABELS},
        time.monotonic() - started,
        time.process_time() - cpu_started,
        dict(tiers),
        dict(heads),
    )


def _none_classified(path: Path, skipped: Counter[str], label_column: str | None) -> MalformedData:
    return MalformedData(
        f"No row of {path} can be classified.",
        found=", ".join(f"{reason}: {count:,}" for reason, count in skipped.items()) or "no rows",
        expected=f"texts of 1 to {MAX_DOCUMENT_CHARS:,} characters"
        + (f" and labels {', '.join(LABELS)}" if label_column else ""),
    )


def _counts_for(rows: list[Row], label_column: str, classifier: Classifier, tier: str) -> "_Counts":
    """Return what the labels of a file are counted in, by its first rows."""
    if not _labels_sarcasm(rows, label_column):
        return _Counts.of_sentiment()
    _require_sarcasm(classifier, tier)
    return _Counts.of_sarcasm()


@dataclass
class _Counts:
    """True labels by predicted ones, of sentiment or of sarcasm."""

    sarcasm: bool
    counts: np.ndarray

    @classmethod
    def of_sentiment(cls) -> "_Counts":
        return cls(False, np.zeros((len(LABELS), len(LABELS)), dtype=np.int64))

    @classmethod
    def of_sarcasm(cls) -> "_Counts":
        return cls(True, np.zeros((2, 2), dtype=np.int64))

    def true(self, label: object) -> int | None:
        """Return the row of a label; None: it is none."""
        if not self.sarcasm:
            return LABEL_IDS.get(own_label(label) or "")
        stated = states_sarcasm(label)
        return None if stated is None else int(stated)

    def add(self, label: object, prediction: Classification) -> None:
        found = (prediction.sarcasm or 0.0) >= SARCASTIC if self.sarcasm else LABEL_IDS[prediction.label]
        self.counts[self.true(label), int(found)] += 1


def _labels_sarcasm(rows: list[Row], label_column: str) -> bool:
    """Return whether the labels of the first rows are of sarcasm and none of them is of sentiment."""
    labels = [row.get(label_column) for row in rows]
    return not any(map(own_label, labels)) and any(states_sarcasm(label) is not None for label in labels)


def _require_sarcasm(classifier: Classifier, tier: str) -> None:
    """Check that a tier predicts sarcasm, and `base` too where unsure texts escalate to it.

    Raises:
        BundleError: One of them does not.
    """
    manifest, point = classifier.bundle.manifest, classifier.point(tier)
    names = [point.tier, BASE] if point.threshold else [point.tier]
    if lacking := [name for name in names if (manifest if name == BASE else manifest.tiers[name]).sarcasm is None]:
        raise BundleError(
            f"The labels are of sarcasm, which tier {lacking[0]} of {classifier.name} does not predict.",
            expected="a model that was trained on rows that label sarcasm",
            remedy="GROUNDSWELL_DATA__RECIPE=domains groundswell train",
        )


def _unfit(row: Row | Rejected, text_column: str, label_column: str | None, counts: _Counts | None) -> str | None:
    if isinstance(row, Rejected):
        return row.reason
    text = row.get(text_column)
    if reason := unreadable(text, MAX_DOCUMENT_CHARS):
        return f"text over {MAX_DOCUMENT_CHARS:,} characters" if reason is Unreadable.TOO_LONG else reason.value
    if counts and label_column and counts.true(row.get(label_column)) is None:
        return "unknown label"
    return None


def _foreign(row: Row | Rejected, text_column: str, languages: Languages, others: Counter[str]) -> str | None:
    """Count a row in another language than the model's; return the reason where such rows are rejected."""
    assert not isinstance(row, Rejected)
    stated = row.get(LANGUAGE_COLUMN)
    language = language_of(row[text_column], stated if isinstance(stated, str) else None)
    if language is not None and languages.is_other(language):
        others[language] += 1
    return languages.rejection(language)


def _line(number: int, reason: str | None, predictions: Iterator[Classification]) -> dict[str, Any]:
    prediction = next(predictions) if reason is None else None
    line: dict[str, Any] = {
        "row": number,
        "label": prediction.label if prediction else None,
        "confidence": prediction.confidence if prediction else None,
    }
    for index, label in enumerate(LABELS):
        line[label] = prediction.probabilities[index] if prediction else None
    return {**line, "sarcasm": prediction.sarcasm if prediction else None, "skipped": reason}


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

        numbers = [pa.field(name, pa.float64()) for name in _NUMBERS]
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
        names = ["row", "label", *_NUMBERS, "skipped"]
        writer = csv.DictWriter(file, fieldnames=names)
        writer.writeheader()
        yield writer.writerows
