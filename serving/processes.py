"""Processes of this machine: whether a recorded one still runs, and how a long-running one is asked to stop."""

import gc
import os
import signal
import socket
import threading

import psutil


def living(pid: int | None, created_at: float | None) -> psutil.Process | None:
    """Return the process with this pid and start time, if it runs.

    Args:
        pid: None: there is none.
        created_at: Start time by psutil, in seconds since 1970: the pid alone may be reused by another process. Two processes may
            compute it with a difference of part of a second if the clock was set in between.
    """
    if not pid or created_at is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created_at) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def port_is_taken(port: int) -> bool:
    """Return whether a process listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        # As servers do: connections of one that has just ended do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def listeners(port: int) -> list[psutil.Process]:
    """Return the processes that listen on a port, by pid; without those that this user may not see."""
    try:
        sockets = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        pids = {one.pid for one in sockets if one.pid and one.laddr and one.laddr.port == port}
        return [psutil.Process(pid) for pid in sorted(pids)]
    except (psutil.Error, OSError):
        return []


def process_mark() -> str:
    """Identify this process for other processes, as one word: `pid@start`."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}"


def mark_lives(mark: str) -> bool:
    """Whether the process with this mark still runs on this machine; False for an invalid mark."""
    pid, _, started = mark.partition("@")
    try:
        return living(int(pid), float(started)) is not None
    except ValueError:
        return False


def settle_memory() -> None:
    """Exempt all objects that exist now from the search for garbage: in a loaded service it takes up to 0.2 s, in which the
    process does nothing else. Call it once, when everything is loaded.
    """
    gc.collect()
    gc.freeze()


def stop_on_signals(*, with_parent: bool = False) -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set, and with a parent the end of standard input: the parent holds its other end,
    and the system closes it however the parent ends.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if with_parent:

        def watch() -> None:
            while os.read(0, 1024):  # not sys.stdin, whose lock would be held when the interpreter ends
                pass
            stop.set()

        threading.Thread(target=watch, name="parent", daemon=True).start()
    return stop
