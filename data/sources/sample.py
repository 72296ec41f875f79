"""The project's own small sample: enough to run every step, too small to train a useful model."""

from data.artifacts import sha256_file
from data.catalog import DatasetSpec
from data.settings import project_root
from data.sources.reading import Source, read_table, require_columns


def find(spec: DatasetSpec) -> Source:
    """Locate the sample."""
    assert spec.sample is not None
    path = project_root() / "data" / "samples" / spec.sample

    def read():
        frame = read_table(path)
        require_columns(frame, ["id", "text", "label", "split"], str(path))
        return frame

    return Source("sample", sha256_file(path), read)
