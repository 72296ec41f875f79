"""How a deployment takes the port of the one before it, and gives it away, without refusing a connection.

All deployments on a port share one listening socket: each process inherits it when it starts, and the next one gets it from the
worker of the one before, through a Unix socket of this user. So connections always wait in the same queue, even when
a crashed worker is replaced. A worker accepts on command, or, when it starts, if the deployment's state names its
parent.
"""

import asyncio
import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from data.artifacts import read_json
from serving.processes import living
from serving.service.logs import log
from serving.service.middleware.edge import BoundedProtocol

VARIABLE = "_GROUNDSWELL_HANDOVER"
"""Not a setting. JSON of `listener` (number of the inherited socket), `control` (path of the Unix socket) and `state` (the
deployment's file)."""
LISTENER, ACCEPT, RELEASE = "listener", "accept", "release"
"""What can be asked for: the listening socket; to accept its connections; to accept no more, and close those that there are."""
BACKLOG = 2048
COMMAND_S = 10.0
"""Time limit of a command but `RELEASE`."""
RELEASE_S = 30.0
"""Longest wait for the last connection; a request has its own deadline."""
IDLE_S = 6.0
"""While a worker releases the port, it closes a connection that has been idle for this time; its client has closed it, or will
hardly use it at this moment."""
_OK = "ok"


class Handover:
    """The worker's side. One for each process."""

    def __init__(self, server: uvicorn.Server, listener: int, control: Path, state: Path) -> None:
        """Make it; `start` begins.

        Args:
            server: Of this process, started.
            listener: Number of the listening socket.
            control: Path of the Unix socket for commands.
            state: JSON file with the `pid` of the deployment that is in use.
        """
        self._server, self._listener, self._control, self._state = server, listener, control, state
        self._accepting: asyncio.AbstractServer | None = None
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Wait for commands in a thread; accept now if this deployment is in use."""
        if self._is_in_use():
            await self.accept()
        try:
            self._control.parent.mkdir(mode=0o700, exist_ok=True)
            self._control.unlink(missing_ok=True)  # of a worker that crashed
            commands = socket.socket(socket.AF_UNIX)
            commands.bind(str(self._control))
            commands.listen()
        except OSError as error:  # it serves all the same; the next deployment ends it before it starts its own
            log().error("no handover", error=str(error))
            return
        threading.Thread(target=self._obey, args=(commands,), name="handover", daemon=True).start()

    def _is_in_use(self) -> bool:
        """Whether the state names this deployment; there is none before the first one is in use."""
        try:
            state = read_json(self._state)
            return state["pid"] == os.getppid() and living(state["pid"], state["process_started"]) is not None
        except (OSError, ValueError, KeyError, TypeError):
            return False

    async def accept(self) -> None:
        """Accept connections of the shared socket; nothing happens if it does already."""
        if self._accepting is not None:
            return
        server = self._server

        make: Any = server.config.http_protocol_class

        def protocol() -> asyncio.Protocol:  # as uvicorn makes its own
            return make(config=server.config, server_state=server.server_state, app_state=server.lifespan.state)

        shared = socket.socket(fileno=os.dup(self._listener))
        self._accepting = await self._loop.create_server(protocol, sock=shared, backlog=BACKLOG)
        server.servers.append(self._accepting)  # pyright: ignore[reportArgumentType]  # uvicorn closes these when it stops
        log().info("accepting", port=shared.getsockname()[1])

    async def release(self) -> None:
        """Accept no more, end each connection with its next response, and wait until all are closed, at most `RELEASE_S`."""
        if self._accepting is not None:
            self._accepting.close()
            self._accepting = None
        state = self._server.server_state
        BoundedProtocol.last_requests = True
        for one in list(state.connections):
            if isinstance(one, BoundedProtocol):
                one.close_after_response()
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_S):
                while connections := [one for one in state.connections if isinstance(one, BoundedProtocol)]:
                    _close_idle(connections, self._loop.time() - IDLE_S)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(asyncio.shield(connections[0].gone), 1)
        log().info("released", open_connections=len(state.connections))

    def _obey(self, commands: socket.socket) -> None:
        while True:
            try:
                connection, _ = commands.accept()
            except OSError:  # too many open files
                time.sleep(1)
                continue
            with connection, suppress(OSError):  # the caller is gone
                connection.settimeout(COMMAND_S)
                self._respond(connection, connection.recv(64).decode("ascii", "replace"))

    def _respond(self, connection: socket.socket, command: str) -> None:
        if command == LISTENER:
            socket.send_fds(connection, [_OK.encode()], [self._listener])
            return
        does = {ACCEPT: self.accept, RELEASE: self.release}.get(command)
        if does is None:
            connection.sendall(f"unknown command: {command}".encode())
            return
        try:
            asyncio.run_coroutine_threadsafe(does(), self._loop).result(RELEASE_S + COMMAND_S)
            connection.sendall(_OK.encode())
        except Exception as error:
            connection.sendall(f"{type(error).__name__}: {error}"[:500].encode())


def _close_idle(connections: list[BoundedProtocol], before: float) -> None:
    """Close connections that wait for a request since before this time, by the loop's clock."""
    for one in connections:
        since = one.waits_since()
        if since is not None and since < before:
            one.transport.close()


def variable(listener: socket.socket, control: Path, state: Path) -> dict[str, str]:
    """Return the environment variable for a process that inherits `listener`."""
    value = {"listener": listener.fileno(), "control": str(control), "state": str(state)}
    return {VARIABLE: json.dumps(value)}


def ask(control: Path, command: str) -> socket.socket | None:
    """Send a command to a worker, and wait until it is obeyed. Blocks, at most `RELEASE_S` and twice `COMMAND_S`.

    Returns:
        The listening socket if that is asked for.

    Raises:
        OSError: No worker listens there, it could not obey, or did not in time.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(RELEASE_S + 2 * COMMAND_S)
        connection.connect(str(control))
        connection.sendall(command.encode())
        response, files, _, _ = socket.recv_fds(connection, 1024, 1)
        if response.decode() != _OK:
            raise OSError(response.decode() or "the worker ended")
        listener = socket.socket(fileno=files[0]) if files else None
    if listener is not None:
        listener.set_inheritable(False)  # else whatever this program starts would hold the port
    return listener


def install() -> None:
    """Begin the handover when uvicorn has started, if this process was deployed. BentoML starts uvicorn itself."""
    value = os.environ.get(VARIABLE)
    if not value:
        return
    given, start = json.loads(value), uvicorn.Server.startup

    async def startup(server: uvicorn.Server, *args: Any, **kwargs: Any) -> None:
        await start(server, *args, **kwargs)
        await Handover(server, given["listener"], Path(given["control"]), Path(given["state"])).start()

    uvicorn.Server.startup = startup  # type: ignore[method-assign]
