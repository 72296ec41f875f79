"""Feedback labels: an append-only store that the service writes, and the rows that training reads from it."""

import os
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from data.cleaning import normalize

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FeedbackLabel:
    """The label that one person gave to one text."""

    text: str
    label: str
    """One of `LABELS`."""
    by: str
    """The person who gave the label."""
    domain: str | None = None
    key: str = ""
    """Id of the API key of the request."""


# Stores on disk have a table `verdicts` with a column `said_by`: both names stay.
_CREATE = (
    "CREATE TABLE IF NOT EXISTS verdicts (number INTEGER PRIMARY KEY, at TEXT, text TEXT, label TEXT, said_by TEXT, "
    "domain TEXT, key TEXT)"
)
_INSERT = "INSERT INTO verdicts (at, text, label, said_by, domain, key) VALUES (?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT at, text, label, said_by, domain FROM verdicts ORDER BY number"


class FeedbackStore:
    """A SQLite file that only its owner may read; several processes may write to it."""

    def __init__(self, path: Path) -> None:
        """Set the path; `add` creates the file."""
        self.path = path

    def add(self, feedback: FeedbackLabel) -> int:
        """Store a feedback label; it is on disk when this returns. Blocks for at most 5 s while another process writes.

        Returns:
            Its number.

        Raises:
            sqlite3.Error: The disk is full, or the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:  # callers handle one class of errors for a file that cannot be opened
            raise sqlite3.OperationalError(str(error)) from error
        with closing(sqlite3.connect(self.path, timeout=5.0)) as database, database:
            database.execute(_CREATE)
            now = datetime.now(UTC).isoformat()
            row = [now, feedback.text, feedback.label, feedback.by, feedback.domain, feedback.key]
            return int(database.execute(_INSERT, row).lastrowid or 0)

    def is_empty(self) -> bool:
        """Return whether there is no feedback: no file, a file without the table, or an empty table.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        return next(iter(self._all("LIMIT 1")), None) is None

    def rows(self) -> "pd.DataFrame":
        """Return what training reads: one row per text, `id, text, label, label_confidence, created_at, domain`.

        The latest label of each person counts; the most frequent label of all persons wins, and `label_confidence` is its share.
        If two labels are equally frequent, both are returned, and the splits remove the text as a label conflict.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        import pandas as pd

        by_text: dict[str, dict[str, tuple[str, str, str, str | None]]] = defaultdict(dict)
        for at, text, label, by, domain in self._all():
            by_text[normalize(text)][by] = (label, text, at, domain)  # the latest label of each person
        rows = []
        for by_person in by_text.values():
            counts = Counter(label for label, *_ in by_person.values())
            most = max(counts.values())
            for label in sorted(label for label, count in counts.items() if count == most):
                _, text, at, domain = max((one for one in by_person.values() if one[0] == label), key=lambda one: one[2])
                rows.append((text, label, most / len(by_person), at, domain))
        frame = pd.DataFrame(rows, columns=["text", "label", "label_confidence", "created_at", "domain"])
        frame.insert(0, "id", [f"feedback-{number}" for number in range(len(frame))])
        return frame

    def _all(self, limit: str = "") -> list[tuple[str, str, str, str, str | None]]:
        if not self.path.is_file():
            return []
        with closing(sqlite3.connect(self.path, timeout=5.0)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'verdicts'").fetchone():
                return []  # a process was killed after it created the file and before it created the table
            return database.execute(f"{_SELECT} {limit}").fetchall()


def open_feedback(var: Path) -> FeedbackStore:
    """Return the feedback store of a `var/` folder."""
    return FeedbackStore(var / "labels" / "feedback.db")
