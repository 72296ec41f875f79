"""Accept connections of a listening socket that several processes share, so that each gets its part.

Left to themselves, the process that wakes first accepts all connections that wait: of four callers it may serve three while the
other's CPU is idle. Here each accepts one at a time, and one that has more connections than another lets it go first.
"""

import asyncio
import mmap
import os
import socket
import struct
from collections.abc import Callable, Sized
from contextlib import suppress
from pathlib import Path
from typing import Any

from serving.service.mapped import map_file
from serving.settings import MOST_PROCESSES

FILE = "connections"
"""Holds the number of open connections of each process."""
_NUMBERS = 2 * MOST_PROCESSES
"""Twice as many as there may be: a new one has the lowest number that is not in use while the old one ends."""
TURN_S = 0.001
"""How long a process with more connections lets the others go first."""
FULL_S = 0.5
"""Wait after an error, such as too many open files."""
_NUMBER = struct.Struct("<i")


class OpenConnections:
    """The number of open connections of each process of a service."""

    def __init__(self, folder: Path | None, number: int) -> None:
        """Map the file; it is made if it is missing. Where it cannot be made, this process counts for itself.

        Args:
            folder: Of the service, as for `control`; None: there is none.
            number: Of this process, at least 1.
        """
        size = _NUMBERS * _NUMBER.size
        self._numbers = mmap.mmap(-1, size)
        if folder is not None:
            with suppress(OSError):
                folder.mkdir(mode=0o700, exist_ok=True)
                self._numbers, file = map_file(folder / FILE, size)
                os.close(file)
        self._place = (number - 1) * _NUMBER.size

    def set(self, connections: int) -> None:
        """Record the connections of this process; a process that has ended has -1."""
        _NUMBER.pack_into(self._numbers, self._place, connections + 1)  # 0: there is no such process

    def fewest(self) -> int:
        """Return the fewest connections of any process."""
        return min((known for (known,) in _NUMBER.iter_unpack(self._numbers) if known), default=1) - 1


class Acceptor:
    """Accepts connections of a shared socket, in place of an asyncio server. For one event loop."""

    def __init__(
        self, listener: socket.socket, make: Callable[[], asyncio.Protocol], open_now: Sized, counts: OpenConnections, tls: Any
    ) -> None:
        """Begin to accept.

        Args:
            listener: The socket; it is closed with the acceptor.
            make: Returns the protocol of a connection.
            open_now: The open connections of this process.
            counts: Of all processes.
            tls: An SSL context, or None.
        """
        self._listener, self._make, self._open, self._counts, self._tls = listener, make, open_now, counts, tls
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[Any]] = set()
        self._later: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        counts.set(len(open_now))
        self._loop.add_reader(listener.fileno(), self._take_turn)

    def close(self) -> None:
        """Accept no more; open connections stay."""
        if self._listener.fileno() < 0:
            return
        self._pause()
        if self._later is not None:
            self._later.cancel()
        self._listener.close()
        self._counts.set(-1)

    async def wait_closed(self) -> None:
        """Wait for connections that are just being made."""
        if self._starting:
            await asyncio.wait(self._starting)

    def _take_turn(self) -> None:
        mine = len(self._open) + len(self._starting)
        self._counts.set(mine)
        if mine > self._counts.fewest():
            self._pause()
            self._later = self._loop.call_later(TURN_S, self._accept_and_resume)
        else:
            self._accept()

    def _accept_and_resume(self) -> None:
        """Accept what the others have not: they are busy."""
        if self._accept():
            self._loop.add_reader(self._listener.fileno(), self._take_turn)

    def _accept(self) -> bool:
        """Accept a connection if one waits; False: accepting is paused after an error."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return True
        except OSError:
            self._pause()
            self._later = self._loop.call_later(FULL_S, self._accept_and_resume)
            return False
        connection.setblocking(False)
        task = self._loop.create_task(self._start(connection))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return True

    async def _start(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection, ssl=self._tls)
        except (OSError, RuntimeError):  # the client is gone, or does not speak TLS
            connection.close()

    def _pause(self) -> None:
        with suppress(ValueError, OSError):
            self._loop.remove_reader(self._listener.fileno())
