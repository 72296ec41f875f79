"""A folder with `<set>/data.csv` or `<set>/data.csv.gz`: columns `id, text, label, split`, then what the set has."""

from pathlib import Path

from data.artifacts import sha256_file
from data.catalog import DatasetSpec
from data.errors import ChecksumMismatch, SourceUnavailable
from data.sources.reading import Source, need_columns, read_table


def holds(spec: DatasetSpec, folder: Path | None) -> bool:
    """Whether the data folder has this dataset."""
    return folder is not None and spec.local is not None and any(path.is_file() for path in _files(spec, folder))


def _files(spec: DatasetSpec, folder: Path) -> list[Path]:
    assert spec.local is not None
    return [folder / spec.local / name for name in ("data.csv", "data.csv.gz")]


def find(spec: DatasetSpec, folder: Path | None) -> Source:
    """Where the set is.

    Raises:
        SourceUnavailable: No folder is set, or the set is not in it.
        ChecksumMismatch: The file is not the one the catalog pins.
    """
    if spec.local is None:
        raise SourceUnavailable(f"{spec.name} has no local layout.", remedy="Set `local` in configs/datasets.yaml.")
    if folder is None:
        raise SourceUnavailable(f"{spec.name}: no data folder is set.", remedy="Set GROUNDSWELL_DATA__DIR.")
    if not folder.is_dir():
        raise SourceUnavailable(f"{spec.name}: there is no data folder {folder}.", remedy="Correct GROUNDSWELL_DATA__DIR.")
    tried = _files(spec, folder)
    path = next((path for path in tried if path.is_file()), None)
    if path is None:
        raise SourceUnavailable(
            f"{spec.name} is not in {folder}.", expected=" or ".join(str(path.relative_to(folder)) for path in tried)
        )
    found = sha256_file(path)
    if spec.sha256 is not None and found != spec.sha256:
        raise ChecksumMismatch(
            f"{path} is not the file that configs/datasets.yaml names.",
            found=found,
            expected=spec.sha256,
            remedy=f"Get the recorded file back; or, if the change is wanted, write the new sum to sha256 of {spec.name}.",
        )

    def read():
        frame = read_table(path)
        need_columns(frame, ["id", "text", "label", "split"], str(path))
        return frame

    return Source("local", found, read)
