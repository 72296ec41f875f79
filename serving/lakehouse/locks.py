"""Locks on this machine: one driver runs the streams of a root, and commits to a table come one after the other.

Delta relies on the storage to refuse the second of two commits of one version. A local folder does not always refuse it if two
Java processes commit within the same milliseconds (Delta's LocalLogStore checks, then renames): one of the commits would be lost.
The locks belong to the kernel: they end with their process, however it ends. A URI has no lock (see docs/lakehouse.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import LakehouseError

WAIT_S = 3600.0
"""Seconds that a commit waits for another one: compacting a large table can take this long."""


@contextmanager
def exclusive_run(root: str) -> Iterator[None]:
    """Keep other drivers on this machine from running streams into the same root. Does not wait.

    Raises:
        LakehouseError: Another driver runs.
    """
    with _locked(
        root,
        "driver",
        0,
        f"Another `groundswell lakehouse run` writes to {root}.",
        "Stop it (Ctrl-C or SIGTERM) first, or use another root.",
    ):
        yield


@contextmanager
def table_commit_lock(path: str) -> Iterator[None]:
    """Keep other processes on this machine from committing to a table. Blocks for at most `WAIT_S`.

    Raises:
        LakehouseError: Other processes held the lock for `WAIT_S`.
    """
    root, _, layer = path.rpartition("/")
    with _locked(
        root,
        layer,
        WAIT_S,
        f"Another process has been writing to {path} for {WAIT_S / 60:.0f} minutes.",
        "Wait for it or stop it (groundswell lakehouse maintain, backfill), then run the same command to resume.",
    ):
        yield


@contextmanager
def _locked(root: str, name: str, wait_s: float, message: str, remedy: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    if "://" in root:
        yield
        return
    Path(root).mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(root) / f"{name}.lock", timeout=wait_s)
    try:
        lock.acquire()
    except Timeout:
        raise LakehouseError(message, remedy=remedy) from None
    try:
        yield
    finally:
        lock.release()
