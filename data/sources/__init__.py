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
from data.settings import DataSettings, PathSettings, project_root
from data.sources.reading import Source

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RawDataset", "fetch", "fetched", "find", "last_fetched", "to_labeled"]


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

        frame = to_labeled(source.read(), spec)
        write_labeled(folder / "texts.parquet", frame)
        about = {"name": spec.name, "origin": source.origin, "fingerprint": fingerprint(frame), "rows": len(frame)}
        write_json(folder / "source.json", about)

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
    return {"source": source.identity, "spec": digest(spec.model_dump(mode="json")), "origin": source.origin}


def _read(out_dir: Path, name: str) -> RawDataset:
    folder = out_dir / name
    about, key = read_json(folder / "source.json"), read_json(folder / KEY_FILE)["key"]
    return RawDataset(name, folder / "texts.parquet", key["origin"], key["source"], about["fingerprint"], about["rows"])


def to_labeled(frame: "pd.DataFrame", spec: DatasetSpec) -> "pd.DataFrame":
    """Convert rows of a source to the columns and order of `LABELED_TEXT`.

    A label that the mapping does not have stays as it is: the suite of raw rows then reports which, how many and where.
    """
    import pandas as pd

    given = frame["label"].astype("string").str.strip()
    known = given.isin(set(spec.label_mapping) | set(spec.sarcasm_mapping))
    split = frame["split"] if "split" in frame else pd.Series("", index=frame.index)
    confidence = (
        pd.to_numeric(frame[spec.confidence_column], errors="coerce") / spec.confidence_scale
        if spec.confidence_column and spec.confidence_column in frame
        else pd.to_numeric(frame["label_confidence"], errors="coerce")
        if "label_confidence" in frame
        else pd.Series(float("nan"), index=frame.index)
    )
    created = frame["created_at"] if "created_at" in frame else pd.Series(pd.NaT, index=frame.index)
    return pd.DataFrame(
        {
            "id": frame["id"].astype("string"),
            "text": frame["text"].astype("string"),
            "label": given.map(spec.label_mapping).where(known, given).astype("string"),
            "sarcasm": given.map(spec.sarcasm_mapping).astype("boolean"),
            "domain": frame["domain"].fillna(spec.domain) if "domain" in frame else spec.domain,
            "source": spec.name,
            "split": split.astype("string").fillna(""),
            "label_confidence": confidence.astype("float64"),
            "created_at": pd.to_datetime(created, utc=True, errors="coerce"),
        }
    ).reset_index(drop=True)
