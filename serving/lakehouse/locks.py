"""Who may write to tables on this machine: one driver runs the streams, and commits to a table come one after the other.

Delta leaves it to the storage to refuse the second of two commits of one version. A local folder does not always refuse it when
two Java processes come within the same milliseconds (Delta's LocalLogStore looks, then renames), and what one of them wrote would
be gone. Locks are the kernel's: they end with their process, however it ends. A URI has none (docs/lakehouse.md: what it needs).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import LakehouseError

WAIT_S = 3600.0
"""How long a commit waits for another one: compacting a large table takes its time."""


@contextmanager
def alone(root: str) -> Iterator[None]:
    """Let no other driver of this machine run streams into a root meanwhile.

    Raises:
        LakehouseError: Another one does; told at once.
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
def committing(path: str) -> Iterator[None]:
    """Let no other process of this machine commit to a table meanwhile; blocks for at most `WAIT_S`.

    Raises:
        LakehouseError: Others kept it for that long.
    """
    root, _, layer = path.rpartition("/")
    with _locked(
        root,
        layer,
        WAIT_S,
        f"Another process has been writing to {path} for {WAIT_S / 60:.0f} minutes.",
        "Wait for it, or end it (groundswell lakehouse maintain, backfill); the same command goes on.",
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
