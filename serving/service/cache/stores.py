"""Prediction stores outside the process: SQLite, Redis or DynamoDB, behind one interface.

A prediction store is a cache: what cannot be read is classified again, what cannot be written is not stored. `Guarded` limits the
cost of a store that is slow or down to one time-out every few seconds, instead of one per request.
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
"""Most keys of one query."""


class PredictionStore(Protocol):
    """Small values by key, with an expiry time."""

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values that exist and have not expired."""
        ...

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """Store values for `ttl_s` seconds, replacing existing ones."""
        ...

    async def close(self) -> None:
        """Close the store."""
        ...


class SQLiteStore:
    """A file, for the processes of one machine."""

    def __init__(self, path: Path) -> None:
        """Configure the store; the file is opened, and created if missing, on first use."""
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predictions")
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
        """See `PredictionStore`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._get, keys)

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """See `PredictionStore`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._put, values, ttl_s)

    async def close(self) -> None:
        """See `PredictionStore`."""
        if self._database is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    def _get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        database, now = self._open(), time.time()
        values: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            query = f"SELECT key, value FROM answers WHERE expires > ? AND key IN ({','.join('?' * len(part))})"
            values.update(database.execute(query, [now, *part]))
        return values

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
        """See `PredictionStore`."""
        values = await self._redis.mget([_PREFIX + key for key in keys])
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """See `PredictionStore`."""
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in values.items():
            pipeline.set(_PREFIX + key, value, ex=ttl_s)
        await pipeline.execute()

    async def close(self) -> None:
        """See `PredictionStore`."""
        await self._redis.aclose()


class Guarded:
    """A store that never raises and rarely blocks: after a failure it is not used for `rest_s` seconds.

    Keys requested during one lookup are combined into the next one: with 64 callers, a lookup for each would cost a tenth of the
    throughput.
    """

    def __init__(self, store: PredictionStore, *, timeout_s: float = 0.2, rest_s: float = 2.0) -> None:
        """Wrap a store.

        Args:
            store: The store that may fail.
            timeout_s: Longest wait for one operation.
            rest_s: Seconds without use after a failure.
        """
        self._store, self._timeout_s, self._rest_s = store, timeout_s, rest_s
        self._retry_at = 0.0
        self.up = True
        """Whether the last operation worked."""
        self._wanted: set[bytes] = set()
        self._next: asyncio.Task[dict[bytes, bytes]] | None = None
        self._lookup_lock = asyncio.Lock()
        metrics.STORE_UP.set(1)

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what the store has; nothing if it fails."""
        if not self._may_try():
            return {}
        self._wanted.update(keys)
        if self._next is None:
            self._next = asyncio.create_task(self._lookup())
        found = await asyncio.shield(self._next)
        return {key: found[key] for key in keys if key in found}

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """Store values; on a failure they are not stored."""
        if self._may_try():
            await self._try(self._store.put(values, ttl_s))

    async def close(self) -> None:
        """Close the store."""
        await self._try(self._store.close())

    async def _lookup(self) -> dict[bytes, bytes]:
        async with self._lookup_lock:
            wanted, self._wanted, self._next = list(self._wanted), set(), None
            return await self._try(self._store.get(wanted)) or {} if self._may_try() else {}

    def _may_try(self) -> bool:
        return time.monotonic() >= self._retry_at

    async def _try(self, work: "Awaitable[Any]") -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await work
        except Exception:  # each store has its own exceptions; none may reach a caller
            metrics.STORE_ERRORS.inc()
            metrics.STORE_UP.set(0)
            self.up = False
            self._retry_at = time.monotonic() + self._rest_s
            return None
        metrics.STORE_UP.set(1)
        self.up = True
        return result


def open_store(settings: ServingSettings, var: Path) -> Guarded | None:
    """Open the prediction store that the settings name; None: predictions stay in memory.

    Raises:
        SettingsError: `serving.prediction_store` is redis and its URL is missing.
    """
    if settings.prediction_store == "memory":
        return None
    if settings.prediction_store == "sqlite":
        return Guarded(SQLiteStore(var / "service" / "answers.db"))
    if settings.prediction_store == "dynamodb":
        from serving.service.cache.dynamodb import DynamoDBStore

        return Guarded(DynamoDBStore(settings.dynamodb_table))
    if settings.redis_url is None:
        raise SettingsError("Redis URL missing: serving.prediction_store is redis.", remedy="Set GROUNDSWELL_SERVING__REDIS_URL.")
    return Guarded(RedisStore(settings.redis_url.get_secret_value()))
