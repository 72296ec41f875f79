"""The project's own small sample: enough to run every step, too small to train a useful model."""

from data.artifacts import sha256_file
from data.catalog import DatasetSpec
from data.settings import project_root
from data.sources.reading import COLUMNS, Source, read_table


def find(spec: DatasetSpec) -> Source:
    """Locate the sample."""
    assert spec.sample is not None
    path = project_root() / "data" / "samples" / spec.sample

    return Source("sample", sha256_file(path), lambda: read_table(path, COLUMNS))
