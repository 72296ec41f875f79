"""Jobs in a SQLite file, for the processes of one machine. Deleted jobs free their disk space at once."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from serving.service import metrics
from serving.service.disk import Disk
from serving.service.jobs.queue import (
    CLAIM_S,
    KEEP_S,
    MAX_WAITING_TEXTS,
    PLAIN,
    Job,
    JobsUnavailable,
    Options,
    Part,
    TooMany,
    name_job,
    parts_of,
    place_of,
    result_lines,
    texts_from,
    texts_to,
)
from serving.tiers import BASE

Result = TypeVar("Result")

_INCREMENTAL = 2
"""Value of `PRAGMA auto_vacuum`."""
_LOG_BYTES = 4 * 2**20
"""Largest size of SQLite's write-ahead log after a checkpoint."""
_OPTIONS = "detail, tier, domain, document"
"""Columns of `Options`, in order."""
_WAITING = "SELECT coalesce(sum(total - done), 0) FROM jobs WHERE NOT cancelled"


class SQLiteJobs:
    """See `jobs.Jobs`. The file is readable by its owner only; each method waits for the disk in a thread."""

    def __init__(
        self, path: Path, *, claim_s: float = CLAIM_S, max_waiting_texts: int = MAX_WAITING_TEXTS, disk: Disk | None = None
    ) -> None:
        """Configure the store; the file is opened, and created if missing, on first use.

        Args:
            path: The file.
            claim_s: See `jobs.CLAIM_S`.
            max_waiting_texts: See `jobs.MAX_WAITING_TEXTS`.
            disk: Checked for free space before a job is added; None: not checked.
        """
        self._path, self._claim_s, self._max_waiting_texts, self._disk = path, claim_s, max_waiting_texts, disk
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._database: sqlite3.Connection | None = None
        self.more = asyncio.Event()
        self.up = True

    async def add(self, owner: str, texts: Sequence[Any], options: Options = PLAIN, *, idempotency_key: str | None = None) -> Job:
        """See `Jobs`; raises `NoSpace` if the disk is nearly full."""
        if self._disk is not None:
            self._disk.require_space()
        job = await self._do(self._add, name_job(owner, idempotency_key), owner, texts, options)
        self.more.set()
        return job

    async def get(self, job: str, owner: str | None) -> Job | None:
        """See `Jobs`."""
        return await self._do(self._get, job, owner)

    async def text(self, identity: str, owner: str | None) -> Any:
        """See `Jobs`."""
        place = place_of(identity)
        if place is None or await self.get(place[0], owner) is None:
            return None
        return await self._do(self._text, *place)

    async def cancel(self, job: str) -> None:
        """See `Jobs`."""
        await self._do(self._cancel, job)

    async def results(self, job: str) -> AsyncIterator[bytes]:
        """See `Jobs`."""
        last, query = -1, "SELECT first, results FROM parts WHERE job = ? AND first > ? ORDER BY first LIMIT 1"
        while (rows := await self._do(self._execute, query, job, last)) and rows[0][1]:
            yield rows[0][1]
            last = rows[0][0]

    async def claim(self) -> Part | None:
        """See `Jobs`."""
        return await self._do(self._claim)

    async def finish(self, part: Part, results: Sequence[dict[str, Any]]) -> None:
        """See `Jobs`."""
        await self._do(self._finish, part, result_lines(part, results))

    async def give_back(self, part: Part) -> None:
        """See `Jobs`."""
        undo = "UPDATE parts SET claimed_until = 0, attempts = attempts - 1 WHERE job = ? AND first = ?"
        await self._do(self._execute, undo, part.job, part.first)

    async def waiting(self) -> int:
        """See `Jobs`."""
        return (await self._do(self._execute, _WAITING))[0][0]

    async def close(self) -> None:
        """See `Jobs`."""
        if self._database is not None:
            await self._do(self._database.close)
        self._thread.shutdown()

    async def _do(self, work: Callable[..., Result], *arguments: Any) -> Result:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except (sqlite3.Error, OSError) as error:
            self.up = False
            metrics.JOBS_UP.set(0)
            raise JobsUnavailable(str(error)) from error
        self.up = True
        metrics.JOBS_UP.set(1)
        return result

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds callers' texts
            database = sqlite3.connect(self._path, timeout=5.0, isolation_level=None)
            _give_space_back(database)
            database.executescript(
                f"""
                PRAGMA journal_mode = WAL;
                PRAGMA journal_size_limit = {_LOG_BYTES};
                PRAGMA synchronous = FULL;
                PRAGMA foreign_keys = ON;
                CREATE TABLE IF NOT EXISTS jobs (
                    id TEXT PRIMARY KEY, owner TEXT, total INTEGER, done INTEGER DEFAULT 0, detail INTEGER, created REAL,
                    cancelled INTEGER DEFAULT 0, tier TEXT NOT NULL DEFAULT '{BASE}', domain TEXT, document TEXT
                );
                CREATE TABLE IF NOT EXISTS parts (
                    job TEXT REFERENCES jobs (id) ON DELETE CASCADE, first INTEGER, texts BLOB, results BLOB,
                    claimed_until REAL DEFAULT 0, attempts INTEGER DEFAULT 0, PRIMARY KEY (job, first)
                );
                CREATE INDEX IF NOT EXISTS waiting ON parts (claimed_until) WHERE results IS NULL;
                """
            )
            _add_columns(database)
            self._database = database
        return self._database

    def _execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._open().execute(statement, values).fetchall()

    def _add(self, job: str, owner: str, texts: Sequence[Any], options: Options) -> Job:
        database, now = self._open(), time.time()
        database.execute("BEGIN IMMEDIATE")
        try:
            forgotten = database.execute("DELETE FROM jobs WHERE created < ?", [now - KEEP_S]).rowcount
            if (known := self._get(job, owner)) is not None:
                database.execute("COMMIT")
                return known
            if database.execute(_WAITING).fetchone()[0] + len(texts) > self._max_waiting_texts:
                raise TooMany
            row = [job, owner, len(texts), *options, now]
            columns = f"id, owner, total, {_OPTIONS}, created"
            database.execute(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            database.executemany(
                "INSERT INTO parts (job, first, texts) VALUES (?, ?, ?)",
                [(job, first, texts_to(part)) for first, part in parts_of(texts)],
            )
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
        if forgotten:
            self._shrink()
        return Job.of(job, total=len(texts), done=0, created=now, cancelled=False, options=options)

    def _text(self, job: str, position: int) -> Any:
        query = "SELECT first, texts FROM parts WHERE job = ? AND first <= ? ORDER BY first DESC LIMIT 1"
        rows = self._execute(query, job, position)
        texts, index = (texts_from(rows[0][1]), position - rows[0][0]) if rows else ([], 0)
        return texts[index] if index < len(texts) else None

    def _cancel(self, job: str) -> None:
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            cancelled = database.execute("UPDATE jobs SET cancelled = 1 WHERE id = ? AND done < total", [job]).rowcount
            if cancelled:
                database.execute("DELETE FROM parts WHERE job = ?", [job])
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
        if cancelled:
            self._shrink()

    def _shrink(self) -> None:
        """Free the disk space of deleted rows; pages that another process still reads are freed the next time."""
        # As a script: `execute` runs one step of a pragma, which frees one page.
        self._open().executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")

    def _get(self, job: str, owner: str | None) -> Job | None:
        rows = self._execute(f"SELECT total, done, created, cancelled, owner, {_OPTIONS} FROM jobs WHERE id = ?", job)
        if not rows or (owner is not None and rows[0][4] != owner):
            return None
        total, done, created, cancelled, _, *options = rows[0]
        return Job.of(job, total=total, done=done, created=created, cancelled=bool(cancelled), options=_options(*options))

    def _claim(self) -> Part | None:
        now = time.time()
        rows = self._execute(
            # A claim that ends later than possible was made before the clock was set back.
            """
            UPDATE parts SET claimed_until = ?, attempts = attempts + 1 WHERE (job, first) = (
                SELECT job, first FROM parts JOIN jobs ON jobs.id = job
                WHERE results IS NULL AND (claimed_until < ? OR claimed_until > ?) AND NOT cancelled
                ORDER BY created, first LIMIT 1
            ) RETURNING job, first, texts, attempts
            """,
            now + self._claim_s,
            now,
            now + 2 * self._claim_s,
        )
        if not rows:
            return None
        job, first, texts, attempt = rows[0]
        options = _options(*self._execute(f"SELECT {_OPTIONS} FROM jobs WHERE id = ?", job)[0])
        return Part(job, first, texts_from(texts), options, attempt)

    def _finish(self, part: Part, lines: bytes) -> None:
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            written = database.execute(
                "UPDATE parts SET results = ? WHERE job = ? AND first = ? AND results IS NULL", [lines, part.job, part.first]
            )
            if written.rowcount:
                database.execute("UPDATE jobs SET done = done + ? WHERE id = ?", [len(part.texts), part.job])
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")


def _options(detail: int, tier: str, domain: str | None, document: str | None) -> Options:
    return Options(bool(detail), tier, domain, document)


def _add_columns(database: sqlite3.Connection) -> None:
    """Add the columns that the file of an older version lacks: its jobs are of texts, classified by `base`, `general`."""
    database.execute("BEGIN IMMEDIATE")  # two processes may open the file at the same time
    known = {column[1] for column in database.execute("PRAGMA table_info(jobs)")}
    for name, kind in (("tier", f"TEXT NOT NULL DEFAULT '{BASE}'"), ("domain", "TEXT"), ("document", "TEXT")):
        if name not in known:
            database.execute(f"ALTER TABLE jobs ADD COLUMN {name} {kind}")
    database.execute("COMMIT")


def _give_space_back(database: sqlite3.Connection) -> None:
    """Make the file shrink when rows are deleted; a file created without this is rewritten once."""
    if database.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        with suppress(sqlite3.Error):  # no space to rewrite it, or another process has it open: its free pages are reused
            database.execute("VACUUM")
