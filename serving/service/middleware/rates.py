"""Counts for rate limits, shared by all processes of this machine: a small file that each maps into its memory."""

import asyncio
import fcntl
import hashlib
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import floor
from pathlib import Path
from typing import Any

from limits.aio.storage.base import SlidingWindowCounterSupport, Storage

from serving.service.mapped import map_file

SLOTS = 4_096
"""Keys that can be counted at the same time. One more replaces another, whose count begins again."""
_PLACES = 8
"""Slots in which a key may be."""
_SLOT = struct.Struct("<16sqQQ")
"""Digest of the key, end of the window in epoch s, counts of this window and of the one before."""
_LOCK_S = 0.05
"""Longest wait for another process, which holds the file for microseconds."""


class SharedCounts(Storage, SlidingWindowCounterSupport):  # pyright: ignore[reportUnsafeMultipleInheritance]
    """A storage for the sliding window counter of `limits`, and for nothing else."""

    STORAGE_SCHEME = None

    def __init__(self, file: Path) -> None:
        """Map the file; it is made if it is missing.

        Raises:
            OSError: It cannot be made, or the disk is full.
        """
        super().__init__()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._slots, self._file = map_file(file, SLOTS * _SLOT.size)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What its methods raise."""
        return OSError

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount`, and return True, if the limit allows it. See `limits`."""
        now = time.time()
        async with self._locked():
            place, digest, previous, current = self._find(key, now, expiry)
            if floor(previous * _left(now, expiry) / expiry + current) + amount > limit:
                return False
            end = (int(now / expiry) + 1) * expiry
            _SLOT.pack_into(self._slots, place, digest, end, current + amount, previous)
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return count and seconds left of the window before, and of this one. See `limits`."""
        now = time.time()
        async with self._locked():
            _, _, previous, current = self._find(key, now, expiry)
        left = _left(now, expiry)
        return previous, left if previous else 0.0, current, left + expiry

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget the counts of a key."""
        async with self._locked():
            place, *_ = self._find(key, time.time(), expiry)
            self._slots[place : place + _SLOT.size] = bytes(_SLOT.size)

    def _find(self, key: str, now: float, expiry: int) -> tuple[int, bytes, int, int]:
        """Return the place of a key in the file, its digest, and its counts of the window before and of this one.

        A key without a place gets the one whose window ended first.
        """
        digest = hashlib.blake2b(f"{expiry} {key}".encode(), digest_size=16).digest()
        end, first = (int(now / expiry) + 1) * expiry, int.from_bytes(digest[:4], "little")
        places = [(first + step) % SLOTS * _SLOT.size for step in range(_PLACES)]
        found = [_SLOT.unpack_from(self._slots, place) for place in places]
        for place, (of, ended, current, previous) in zip(places, found, strict=True):
            if of == digest:
                return place, digest, *{end: (previous, current), end - expiry: (current, 0)}.get(ended, (0, 0))
        return places[min(range(_PLACES), key=lambda which: found[which][1])], digest, 0, 0

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        until = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError("another process holds the counts") from None
                await asyncio.sleep(0)  # a lock of a file has no event
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    async def _unsupported(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("only sliding windows are counted")

    incr = get = get_expiry = check = reset = clear = _unsupported


def _left(now: float, expiry: int) -> float:
    """Return the seconds until this window ends."""
    return (1 - now / expiry % 1) * expiry
