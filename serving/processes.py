"""Whether a process that was written down still lives."""

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
