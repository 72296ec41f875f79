"""Files that several processes map into their memory."""

import fcntl
import mmap
import os
from pathlib import Path


def map_file(path: Path, size: int) -> tuple[mmap.mmap, int]:
    """Map a file of this size, made of zeros if it is missing or too short.

    Returns:
        Its bytes, and the number of the open file, for a lock.

    Raises:
        OSError: It cannot be made, or the disk is full.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Written, not only made long, so that a full disk is an error now, and does not end the process later.
        while (begin := os.fstat(file).st_size) < size:
            os.pwrite(file, bytes(size - begin), begin)
        fcntl.flock(file, fcntl.LOCK_UN)
        return mmap.mmap(file, size), file
    except BaseException:
        os.close(file)
        raise
