"""Whether a process that was written down still lives."""

import os

import psutil


def living(pid: int | None, created_at: float | None) -> psutil.Process | None:
    """The process with this pid, if it lives and is the one that was meant.

    Args:
        pid: None: there is none.
        created_at: When it began, as psutil says, in seconds since 1970: the pid alone may be another's by now. Two processes may
            work it out differently by a part of a second when the clock was set in between.
    """
    if not pid or created_at is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created_at) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def process_mark() -> str:
    """This process as one word, to be kept where another process can find it: `pid@start`."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}"


def mark_lives(mark: str) -> bool:
    """Whether the process that wrote this mark, on this machine, still lives; False for what is no mark."""
    pid, _, started = mark.partition("@")
    try:
        return living(int(pid), float(started)) is not None
    except ValueError:
        return False
