"""Predictions that the processes of a service share: a file in memory, read and written without a lock.

A slot has a checksum, so one that is read while another process writes it counts as empty. Predictions of several windows are
too long for a slot; they are cached by each process alone.
"""

import os
import zlib
from pathlib import Path

from serving.service.mapped import map_file

FILE = "predictions"
_KEY, _MOST, _SLOT, _WAYS = 16, 11, 32, 4
"""Bytes of a key, of the longest value and of a slot (key, length, value, checksum); and slots in which a key may be."""
_BUCKET = _WAYS * _SLOT
_EMPTY = bytes(_KEY)


class SharedPredictions:
    """A cache of packed predictions by key. A new one replaces an old one where there is no room."""

    def __init__(self, folder: Path, texts: int) -> None:
        """Map the file; it is made if it is missing.

        Args:
            folder: Of the service's processes.
            texts: Most predictions, the same in each process.

        Raises:
            OSError: It cannot be made, or the disk is full.
        """
        self._buckets = -(-texts // _WAYS)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._bytes, file = map_file(folder / FILE, self._buckets * _BUCKET)
        os.close(file)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a 16-byte key, or None."""
        begin = self._bucket(key)
        bucket = self._bytes[begin : begin + _BUCKET]
        for place in range(0, _BUCKET, _SLOT):
            if bucket.startswith(key, place):
                slot = bucket[place : place + _SLOT]
                length = slot[_KEY]
                whole = length <= _MOST and zlib.crc32(slot[:-4]) == int.from_bytes(slot[-4:], "little")
                return slot[_KEY + 1 : _KEY + 1 + length] if whole else None
        return None

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value; one of more than 11 bytes is left out."""
        if len(value) > _MOST:
            return
        begin = self._bucket(key)
        bucket = self._bytes[begin : begin + _BUCKET]
        places = range(0, _BUCKET, _SLOT)
        place = next((p for p in places if bucket.startswith((key, _EMPTY), p)), key[-1] % _WAYS * _SLOT)
        slot = key + bytes([len(value)]) + value.ljust(_MOST, b"\0")
        self._bytes[begin + place : begin + place + _SLOT] = slot + zlib.crc32(slot).to_bytes(4, "little")

    def _bucket(self, key: bytes) -> int:
        return int.from_bytes(key[:8], "little") % self._buckets * _BUCKET
