"""One dataset of labeled text, from its source to `texts.parquet`.

Each source gives a frame with the columns `id, text, label, split` and its other columns, with its own labels. This module
maps labels, sets types and writes the file for all sources.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import KEY_FILE, digest, is_current, read_json, reuse_or_build, write_json
from data.catalog import DatasetSpec
from data.feedback import open_feedback
from data.labeled_text import objects
from data.labels import LABELS, label_key
from data.settings import DataSettings, PathSettings, project_root
from data.sources.reading import FIX, MAX_REJECTED, Source
from data.tables import require_texts
from data.tables.ids import id_text
from data.tables.times import utc_times
from data.targets import contrasts, mark_target

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PAIRS", "SCORED", "RawDataset", "fetch", "fetched", "find", "last_fetched", "read_labeled", "to_labeled"]

READING_VERSION = "5"
"""Raise it when rows of an unchanged file are read differently."""


PAIRS = "pairs.parquet"
"""Next to `texts.parquet`: the sarcastic texts that are held out, `id, text, plain`, see `data.catalog.Rephrased`."""
SCORED = "scored.parquet"
"""Next to `texts.parquet`: the rows about one company each, `id, split, text, marked, score`, see `data.catalog.AboutTarget`."""


@dataclass(frozen=True)
class RawDataset:
    """One fetched dataset."""

    name: str
    path: Path
    """Parquet in the schema `LABELED_TEXT`."""
    origin: str
    """local, hub, file, feedback or sample."""
    identity: str
    """Identity of the source when it was fetched: a checksum or a revision."""
    fingerprint: str
    rows: int
    notes: tuple[str, ...] = ()
    """One line each: how its file was read, and what was rejected or assumed."""


def find(spec: DatasetSpec, settings: DataSettings) -> Source:
    """Locate a dataset; computes checksums of local files, and fetches nothing.

    Order: its own `file`, the feedback store or the sample; the data folder if it holds the dataset; the hub, if `data.origin`
    is `hub` or no data folder is set.

    Raises:
        SourceUnavailable: The dataset is not available; the error gives the reason and the remedy.
        ChecksumMismatch: The checksum of the file differs from the recorded one.
        MalformedData: The feedback store is corrupt.
    """
    from data.sources import feedback, hub, local, own_file, sample

    if spec.file is not None:
        return own_file.find(spec, project_root())
    if spec.feedback:
        return feedback.find(spec, open_feedback(PathSettings.load().var))
    if spec.sample is not None:
        return sample.find(spec)
    on_hub = settings.origin == "hub" or (settings.dir is None and spec.hub is not None)
    if on_hub and not local.has_dataset(spec, settings.dir):
        return hub.find(spec)
    return local.find(spec, settings.dir)


def fetch(spec: DatasetSpec, settings: DataSettings, out_dir: Path) -> RawDataset:
    """Fetch one dataset, unless its source and its entry in the catalog are unchanged since the last fetch.

    Args:
        spec: The dataset.
        settings: Where to look, see `find`.
        out_dir: Folder for `<name>/texts.parquet` and `<name>/source.json`, written atomically.

    Raises:
        SourceUnavailable: The dataset is not available; the error gives the reason and the remedy.
        ChecksumMismatch: The checksum of the file differs from the recorded one.
        MalformedData: A column is missing, a byte is not UTF-8 or the file is truncated; the error gives the position.
    """
    source = find(spec, settings)

    def build(folder: Path) -> None:
        from data.fingerprint import fingerprint
        from data.sources.reading import write_labeled

        frame, kept, notes = read_labeled(source, spec)
        write_labeled(folder / "texts.parquet", frame)
        for name, rows in kept.items():
            rows.to_parquet(folder / name, index=False)
        about = {"name": spec.name, "origin": source.origin, "fingerprint": fingerprint(frame), "rows": len(frame)}
        write_json(folder / "source.json", {**about, "notes": notes})

    reuse_or_build(out_dir / spec.name, _key(spec, source), build)
    return _read(out_dir, spec.name)


def fetched(spec: DatasetSpec, settings: DataSettings, out_dir: Path) -> RawDataset | None:
    """Return a fetched dataset if its source is unchanged, else None. Fetches and writes nothing.

    Raises:
        SourceUnavailable, ChecksumMismatch, MalformedData: As `find`.
    """
    source = find(spec, settings)
    return _read(out_dir, spec.name) if is_current(out_dir / spec.name, _key(spec, source)) else None


def last_fetched(spec: DatasetSpec, settings: DataSettings, out_dir: Path) -> RawDataset | None:
    """Return the last fetch of a dataset from its current origin, even if the source has changed since.

    API callers correct labels while a run trains: the run uses the rows that it fetched.

    Raises:
        SourceUnavailable, ChecksumMismatch, MalformedData: As `find`.
    """
    source = find(spec, settings)
    try:
        last = _read(out_dir, spec.name)
    except (OSError, ValueError, KeyError):
        return None
    return last if last.origin == source.origin else None


def _key(spec: DatasetSpec, source: Source) -> dict[str, Any]:
    spec_digest = digest(spec.model_dump(mode="json"))
    return {"source": source.identity, "spec": spec_digest, "origin": source.origin, "reading": READING_VERSION}


def _read(out_dir: Path, name: str) -> RawDataset:
    folder = out_dir / name
    about, key = read_json(folder / "source.json"), read_json(folder / KEY_FILE)["key"]
    path, notes = folder / "texts.parquet", tuple(about["notes"])
    return RawDataset(name, path, key["origin"], key["source"], about["fingerprint"], about["rows"], notes)


def read_labeled(source: Source, spec: DatasetSpec) -> "tuple[pd.DataFrame, dict[str, pd.DataFrame], list[str]]":
    """Read a source to the columns of `LABELED_TEXT`; the few rows without a text or without a label are rejected.

    Returns:
        The rows; what is kept in files next to them, see `PAIRS` and `SCORED`; and one line each for what was detected,
        rejected, assumed or added.

    Raises:
        SourceUnavailable, MalformedData: As the source; or the text column holds labels, or an id has lost digits.
    """
    rows = source.read()
    frame, notes = rows.frame, list(rows.notes)
    if source.origin in {"file", "local"}:
        known = {*LABELS, *spec.label_mapping, *spec.sarcasm_mapping}
        require_texts(frame["text"].tolist(), known, f"The text column of {spec.name}", FIX)
    for column, is_given in (("text", _has_text), ("label", label_key)):
        is_missing = ~frame[column].map(is_given).astype(bool)
        if 0 < is_missing.sum() <= MAX_REJECTED * len(frame):
            notes.append(f"{is_missing.sum():,} rows without a {column} are rejected")
            frame = frame[~is_missing]
    held = _held_out(frame, spec)
    if len(held):
        notes.append(f"{len(held):,} texts with a plain rephrasing are held out")
    # By text too: a repeat under another id would be learned from.
    learned = ~frame["id"].isin(held["id"]) & ~frame["text"].isin(held["text"])
    marked, scored = _marked(frame[learned], spec, notes)
    return to_labeled(marked, spec, notes), {PAIRS: held, SCORED: scored}, notes


def _marked(frame: "pd.DataFrame", spec: DatasetSpec, notes: list[str]) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Return the rows with their company marked, and made sentences for training; and the rows with their score."""
    import pandas as pd

    given, columns = spec.about, ["id", "split", "text", "marked", "score"]
    if given is None or given.column not in frame:
        return frame, pd.DataFrame(columns=columns)
    marks = [mark_target(text, str(target))[0] for text, target in zip(frame["text"], frame[given.column], strict=True)]
    scored = frame.assign(marked=marks, score=pd.to_numeric(frame[given.score], errors="coerce"))
    made = pd.DataFrame(
        {"id": f"{spec.name}-made-{n}", "text": mark_target(row.text, row.target)[0], "label": row.label, "split": "train"}
        for n, row in enumerate(contrasts("train"))
    )
    notes.append(f"{len(made):,} made sentences about two companies are added to the split train")
    kept = scored[scored["score"].notna()][columns]
    return pd.concat([frame.assign(text=marks), made], ignore_index=True), kept


def _held_out(frame: "pd.DataFrame", spec: DatasetSpec) -> "pd.DataFrame":
    """Return the pairs that are in no split: `id, text, plain`; none where the source has no rephrasings."""
    given = spec.rephrased
    if given is None or given.column not in frame:
        return frame.head(0).assign(plain=None)[["id", "text", "plain"]]
    pairs = frame[frame[given.column].map(_has_text).astype(bool)].assign(plain=frame[given.column])
    order = pairs["id"].map(lambda value: digest(str(value))).sort_values().index[: given.held_out]
    return pairs.loc[order, ["id", "text", "plain"]].reset_index(drop=True)


def _has_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def to_labeled(frame: "pd.DataFrame", spec: DatasetSpec, notes: list[str] | None = None) -> "pd.DataFrame":
    """Convert rows of a source to the columns and order of `LABELED_TEXT`.

    A label that the mapping does not have stays as it is: the suite of raw rows then reports which, how many and where.

    Args:
        frame: The rows, with the labels of the source.
        spec: The dataset.
        notes: Receives one line each for times that were assumed or not read.

    Raises:
        MalformedData: An id has lost digits.
    """
    import pandas as pd

    given = objects(frame["label"]).tolist()
    keys = [label_key(label) for label in given]
    labels = [
        spec.label_mapping.get(key, None if key in spec.sarcasm_mapping else str(label).strip()) if key is not None else None
        for key, label in zip(keys, given, strict=True)
    ]
    split = frame["split"] if "split" in frame else pd.Series("", index=frame.index)
    confidence = (
        pd.to_numeric(frame[spec.confidence_column], errors="coerce") / spec.confidence_scale
        if spec.confidence_column and spec.confidence_column in frame
        else pd.to_numeric(frame["label_confidence"], errors="coerce")
        if "label_confidence" in frame
        else pd.Series(float("nan"), index=frame.index)
    )
    times = utc_times(objects(frame["created_at"]) if "created_at" in frame else [None] * len(frame))
    if notes is not None:
        notes += times.notes
    return pd.DataFrame(
        {
            "id": pd.array([id_text(value, f"of {spec.name}") for value in objects(frame["id"])], dtype="string"),
            "text": frame["text"].astype("string").array,
            "label": pd.array(labels, dtype="string"),
            "sarcasm": pd.array([spec.sarcasm_mapping.get(key) for key in keys], dtype="boolean"),  # type: ignore[arg-type]
            "domain": (frame["domain"].fillna(spec.domain) if "domain" in frame else pd.Series(spec.domain, frame.index)).array,
            "source": spec.name,
            "split": split.astype("string").fillna("").array,
            "label_confidence": confidence.astype("float64").array,
            "created_at": pd.to_datetime(pd.Series(times.values, dtype=object), utc=True),
        }
    )
