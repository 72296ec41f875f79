"""Commands to the processes of a service, over Unix sockets that only this user can reach.

Each process has a socket in the folder of its service. A deployment sends commands to all of them (`handover`), and they send
commands to each other (`counters`).
"""

import os
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil

NAME = "control"
"""Of a socket, followed by `-` and the number of its process. Services of an earlier version had one, of this name."""
_OF_PARENT = "groundswell-of-"
"""Begins the name of the folder of a service that was not deployed; the pid of its parent follows."""
_MAX_FOLDER = 60
"""Characters of the folder for temporary files: the path of a Unix socket may have about 100."""
READ_S = 10.0
_MAX_BYTES = 16 * 2**20
"""Of a response."""
_OK = b"ok "
Does = Callable[[], bytes | list[int]]
"""Obeys a command; returns a response, or open files to pass on. What it raises is the response otherwise."""


def folder_of_parent() -> Path:
    """Return the folder of a service that was not deployed: for all processes with the same parent.

    Raises:
        OSError: It cannot be made, or another user made it.
    """
    temporary = Path(tempfile.gettempdir())
    if len(str(temporary)) > _MAX_FOLDER:
        temporary = Path("/tmp")
    for other in temporary.glob(f"{_OF_PARENT}*"):
        with suppress(OSError, ValueError, OverflowError):  # another process deletes it too, or it is not ours
            if not psutil.pid_exists(int(other.name.removeprefix(_OF_PARENT))) and _is_ours(other):
                shutil.rmtree(other, ignore_errors=True)  # of a service that was killed
    folder = temporary / f"{_OF_PARENT}{os.getppid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_ours(folder):
        raise PermissionError(f"{folder} is another user's")
    return folder


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder of this user, and no link."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def obey(folder: Path, number: int, commands: Mapping[str, Does]) -> None:
    """Wait for commands, in threads, until this process ends.

    Args:
        folder: Of the service's sockets.
        number: Of this process, at least 1; a process that replaces another one has its number.
        commands: By name.

    Raises:
        OSError: The socket cannot be made.
    """
    path = folder / f"{NAME}-{number}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)  # of a process that crashed
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threading.Thread(target=_obey_forever, args=(listener, commands), name="control", daemon=True).start()


def leave(folder: Path, number: int) -> None:
    """Remove the socket of this process, and the folder if it was the last one."""
    with suppress(OSError):
        (folder / f"{NAME}-{number}").unlink(missing_ok=True)
        if not sockets_in(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _obey_forever(listener: socket.socket, commands: Mapping[str, Does]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # too many open files
            time.sleep(1)
            continue
        # A command may take half a minute, in which others have to be obeyed.
        threading.Thread(target=_respond, args=(connection, commands), name="command", daemon=True).start()


def _respond(connection: socket.socket, commands: Mapping[str, Does]) -> None:
    with connection, suppress(OSError):  # the other side is gone
        connection.settimeout(READ_S)
        command = connection.recv(64).decode("ascii", "replace")
        try:
            does = commands[command]
        except KeyError:
            connection.sendall(f"unknown command: {command}".encode())
            return
        try:
            response = does()
        except Exception as error:
            connection.sendall(f"{type(error).__name__}: {error}"[:500].encode())
            return
        if isinstance(response, list):
            socket.send_fds(connection, [_OK], response)
        else:
            connection.sendall(_OK + response)


def sockets_in(folder: Path, *, but: int | None = None) -> list[Path]:
    """Return the sockets of a service's processes, by name.

    Args:
        folder: Of the sockets.
        but: Number of a process whose socket is left out.
    """
    return sorted(path for path in folder.glob(f"{NAME}*") if path.name != f"{NAME}-{but}")


def ask(path: Path, command: str, *, limit_s: float) -> tuple[bytes, list[int]]:
    """Send a command to a process, and wait until it is obeyed. Blocks, at most about `limit_s`.

    Returns:
        The response, and the numbers of open files that came with it.

    Raises:
        OSError: No process listens there, it could not obey, or did not in time.
    """
    until = time.monotonic() + limit_s
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(limit_s)
        connection.connect(str(path))
        connection.sendall(command.encode())
        received, files, _, _ = socket.recv_fds(connection, 1024, 1)
        parts = [received]
        while received and sum(map(len, parts)) < _MAX_BYTES:
            connection.settimeout(max(0.01, until - time.monotonic()))
            received = connection.recv(65_536)
            parts.append(received)
    response = b"".join(parts)
    if not (response.startswith(_OK) or response == _OK.strip()):  # an earlier version sends no space
        for file in files:
            os.close(file)
        raise OSError(response.decode("utf-8", "replace") or "the process ended")
    return response.removeprefix(_OK), files


def ask_all(folder: Path, command: str, *, limit_s: float, but: int | None = None) -> dict[str, bytes | OSError]:
    """Send a command to all processes of a service at the same time.

    Args:
        folder: Of the sockets.
        command: What to do.
        limit_s: Longest wait.
        but: Number of a process that is not asked.

    Returns:
        By name of the socket, the response or the error.
    """

    def response(path: Path) -> bytes | OSError:
        try:
            return ask(path, command, limit_s=limit_s)[0]
        except OSError as error:
            return error

    paths = sockets_in(folder, but=but)
    if not paths:
        return {}
    with ThreadPoolExecutor(len(paths)) as threads:
        return dict(zip((path.name for path in paths), threads.map(response, paths), strict=True))
