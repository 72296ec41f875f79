"""Files of a supervisor in `var/stream`: its state, and the lock that allows only one supervisor."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from data.artifacts import read_json, write_json
from data.errors import StreamError
from serving.processes import living
from serving.settings import StreamSettings

_log = logging.getLogger(__name__)

LEFTOVERS_S = 15.0
"""Time that the children of a killed supervisor may take to end."""


def folder(var: Path) -> Path:
    """Return the folder of its files."""
    return var / "stream"


def write_state(var: Path, state: Mapping[str, object]) -> None:
    """Write the state, atomically.

    Raises:
        GroundswellError: The disk is full, or the folder may not be written.
    """
    write_json(folder(var) / "supervisor.json", state)


def read_state(var: Path) -> dict[str, Any] | None:
    """Return the supervisor's last state, None where there is none. `alive` is true while that supervisor runs."""
    try:
        state = read_json(folder(var) / "supervisor.json")
    except (OSError, ValueError):
        return None
    return state | {"alive": living(state.get("pid"), state.get("created_at")) is not None}


def running_stream(var: Path, settings: StreamSettings) -> StreamSettings:
    """Return the settings with broker, topic and group of the supervisor that runs in `var`, unless they set their own.

    Without a running supervisor the settings are returned unchanged.
    """
    state = read_state(var)
    if not state or not state["alive"] or state["state"] == "stopped":
        return settings
    known = {name: state[name] for name in ("bootstrap", "topic", "group") if name in state}
    return settings.model_copy(update={name: v for name, v in known.items() if name not in settings.model_fields_set})


@contextmanager
def exclusive_supervisor(var: Path) -> Iterator[None]:
    """Hold the lock of the folder; the system releases it when the process dies.

    Raises:
        StreamError: Another supervisor holds it.
    """
    from filelock import FileLock, Timeout

    folder(var).mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder(var) / "supervisor.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = read_state(var)
        raise StreamError(
            f"A supervisor runs in {folder(var)} already.",
            found=f"pid {holder['pid']}" if holder and holder["alive"] else "a process that has not written its pid yet",
            remedy="See groundswell stream status; stop it, or set another folder with GROUNDSWELL_PATHS__VAR_DIR.",
        ) from None
    try:
        yield
    finally:
        lock.release()


def end_leftovers(var: Path, stop: threading.Event) -> None:
    """Wait for the children of a killed supervisor, which end by themselves; kill those that do not.

    Blocks for at most `LEFTOVERS_S` and 5 s.
    """
    children = (read_state(var) or {}).get("children", {})
    left = {name: process for name, of in children.items() if (process := living(of.get("pid"), of.get("created_at")))}
    until = time.monotonic() + LEFTOVERS_S
    while left and time.monotonic() < until and not stop.is_set():
        _, alive = psutil.wait_procs(list(left.values()), timeout=0.2)
        left = {name: process for name, process in left.items() if process in alive}
    for name, process in left.items():
        _log.warning("%s, pid %d, was left behind by a killed supervisor: killed", name, process.pid)
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(list(left.values()), timeout=5)
