"""Feedback labels: an append-only store that the service writes, and the rows that training reads from it."""

import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
_COLUMNS = "at, text, label, said_by, domain"


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

    def forget(self, texts: Iterable[str], people: Iterable[str] = ()) -> int:
        """Delete the labels of texts, whatever spaces are in them, and the labels that people gave; return how many. Blocks.

        The rows are overwritten on the disk.

        Raises:
            sqlite3.Error: The file cannot be read or written.
        """
        numbers = self._numbers(texts, people)
        if not numbers:
            return 0
        with closing(sqlite3.connect(self.path, timeout=5.0)) as database, database:
            database.execute("PRAGMA secure_delete = ON")
            database.executemany("DELETE FROM verdicts WHERE number = ?", [(number,) for number in numbers])
        return len(numbers)

    def count(self, texts: Iterable[str], people: Iterable[str] = ()) -> int:
        """Return how many labels `forget` would delete."""
        return len(self._numbers(texts, people))

    def _numbers(self, texts: Iterable[str], people: Iterable[str]) -> list[int]:
        known, names = {one_spaced(text) for text in texts}, set(people)
        return [number for number, text, by in self._all("number, text, said_by") if one_spaced(text) in known or by in names]

    def is_empty(self) -> bool:
        """Return whether there is no feedback: no file, a file without the table, or an empty table.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        return next(iter(self._all(limit="LIMIT 1")), None) is None

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
        rows: list[tuple[str, str, float, str, str | None]] = []
        for by_person in by_text.values():
            counts = Counter(label for label, *_ in by_person.values())
            most = max(counts.values())
            for label in sorted(label for label, count in counts.items() if count == most):
                _, text, at, domain = max((one for one in by_person.values() if one[0] == label), key=lambda one: one[2])
                rows.append((text, label, most / len(by_person), at, domain))
        frame = pd.DataFrame(rows, columns=["text", "label", "label_confidence", "created_at", "domain"])
        frame.insert(0, "id", [f"feedback-{number}" for number in range(len(frame))])
        return frame

    def _all(self, columns: str = _COLUMNS, *, limit: str = "") -> list[tuple[Any, ...]]:
        if not self.path.is_file():
            return []
        with closing(sqlite3.connect(self.path, timeout=5.0)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'verdicts'").fetchone():
                return []  # a process was killed after it created the file and before it created the table
            return database.execute(f"SELECT {columns} FROM verdicts ORDER BY number {limit}").fetchall()


def one_spaced(text: str) -> str:
    """Return a text with one space where it has any white space: copies of a text may differ in it."""
    return " ".join(text.split())


def open_feedback(var: Path) -> FeedbackStore:
    """Return the feedback store of a `var/` folder."""
    return FeedbackStore(var / "labels" / "feedback.db")
