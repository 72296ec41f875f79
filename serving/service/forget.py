"""Removes texts from what the service keeps in files: jobs with their results, and the cache of predictions."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from data.cleaning import clean
from data.feedback import one_spaced
from serving.prediction_keys import cache_key
from serving.service.jobs.queue import texts_from, texts_to

FORGOTTEN = "The text was deleted."
"""The error in the place of a result."""


def forget_in_jobs(file: Path, texts: Iterable[str]) -> int:
    """Replace texts of jobs by null, and their results by an error; return how many texts. Blocks."""
    known = {one_spaced(text) for text in texts}
    count = 0
    if not known or not file.is_file():
        return 0
    with closing(_open(file)) as database:
        database.execute("BEGIN IMMEDIATE")
        for job, first, stored, results in database.execute("SELECT job, first, texts, results FROM parts").fetchall():
            places = _places(stored, known)
            if not places:
                continue
            left = [None if place in places else text for place, text in enumerate(texts_from(stored))]
            row = [texts_to(left), _without(results, places) if results else None, job, first]
            database.execute("UPDATE parts SET texts = ?, results = ? WHERE job = ? AND first = ?", row)
            count += len(places)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return count


def count_in_jobs(file: Path, texts: Iterable[str]) -> int:
    """Return how many texts of jobs are among `texts`."""
    known = {one_spaced(text) for text in texts}
    if not known or not file.is_file():
        return 0
    with closing(_open(file)) as database:
        return sum(len(_places(stored, known)) for (stored,) in database.execute("SELECT texts FROM parts"))


def forget_in_cache(file: Path, names: Sequence[str], texts: Iterable[str]) -> int:
    """Delete the cached predictions of texts under these names of bundle, engine and tier; return how many. Blocks."""
    keys = _keys(names, texts)
    if not keys or not file.is_file():
        return 0
    with closing(_open(file)) as database:
        return sum(database.execute("DELETE FROM answers WHERE key = ?", [key]).rowcount for key in keys)


def count_in_cache(file: Path, names: Sequence[str], texts: Iterable[str]) -> int:
    """Return how many predictions of texts are cached."""
    keys = _keys(names, texts)
    if not keys or not file.is_file():
        return 0
    with closing(_open(file)) as database:
        return sum(len(database.execute("SELECT 1 FROM answers WHERE key = ?", [key]).fetchall()) for key in keys)


def _open(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=5.0, isolation_level=None)
    database.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
    return database


def _places(stored: bytes, known: set[str]) -> set[int]:
    """Return the positions of the texts, and of the windows of a document with one of them as a sentence."""
    return {place for place, text in enumerate(texts_from(stored)) if any(one_spaced(part) in known for part in _parts(text))}


def _parts(text: Any) -> list[str]:
    return text["sentences"] if isinstance(text, dict) else [text] if isinstance(text, str) else []


def _without(results: bytes, places: set[int]) -> bytes:
    """Replace the lines of results in these places by an error with the same id."""

    def lines() -> Iterator[str]:
        for place, line in enumerate(results.decode("utf-8", "surrogatepass").rstrip("\n").split("\n")):
            row: dict[str, Any] = json.loads(line)
            yield json.dumps({"id": row["id"], "error": FORGOTTEN}) if place in places else line

    return "".join(line + "\n" for line in lines()).encode("utf-8", "surrogatepass")


def _keys(names: Sequence[str], texts: Iterable[str]) -> list[bytes]:
    cleaned = {clean(text) for text in texts}
    return [cache_key(name, text) for name in names for text in cleaned]
