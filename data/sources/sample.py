"""The project's own small sample, written for it: enough to watch everything work, too little to learn from."""

from data.artifacts import sha256_file
from data.catalog import DatasetSpec
from data.settings import project_root
from data.sources.reading import Source, need_columns, read_table


def find(spec: DatasetSpec) -> Source:
    """Where the sample is."""
    assert spec.sample is not None
    path = project_root() / "data" / "samples" / spec.sample

    def read():
        frame = read_table(path)
        need_columns(frame, ["id", "text", "label", "split"], str(path))
        return frame

    return Source("sample", sha256_file(path), read)
