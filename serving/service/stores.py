"""Where answers are kept beyond one process: SQLite, Redis or DynamoDB, behind one interface.

A store of answers is a cache: what cannot be read is judged again, what cannot be written is left out. `Guarded` sees to it that
a store that is slow or gone costs a caller at most its time-out, and once every few seconds, not on each request.
"""

import asyncio
import sqlite3
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data.errors import SettingsError
from serving.service import metrics
from serving.settings import ServingSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable

_PREFIX = b"groundswell:answer:"
_BUSY_S = 1.0
"""How long SQLite waits for another process's write."""


_AT_ONCE = 500
"""Keys of one query."""


class AnswerStore(Protocol):
    """Small values by key, gone after a time."""

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those that are there and not yet expired."""
        ...

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """Keep them so many seconds; one that is there is replaced."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class SQLiteStore:
    """A file, for the processes of one machine."""

    def __init__(self, path: Path) -> None:
        """Opened, and made where it is not there, when it is first used."""
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._database: sqlite3.Connection | None = None
        self._purge_at = 0.0

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, value BLOB, expires REAL) WITHOUT ROWID")
            self._database = database
        return self._database

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `AnswerStore`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._get, keys)

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """See `AnswerStore`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._put, values, ttl_s)

    async def close(self) -> None:
        """See `AnswerStore`."""
        if self._database is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    def _get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        database, now = self._open(), time.time()
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            query = f"SELECT key, value FROM answers WHERE expires > ? AND key IN ({','.join('?' * len(part))})"
            found.update(database.execute(query, [now, *part]))
        return found

    def _put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        now = time.time()
        rows = [(key, value, now + ttl_s) for key, value in values.items()]
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
            if now > self._purge_at:
                database.execute("DELETE FROM answers WHERE expires <= ?", [now])
                self._purge_at = now + 60
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")


class RedisStore:
    """A Redis server, for the processes of many machines."""

    def __init__(self, url: str) -> None:
        """Connect when first used."""
        from redis.asyncio import Redis

        self._redis: Any = Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `AnswerStore`."""
        found = await self._redis.mget([_PREFIX + key for key in keys])
        return {key: value for key, value in zip(keys, found, strict=True) if value is not None}

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """See `AnswerStore`."""
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in values.items():
            pipeline.set(_PREFIX + key, value, ex=ttl_s)
        await pipeline.execute()

    async def close(self) -> None:
        """See `AnswerStore`."""
        await self._redis.aclose()


class Guarded:
    """A store that never fails and never keeps anybody waiting: when it does, it is left alone for a while.

    What is asked for while one look is under way is looked up in one go after it: at 64 callers a look for each would cost a
    tenth of the throughput.
    """

    def __init__(self, store: AnswerStore, *, timeout_s: float = 0.2, rest_s: float = 2.0) -> None:
        """Wrap a store.

        Args:
            store: What may fail.
            timeout_s: Longest wait for one operation.
            rest_s: After a failure it is not asked for so long.
        """
        self._store, self._timeout_s, self._rest_s = store, timeout_s, rest_s
        self._again_at = 0.0
        self.up = True
        """Whether the last operation worked."""
        self._wanted: set[bytes] = set()
        self._next: asyncio.Task[dict[bytes, bytes]] | None = None
        self._looking = asyncio.Lock()
        metrics.STORE_UP.set(1)

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What the store has; nothing when it fails."""
        if not self._awake():
            return {}
        self._wanted.update(keys)
        if self._next is None:
            self._next = asyncio.create_task(self._look())
        found = await asyncio.shield(self._next)
        return {key: found[key] for key in keys if key in found}

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """Keep them if it can."""
        if self._awake():
            await self._try(self._store.put(values, ttl_s))

    async def close(self) -> None:
        """Let go of it."""
        await self._try(self._store.close())

    async def _look(self) -> dict[bytes, bytes]:
        async with self._looking:
            wanted, self._wanted, self._next = list(self._wanted), set(), None
            return await self._try(self._store.get(wanted)) or {} if self._awake() else {}

    def _awake(self) -> bool:
        return time.monotonic() >= self._again_at

    async def _try(self, work: "Awaitable[Any]") -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await work
        except Exception:  # each store has errors of its own; none may reach a caller
            metrics.STORE_ERRORS.inc()
            metrics.STORE_UP.set(0)
            self.up = False
            self._again_at = time.monotonic() + self._rest_s
            return None
        metrics.STORE_UP.set(1)
        self.up = True
        return found


def open_store(settings: ServingSettings, var: Path) -> Guarded | None:
    """The store of the settings.

    Raises:
        SettingsError: Redis is asked for without an address.
    """
    if settings.answers == "memory":
        return None
    if settings.answers == "sqlite":
        return Guarded(SQLiteStore(var / "service" / "answers.db"))
    if settings.answers == "dynamodb":
        from serving.service.dynamodb import DynamoDBStore

        return Guarded(DynamoDBStore(settings.dynamodb_table))
    if settings.redis_url is None:
        raise SettingsError("serving.answers is redis, and there is no address.", remedy="Set GROUNDSWELL_SERVING__REDIS_URL.")
    return Guarded(RedisStore(settings.redis_url.get_secret_value()))
