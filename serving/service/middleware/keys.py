"""API keys: made, listed and revoked on the command line, known by their hash alone.

A key is 192 random bits, so a plain SHA-256 is enough: there is nothing to guess, and checking costs a microsecond, not the tens
of milliseconds of a password hash.
"""

import hashlib
import re
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data.errors import SettingsError
from data.names import unknown_name

SCOPES = ("classify", "feedback", "dashboard", "admin")
"""`admin` includes all others."""
DEFAULT_RATE = "6000/minute"
KEY = "groundswell.key"
"""Where a request's scope carries its `Key`."""
_FORM = re.compile(r"gs_([0-9a-f]{8})_[\w-]{32}")


@dataclass(frozen=True)
class Key:
    """What the service stores of a key; not the key itself."""

    id: str
    name: str
    scopes: tuple[str, ...]
    rate: str
    """Texts, in the form of the `limits` library: 6000/minute."""
    created_at: str
    revoked_at: str | None

    def may(self, scope: str) -> bool:
        """Whether it opens a route of this scope."""
        return scope in self.scopes or "admin" in self.scopes


class Keys:
    """The keys in a SQLite file; several processes may use it."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, readable by its owner only."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._path = path
        self._known: dict[bytes, Key] = {}
        self._watching: sqlite3.Connection | None = None
        self._version = -1
        with closing(self._connect()) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, name TEXT, hash BLOB UNIQUE, scopes TEXT, rate TEXT, "
                "created_at TEXT, revoked_at TEXT)"
            )

    def add(self, name: str, scopes: Sequence[str] = ("classify",), rate: str = DEFAULT_RATE) -> str:
        """Make a key and return it; only its hash is stored, so it cannot be shown again.

        Raises:
            SettingsError: A scope or the rate is not known.
        """
        for scope in scopes:
            if scope not in SCOPES:
                raise unknown_name(SettingsError, "scope", scope, SCOPES)
        require_rate(rate)
        identity = secrets.token_hex(4)
        token = f"gs_{identity}_{secrets.token_urlsafe(24)}"
        with closing(self._connect()) as database, database:
            database.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (identity, name, _hash(token), ",".join(scopes), rate, datetime.now(UTC).isoformat(timespec="seconds")),
            )
        return token

    def list(self) -> list[Key]:
        """All keys ever made, the oldest first."""
        return list(self._read().values())

    def revoke(self, identity: str) -> None:
        """Revoke a key; running services refuse it at once.

        Raises:
            SettingsError: There is no such key, or it is revoked already.
        """
        with closing(self._connect()) as database, database:
            done = database.execute(
                "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
                (datetime.now(UTC).isoformat(timespec="seconds"), identity),
            )
        if not done.rowcount:
            raise SettingsError(f"Active API key {identity!r} not found.", remedy="List them: groundswell keys list")

    def find(self, token: str) -> Key | None:
        """Return the active key of a token, or None. Sees at once what any process adds or revokes. For one thread."""
        if not _FORM.fullmatch(token):
            return None
        self._refresh()
        key = self._known.get(_hash(token))
        return key if key is not None and key.revoked_at is None else None

    def _refresh(self) -> None:
        if self._watching is None:
            self._watching = self._connect()
        try:
            # SQLite's counter of writes by other connections: a check costs microseconds, and keys are read only after a change.
            (version,) = self._watching.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._known, self._version = self._read(), version
        except sqlite3.Error:  # retried with a new connection once the file is readable
            self._watching.close()
            self._watching, self._version = None, -1
            raise

    def check(self) -> None:
        """Read the file, as `find` does.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        self._read()

    def _read(self) -> dict[bytes, Key]:
        with closing(self._connect()) as database:
            rows = database.execute(
                "SELECT hash, id, name, scopes, rate, created_at, revoked_at FROM keys ORDER BY created_at, id"
            )
            return {row[0]: Key(row[1], row[2], tuple(row[3].split(",")), *row[4:]) for row in rows}

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=1.0)


def keys_of(var: Path) -> Keys:
    """The keys of one `var/` folder."""
    return Keys(var / "service" / "keys.db")


def id_of(token: str) -> str:
    """The part of a key that may be shown."""
    return token.split("_")[1]


def require_rate(rate: str) -> None:
    """Check the form of a rate.

    Raises:
        SettingsError: It is not of the form 6000/minute.
    """
    from limits import parse

    try:
        parse(rate)
    except ValueError as error:
        raise SettingsError(f"Invalid rate {rate!r}.", expected=f"such as {DEFAULT_RATE} or 10/second") from error


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
