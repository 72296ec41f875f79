"""The feedback labels of API callers (`POST /v1/feedback`) as a dataset."""

import sqlite3

from data.artifacts import sha256_file
from data.catalog import DatasetSpec
from data.errors import MalformedData, SourceUnavailable
from data.feedback import FeedbackStore
from data.sources.reading import Source, SourceRows


def find(spec: DatasetSpec, store: FeedbackStore) -> Source:
    """Locate the feedback store.

    Raises:
        SourceUnavailable: There is no feedback yet.
        MalformedData: The file is corrupt or not a feedback store.
    """
    try:
        empty = store.is_empty()
    except sqlite3.Error as error:
        raise MalformedData(
            f"{spec.name}: {store.path} cannot be read.",
            found=error,
            expected="the SQLite file that the service writes",
            remedy="Restore it from a backup, or move it away: the service creates a new one.",
        ) from error
    if empty:
        raise SourceUnavailable(f"{spec.name}: there is no feedback yet.", remedy="POST /v1/feedback, see docs/api.md.")

    def read() -> SourceRows:
        try:
            return SourceRows(store.rows())
        except sqlite3.Error as error:
            raise MalformedData(f"{spec.name}: {store.path} cannot be read.", found=error) from error

    return Source("feedback", sha256_file(store.path), read)
