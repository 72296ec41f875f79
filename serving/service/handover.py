"""How a deployment takes the port of the one before it, and gives it away, without refusing a connection.

All deployments on a port share one listening socket: each process inherits it when it starts, and the next deployment gets it
from a process of the one before, through its control socket. So connections always wait in the same queue, even when a crashed
process is replaced. A process accepts on command, or, when it starts, if the deployment's state names its parent.
"""

import asyncio
import json
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn

from data.artifacts import read_json
from serving.processes import living
from serving.service import control
from serving.service.accepting import Acceptor, OpenConnections
from serving.service.counters import COUNTERS, counters
from serving.service.logs import log
from serving.service.middleware.edge import BoundedProtocol

VARIABLE = "_GROUNDSWELL_HANDOVER"
"""Not a setting. JSON of `listener` (number of the inherited socket), `control` (a path in the folder of the control sockets),
`state` (the deployment's file) and `processes` (their number)."""
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


class Handover:
    """The side of a process of the service. One for each process."""

    def __init__(self, server: uvicorn.Server, listener: int, state: Path, counts: OpenConnections) -> None:
        """Make it.

        Args:
            server: Of this process, started.
            listener: Number of the listening socket.
            state: JSON file with the `pid` of the deployment that is in use.
            counts: Of this deployment's processes.
        """
        self._server, self._listener, self._state, self._counts = server, listener, state, counts
        self._accepting: Acceptor | None = None
        self._loop = asyncio.get_running_loop()

    def commands(self) -> dict[str, control.Does]:
        """Return what can be asked for, by name."""
        return {
            LISTENER: lambda: [self._listener],
            ACCEPT: lambda: self._in_loop(self.accept()),
            RELEASE: lambda: self._in_loop(self.release()),
        }

    async def accept_if_in_use(self) -> None:
        """Accept now if this deployment is in use. Call it when commands are obeyed, so that none is missed."""
        if self._is_in_use():
            await self.accept()

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> bytes:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(RELEASE_S + COMMAND_S)
        return b""

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
        shared = socket.socket(fileno=os.dup(self._listener))
        self._accepting = accept_for(self._server, shared, self._counts)
        log().info("accepting", port=shared.getsockname()[1])

    async def release(self) -> None:
        """Accept no more, end each connection with its next response, and wait until all are closed, at most `RELEASE_S`."""
        if self._accepting is not None:
            self._accepting.close()
            await self._accepting.wait_closed()
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


def accept_for(server: uvicorn.Server, listener: socket.socket, counts: OpenConnections) -> Acceptor:
    """Accept the connections of a socket for a server, which closes the acceptor when it stops."""
    make: Any = server.config.http_protocol_class

    def protocol() -> asyncio.Protocol:  # as uvicorn makes its own
        return make(config=server.config, server_state=server.server_state, app_state=server.lifespan.state)

    accepting = Acceptor(listener, protocol, server.server_state.connections, counts, server.config.ssl)
    server.servers.append(accepting)  # pyright: ignore[reportArgumentType]
    return accepting


def _accept_in_turns(server: uvicorn.Server, counts: OpenConnections) -> None:
    """Let acceptors replace the servers that uvicorn has made."""
    made, server.servers = server.servers, []
    for one in made:
        sockets = [socket.socket(fileno=os.dup(each.fileno())) for each in one.sockets]
        one.close()
        for each in sockets:
            accept_for(server, each, counts)


def _close_idle(connections: list[BoundedProtocol], before: float) -> None:
    """Close connections that wait for a request since before this time, by the loop's clock."""
    for one in connections:
        since = one.waits_since()
        if since is not None and since < before:
            one.transport.close()


def variable(listener: socket.socket, control_path: Path, state: Path, processes: int) -> dict[str, str]:
    """Return the environment variable for a service that inherits `listener`."""
    value = {"listener": listener.fileno(), "control": str(control_path), "state": str(state), "processes": processes}
    return {VARIABLE: json.dumps(value)}


def ask_for_listener(folder: Path) -> socket.socket | None:
    """Return the listening socket of a deployment, from the first process that gives it; None: none does. Blocks."""
    for path in control.sockets_in(folder):
        with suppress(OSError):
            _, files = control.ask(path, LISTENER, limit_s=COMMAND_S)
            listener = socket.socket(fileno=files[0])
            listener.set_inheritable(False)  # else whatever this program starts would hold the port
            return listener
    return None


def given_processes() -> int | None:
    """Return the number of processes that the deployment waits for; None: this one was not deployed."""
    given = _given()
    return given["processes"] if given else None


@cache
def service_folder() -> Path | None:
    """Return the folder that the processes of this service share; None: it cannot be made. For these processes only."""
    given = _given()
    try:
        return Path(given["control"]).parent if given else control.folder_of_parent()
    except OSError as error:
        log().error("the processes share no folder", error=str(error))
        return None


def _given() -> dict[str, Any] | None:
    """Return what the deployment gave to this process; None: it was not deployed."""
    value = os.environ.get(VARIABLE)
    return json.loads(value) if value else None


def install(number: int, processes: int) -> None:
    """Obey commands when uvicorn has started, which BentoML starts itself. A process that was not deployed has no handover.

    Args:
        number: Of this process in its service, at least 1.
        processes: Of the service.
    """
    given, start, stop = _given(), uvicorn.Server.startup, uvicorn.Server.shutdown

    async def startup(server: uvicorn.Server, *args: Any, **kwargs: Any) -> None:
        folder = service_folder()
        counters.share(folder, number, processes)  # before anything asks for them
        await start(server, *args, **kwargs)
        counts = OpenConnections(folder, number)
        handover = Handover(server, given["listener"], Path(given["state"]), counts) if given else None
        if folder is not None:
            try:
                control.obey(folder, number, {COUNTERS: counters.respond} | (handover.commands() if handover else {}))
            except OSError as error:  # it serves all the same; the next deployment ends it before it starts its own
                log().error("no commands are obeyed", error=str(error))
        if handover:
            await handover.accept_if_in_use()
        else:
            _accept_in_turns(server, counts)

    async def shutdown(server: uvicorn.Server, *args: Any, **kwargs: Any) -> None:
        counters.leave()
        await stop(server, *args, **kwargs)

    uvicorn.Server.startup = startup  # type: ignore[method-assign]
    uvicorn.Server.shutdown = shutdown  # type: ignore[method-assign]
