"""One dataset of labeled text, from its source to `texts.parquet`.

Each source gives a frame with the columns `id, text, label, split` and what else it has, its labels still its own; the rest
(mapping, types, the file) is done here, once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import KEY_FILE, digest, is_current, read_json, reuse_or_build, write_json
from data.catalog import DatasetSpec
from data.feedback import feedback_of
from data.settings import DataSettings, PathSettings, project_root
from data.sources.reading import Source

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RawSet", "fetch", "fetched", "find", "last_fetched", "to_labeled"]


@dataclass(frozen=True)
class RawSet:
    """One fetched dataset."""

    name: str
    path: Path
    """Parquet in the schema `LABELLED_TEXT`."""
    origin: str
    """local, hub, file, feedback or sample."""
    identity: str
    """Of its source when it was fetched: a checksum, or a revision."""
    fingerprint: str
    rows: int


def find(spec: DatasetSpec, settings: DataSettings) -> Source:
    """Say where a dataset is; reads checksums of local files, and fetches nothing.

    Its own `file`, the feedback or the sample; else the data folder where it is in there; else the hub, where `data.origin` says
    so or no data folder is set.

    Raises:
        SourceUnavailable: It cannot be had; one line says why and what to do.
        ChecksumMismatch: The file is not the recorded one.
        MalformedData: The feedback file is damaged.
    """
    from data.sources import feedback, hub, local, own_file, sample

    if spec.file is not None:
        return own_file.find(spec, project_root())
    if spec.feedback:
        return feedback.find(spec, feedback_of(PathSettings.load().var))
    if spec.sample is not None:
        return sample.find(spec)
    on_hub = settings.origin == "hub" or (settings.dir is None and spec.hub is not None)
    if on_hub and not local.holds(spec, settings.dir):
        return hub.find(spec)
    return local.find(spec, settings.dir)


def fetch(spec: DatasetSpec, settings: DataSettings, out_dir: Path) -> RawSet:
    """Fetch one dataset; nothing is read again while its source and its entry in the catalog are unchanged.

    Args:
        spec: Which.
        settings: Where from, see `find`.
        out_dir: Gets `<name>/texts.parquet` and `<name>/source.json`, whole or not at all.

    Raises:
        SourceUnavailable: It cannot be had; one line says why and what to do.
        ChecksumMismatch: The file is not the recorded one.
        MalformedData: A column is missing, a byte is not UTF-8, the file is cut short; names the place.
    """
    source = find(spec, settings)

    def build(folder: Path) -> None:
        from data.fingerprint import fingerprint
        from data.sources.reading import write_labeled

        frame = to_labeled(source.read(), spec)
        write_labeled(folder / "texts.parquet", frame)
        found = {"name": spec.name, "origin": source.origin, "fingerprint": fingerprint(frame), "rows": len(frame)}
        write_json(folder / "source.json", found)

    reuse_or_build(out_dir / spec.name, _key(spec, source), build)
    return _read(out_dir, spec.name)


def fetched(spec: DatasetSpec, settings: DataSettings, out_dir: Path) -> RawSet | None:
    """Read what was fetched of a dataset, if it is still what its source holds; None when it is not. Fetches and writes nothing.

    Raises:
        SourceUnavailable, ChecksumMismatch, MalformedData: As `find`.
    """
    source = find(spec, settings)
    return _read(out_dir, spec.name) if is_current(out_dir / spec.name, _key(spec, source)) else None


def last_fetched(spec: DatasetSpec, settings: DataSettings, out_dir: Path) -> RawSet | None:
    """Read what was fetched of a dataset last from where it comes from now, though its source may have changed since.

    Callers go on correcting labels while a run trains: it uses the rows that it fetched.

    Raises:
        SourceUnavailable, ChecksumMismatch, MalformedData: As `find`.
    """
    source = find(spec, settings)
    try:
        found = _read(out_dir, spec.name)
    except (OSError, ValueError, KeyError):
        return None
    return found if found.origin == source.origin else None


def _key(spec: DatasetSpec, source: Source) -> dict[str, Any]:
    return {"source": source.identity, "spec": digest(spec.model_dump(mode="json")), "origin": source.origin}


def _read(out_dir: Path, name: str) -> RawSet:
    folder = out_dir / name
    known, key = read_json(folder / "source.json"), read_json(folder / KEY_FILE)["key"]
    return RawSet(name, folder / "texts.parquet", key["origin"], key["source"], known["fingerprint"], known["rows"])


def to_labeled(frame: "pd.DataFrame", spec: DatasetSpec) -> "pd.DataFrame":
    """A source's rows in the columns and order of `LABELLED_TEXT`.

    A label that the set's mapping does not know stays as it is: the suite of raw rows then says which, how many and where.
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
