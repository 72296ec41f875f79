"""Long work, taken down before it is accepted: jobs in a SQLite file, judged part by part by whichever process is there.

A part is claimed for a time, judged, and its results written in one transaction under (job, part): a process that dies loses its
claim, the next one judges the part again, and writing it twice is harmless. Several processes may share the file.
"""

import asyncio
import hashlib
import json
import logging
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from serving.service import metrics
from serving.service.batching import Overloaded

State = Literal["queued", "running", "done", "cancelled"]
Found = TypeVar("Found")

PART_TEXTS = 64
"""Few enough that a caller who waits is not held up, enough to fill two batches."""
CLAIM_S = 20.0
"""A part whose judge says nothing for so long is given to the next."""
MAX_ATTEMPTS = 5
"""A part at which the service fails or dies so often gets errors for answers, so that its job ends."""
KEEP_S = 86_400
"""A job and its results are forgotten a day after it was made."""
MAX_WAITING_TEXTS = 200_000
_LOOK_S = 5.0
"""How often a process that has nothing to do looks for parts that others left."""

_log = logging.getLogger(__name__)


class TooMany(Exception):
    """The queue of jobs is full."""


@dataclass(frozen=True)
class Job:
    """Where a job stands."""

    id: str
    state: State
    total: int
    """Texts."""
    done: int
    """Texts judged."""
    created_at: str

    def to_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        return asdict(self) | {"results": f"/v1/results/{self.id}"}


@dataclass(frozen=True)
class Part:
    """Texts of a job to be judged together."""

    job: str
    number: int
    texts: list[Any]
    detail: bool
    attempt: int
    """1 for the first time it is claimed."""


class Jobs:
    """The file. Methods are for one event loop; each waits for the disk in a thread of its own."""

    def __init__(self, path: Path) -> None:
        """Opened, and made where it is not there, when it is first used."""
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._database: sqlite3.Connection | None = None
        self.more = asyncio.Event()
        """Set when a job has come."""

    async def add(self, owner: str, texts: Sequence[Any], *, detail: bool, idempotency_key: str | None = None) -> Job:
        """Take a job down; when this returns it is on the disk.

        Args:
            owner: The id of the caller's key; nobody else sees the job.
            texts: JSON values, the bad ones too: they get an error in their place.
            detail: Whether the probabilities are wanted.
            idempotency_key: The same key of the same owner gives the same job, whatever the texts.

        Raises:
            TooMany: As many texts wait as may.
        """
        named = hashlib.blake2b(f"{owner}\0{idempotency_key}".encode(), digest_size=12).hexdigest()
        job = await self._do(self._add, named if idempotency_key else secrets.token_hex(12), owner, texts, detail)
        self.more.set()
        return job

    async def get(self, job: str, owner: str | None) -> Job | None:
        """A job of this owner (None: of anybody), or None."""
        return await self._do(self._get, job, owner)

    async def cancel(self, job: str) -> None:
        """Judge no more of it; what is judged stays until it is forgotten. A finished job stays finished."""
        await self._do(self._execute, "UPDATE jobs SET cancelled = 1 WHERE id = ? AND done < total", job)

    async def results(self, job: str) -> AsyncIterator[bytes]:
        """The answers of a finished job, one JSON line a text, in the order of the texts, part by part."""
        number, query = 0, "SELECT results FROM parts WHERE job = ? AND number = ?"
        while (rows := await self._do(self._execute, query, job, number)) and rows[0][0]:
            yield rows[0][0]
            number += 1

    async def claim(self) -> Part | None:
        """The oldest part that nobody judges, for `CLAIM_S`."""
        return await self._do(self._claim)

    async def finish(self, part: Part, results: Sequence[dict[str, Any]]) -> None:
        """Write a part's results; a part that is finished already stays as it is."""
        lines = "".join(json.dumps(result, separators=(",", ":")) + "\n" for result in results)
        await self._do(self._finish, part, lines.encode())

    async def give_back(self, part: Part) -> None:
        """Let somebody else judge it; this was no attempt."""
        undo = "UPDATE parts SET claimed_until = 0, attempts = attempts - 1 WHERE job = ? AND number = ?"
        await self._do(self._execute, undo, part.job, part.number)

    async def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            await self._do(self._database.close)
        self._thread.shutdown()

    async def _do(self, work: Callable[..., Found], *arguments: Any) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:  # one kind of error for a file that cannot be had
                raise sqlite3.OperationalError(str(error)) from error
            database = sqlite3.connect(self._path, timeout=5.0, isolation_level=None)
            database.executescript(
                """
                PRAGMA journal_mode = WAL;
                PRAGMA synchronous = FULL;
                PRAGMA foreign_keys = ON;
                CREATE TABLE IF NOT EXISTS jobs (
                    id TEXT PRIMARY KEY, owner TEXT, total INTEGER, done INTEGER DEFAULT 0, detail INTEGER, created REAL,
                    cancelled INTEGER DEFAULT 0
                );
                CREATE TABLE IF NOT EXISTS parts (
                    job TEXT REFERENCES jobs (id) ON DELETE CASCADE, number INTEGER, texts BLOB, results BLOB,
                    claimed_until REAL DEFAULT 0, attempts INTEGER DEFAULT 0, PRIMARY KEY (job, number)
                );
                CREATE INDEX IF NOT EXISTS waiting ON parts (claimed_until) WHERE results IS NULL;
                """
            )
            self._database = database
        return self._database

    def _execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._open().execute(statement, values).fetchall()

    def _add(self, job: str, owner: str, texts: Sequence[Any], detail: bool) -> Job:
        database, now = self._open(), time.time()
        database.execute("BEGIN IMMEDIATE")
        try:
            database.execute("DELETE FROM jobs WHERE created < ?", [now - KEEP_S])
            if (known := self._get(job, owner)) is not None:
                database.execute("COMMIT")
                return known
            waiting = "SELECT coalesce(sum(total - done), 0) FROM jobs WHERE NOT cancelled"
            if database.execute(waiting).fetchone()[0] + len(texts) > MAX_WAITING_TEXTS:
                raise TooMany
            row = [job, owner, len(texts), detail, now]
            database.execute("INSERT INTO jobs (id, owner, total, detail, created) VALUES (?, ?, ?, ?, ?)", row)
            parts = [texts[start : start + PART_TEXTS] for start in range(0, len(texts), PART_TEXTS)]
            database.executemany(
                "INSERT INTO parts (job, number, texts) VALUES (?, ?, ?)",
                [(job, number, json.dumps(part)) for number, part in enumerate(parts)],
            )
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
        return Job(job, "queued", len(texts), 0, _when(now))

    def _get(self, job: str, owner: str | None) -> Job | None:
        rows = self._execute("SELECT total, done, created, cancelled, owner FROM jobs WHERE id = ?", job)
        if not rows or (owner is not None and rows[0][4] != owner):
            return None
        total, done, created, cancelled, _ = rows[0]
        state: State = "done" if done == total else "cancelled" if cancelled else "running" if done else "queued"
        return Job(job, state, total, done, _when(created))

    def _claim(self) -> Part | None:
        now = time.time()
        rows = self._execute(
            """
            UPDATE parts SET claimed_until = ?, attempts = attempts + 1 WHERE (job, number) = (
                SELECT job, number FROM parts JOIN jobs ON jobs.id = job
                WHERE results IS NULL AND claimed_until < ? AND NOT cancelled ORDER BY created, number LIMIT 1
            ) RETURNING job, number, texts, attempts
            """,
            now + CLAIM_S, now,
        )  # fmt: skip
        if not rows:
            return None
        job, number, texts, attempt = rows[0]
        detail = self._execute("SELECT detail FROM jobs WHERE id = ?", job)[0][0]
        return Part(job, number, json.loads(texts), bool(detail), attempt)

    def _finish(self, part: Part, lines: bytes) -> None:
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            written = database.execute(
                "UPDATE parts SET results = ?, texts = NULL WHERE job = ? AND number = ? AND results IS NULL",
                [lines, part.job, part.number],
            )
            if written.rowcount:
                database.execute("UPDATE jobs SET done = done + ? WHERE id = ?", [len(part.texts), part.job])
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")


async def work_forever(jobs: Jobs, judge: Callable[[Sequence[Any], bool], Awaitable[list[dict[str, Any]]]]) -> None:
    """Judge the parts of all jobs, one after the other, until cancelled; then the part in hand is given back.

    Args:
        jobs: Where they are.
        judge: Texts and whether detail is wanted, to one entry a text.
    """
    while True:
        jobs.more.clear()
        try:
            part = await jobs.claim()
        except sqlite3.Error:
            _log.exception("the file of jobs cannot be read; tried again")
            part = None
        if part is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(jobs.more.wait(), _LOOK_S)
            continue
        try:
            if part.attempt > MAX_ATTEMPTS:
                failed = {"error": f"could not be judged: the service failed {MAX_ATTEMPTS} times"}
                results = [failed] * len(part.texts)
            else:
                results = await judge(part.texts, part.detail)
            await jobs.finish(part, results)
            metrics.JOB_TEXTS.inc(len(results))
        except Overloaded as full:  # callers who wait come first
            await _give_back(jobs, part)
            await asyncio.sleep(full.retry_after_s)
        except asyncio.CancelledError:
            await _give_back(jobs, part)
            raise
        except Exception:  # its claim runs out, and it is tried again
            _log.exception("a part of job %s could not be judged", part.job)


async def _give_back(jobs: Jobs, part: Part) -> None:
    with suppress(sqlite3.Error):  # then its claim runs out
        await jobs.give_back(part)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
