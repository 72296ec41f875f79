"""A folder with `<dataset>/data.csv` or `<dataset>/data.csv.gz`: columns `id, text, label, split`, then any others."""

from pathlib import Path

from data.artifacts import sha256_file
from data.catalog import DatasetSpec
from data.errors import ChecksumMismatch, SourceUnavailable
from data.sources.reading import COLUMNS, Source, read_table


def has_dataset(spec: DatasetSpec, folder: Path | None) -> bool:
    """Return whether the data folder has this dataset."""
    return folder is not None and spec.local is not None and any(path.is_file() for path in _files(spec, folder))


def _files(spec: DatasetSpec, folder: Path) -> list[Path]:
    assert spec.local is not None
    return [folder / spec.local / name for name in ("data.csv", "data.csv.gz")]


def find(spec: DatasetSpec, folder: Path | None) -> Source:
    """Locate the dataset.

    Raises:
        SourceUnavailable: No data folder is set, or the dataset is not in it.
        ChecksumMismatch: The checksum of the file is not the one in the catalog.
    """
    if spec.local is None:
        raise SourceUnavailable(f"{spec.name} has no local layout.", remedy="Set `local` in configs/datasets.yaml.")
    if folder is None:
        raise SourceUnavailable(f"{spec.name}: no data folder is set.", remedy="Set GROUNDSWELL_DATA__DIR.")
    if not folder.is_dir():
        raise SourceUnavailable(f"{spec.name}: there is no data folder {folder}.", remedy="Correct GROUNDSWELL_DATA__DIR.")
    candidates = _files(spec, folder)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise SourceUnavailable(
            f"{spec.name} is not in {folder}.", expected=" or ".join(str(path.relative_to(folder)) for path in candidates)
        )
    checksum = sha256_file(path)
    if spec.sha256 is not None and checksum != spec.sha256:
        raise ChecksumMismatch(
            f"The checksum of {path} is not the one in configs/datasets.yaml.",
            found=checksum,
            expected=spec.sha256,
            remedy=f"Restore the recorded file; or, if the change is intended, set sha256 of {spec.name} to the new checksum.",
        )

    return Source("local", checksum, lambda: read_table(path, COLUMNS))
