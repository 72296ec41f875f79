"""One set of labelled text, from where it lies to `texts.parquet`.

Each source gives a frame with the columns `id, text, label, split` and what else it has, its labels still its own; the rest
(mapping, types, the file) is done here, once.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.artifacts import digest, read_json, reuse_or_build, write_json
from data.catalog import DatasetSpec, chosen
from data.errors import SourceUnavailable
from data.feedback import feedback_of
from data.settings import DataSettings, PathSettings, project_root

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

__all__ = ["RawSet", "enabled", "fetch", "fetch_all", "read_fetched"]

SAMPLE_NOTICE = (
    "No data folder is set: the project's own small sample serves. Its numbers mean nothing; "
    "set GROUNDSWELL_DATA__DIR or GROUNDSWELL_PROFILE=hub for real texts."
)


@dataclass(frozen=True)
class RawSet:
    """One fetched set."""

    name: str
    path: Path
    """Parquet in the schema `LABELLED_TEXT`."""
    origin: str
    """local, hub, file, feedback or sample."""
    fingerprint: str
    rows: int
    notice: str | None = None


def fetch(spec: DatasetSpec, settings: DataSettings, out_dir: Path) -> RawSet:
    """Fetch one set; nothing is read again while its source and its entry in the catalog are unchanged.

    Args:
        spec: Which.
        settings: Where from: its own `file`, a local folder, the hub, or the sample.
        out_dir: Gets `<name>/texts.parquet` and `<name>/source.json`, whole or not at all.

    Raises:
        SourceUnavailable: It cannot be had; one line says why and what to do.
        ChecksumMismatch: The file is not the recorded one.
        MalformedData: A column is missing, a byte is not UTF-8, the file is cut short; names the place.
    """
    from data.sources import feedback, hub, local, own_file, sample

    source = None
    if spec.file is not None:
        source = own_file.find(spec, project_root())
    elif spec.feedback:
        source = feedback.find(spec, feedback_of(PathSettings.load().var))
    elif spec.sample is not None:
        source = sample.find(spec)
    elif settings.origin == "hub":
        source = hub.find(spec)
    else:
        source = local.find(spec, settings.dir)

    def build(folder: Path) -> None:
        from data.fingerprint import fingerprint
        from data.sources.reading import write_labelled

        frame = to_labelled(source.read(), spec)
        write_labelled(folder / "texts.parquet", frame)
        write_json(
            folder / "source.json",
            {
                "name": spec.name,
                "origin": source.origin,
                "fingerprint": fingerprint(frame),
                "rows": len(frame),
                "notice": SAMPLE_NOTICE if source.origin == "sample" else None,
            },
        )

    key = {"source": source.identity, "spec": digest(spec.model_dump(mode="json")), "origin": source.origin}
    reuse_or_build(out_dir / spec.name, key, build)
    found = read_fetched(out_dir, spec.name)
    assert found is not None
    return found


def read_fetched(out_dir: Path, name: str) -> RawSet | None:
    """What was fetched last under this name; None when nothing was."""
    try:
        known = read_json(out_dir / name / "source.json")
    except OSError:
        return None
    return RawSet(path=out_dir / name / "texts.parquet", **known)


def fetch_all(
    catalog: dict[str, DatasetSpec], settings: DataSettings, out_dir: Path,
    progress: Callable[[str, float | None], None] | None = None,
) -> list[RawSet]:  # fmt: skip
    """Fetch every enabled set that can be had; each that cannot is one logged line.

    The samples serve only where no other set can be had, and no set was asked for by name.

    Raises:
        SourceUnavailable: None is left, or a set that was asked for by name cannot be had.
    """
    wanted = enabled(catalog, settings)
    found = []
    for index, spec in enumerate(wanted):
        if progress:
            progress(spec.name, index / len(wanted))
        try:
            found.append(fetch(spec, settings, out_dir))
        except SourceUnavailable as error:
            if settings.datasets is not None:
                raise
            _log.warning("%s is skipped: %s", spec.name, error.message)
    if not found:
        raise SourceUnavailable(
            "No set of labelled text can be had.", remedy="Set GROUNDSWELL_DATA__DIR, or see configs/datasets.yaml."
        )
    return found


def enabled(catalog: dict[str, DatasetSpec], settings: DataSettings) -> list[DatasetSpec]:
    """The sets of the settings: those named, else the real ones where a source is configured, else the samples.

    Feedback is among them once there is some.
    """
    if settings.datasets is not None:
        return chosen(catalog, settings.datasets)
    said = [spec for spec in catalog.values() if spec.feedback and feedback_of(PathSettings.load().var).path.is_file()]
    real = [spec for spec in catalog.values() if spec.sample is None and not spec.feedback]
    configured = settings.origin == "hub" or settings.dir is not None
    own = [spec for spec in real if spec.file is not None]
    if configured:
        return real + said
    return (own or [spec for spec in catalog.values() if spec.sample is not None]) + said


def to_labelled(frame: "pd.DataFrame", spec: DatasetSpec) -> "pd.DataFrame":
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
