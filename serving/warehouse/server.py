"""The warehouse server: holds a chDB folder and serves other processes in the part of ClickHouse's HTTP protocol that
clickhouse-connect uses.

A statement is the body, or the parameter `query` followed by the body; `param_<name>` binds a value, every other parameter is a
setting. An INSERT carries its rows after the line that names their format. Errors are returned as a ClickHouse server returns
them, with the code in a header.

A client with the password may run any statement, also one that reads or writes files (INTO OUTFILE, file()). The password is
stored in a file that only this user can read, and this user could read and write those files anyway. The server listens on
127.0.0.1 only.
"""

import asyncio
import hmac
import json
import os
import re
import secrets
import tempfile
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from data.artifacts import write_text
from data.errors import WarehouseError
from serving.settings import WarehouseSettings
from serving.warehouse.connect import hold, server_file, warehouse_server_client

HOST = "127.0.0.1"
READERS, WRITERS = 2, 2
"""Connections to the engine. Reads have their own, so that a slow query does not delay a writer; each runs on one thread."""
WAIT_S = 20.0
"""Time that a request waits for a free connection; then 503."""
READ_LIMIT_S = 60
"""A read is cancelled after this time: its client has given up by then, and the server must be able to stop."""
_THREADS = {"max_threads": "1"}
_LEADING = rb"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*"
_INSERT = re.compile(_LEADING + rb"INSERT\s+INTO\s[^;]*?\bFORMAT\s+(\w+)\s*?\n", re.IGNORECASE | re.DOTALL)
_READS = re.compile(_LEADING + rb"(SELECT|WITH|SHOW|DESCRIBE|EXISTS|EXPLAIN)\b", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"Code: (\d+)")
_NAME = re.compile(r"[A-Za-z_]\w*")
_NOT_SETTINGS = {
    "query",
    "database",
    "client_protocol_version",
    "session_id",
    "query_id",
    "wait_end_of_query",
    "enable_http_compression",
    "cancel_http_readonly_queries_on_client_close",
    "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
}


class _Pool:
    """Connections to the engine, each used by one statement at a time."""

    def __init__(self, folder: Path, count: int, settings: dict[str, str]) -> None:
        import chdb

        self.settings = settings
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        self._all = [chdb.connect(str(folder)) for _ in range(count)]
        for connection in self._all:
            connection.query(_set(settings))
            self._free.put_nowait(connection)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Any]:
        connection = await asyncio.wait_for(self._free.get(), WAIT_S)
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)

    def close(self) -> None:
        for connection in self._all:
            connection.close()


def serve_warehouse(var: Path, port: int, *, stop: threading.Event | None = None, ready: Any = None) -> None:
    """Hold the folder and serve until SIGTERM or Ctrl-C, or until `stop` is set. Blocks.

    Args:
        var: Holds `warehouse/`.
        port: On 127.0.0.1; 0: any free one.
        stop: Set it to end the server.
        ready: Called with the port once the server accepts connections.

    Raises:
        WarehouseError: Another process holds the folder, or the port is in use.
    """
    import uvicorn

    with hold(var), ExitStack() as held:
        readers = _Pool(var / "warehouse", READERS, _THREADS | {"max_execution_time": str(READ_LIMIT_S)})
        held.callback(readers.close)
        writers = _Pool(var / "warehouse", WRITERS, _THREADS)
        held.callback(writers.close)
        password = secrets.token_urlsafe(24)
        server = uvicorn.Server(
            uvicorn.Config(
                application(readers, writers, password),
                host=HOST,
                port=port,
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
            )
        )
        try:
            listener = server.config.bind_socket()
        except SystemExit:
            raise WarehouseError(
                f"Port {port} of {HOST} is in use.", remedy="Set another with GROUNDSWELL_WAREHOUSE__PORT."
            ) from None
        listener.listen()  # from here on a client waits instead of being refused
        port = listener.getsockname()[1]
        announce(var, port, password)
        held.callback(server_file(var).unlink, missing_ok=True)
        if stop is not None:
            threading.Thread(target=lambda: (stop.wait(), setattr(server, "should_exit", True)), daemon=True).start()
        if ready is not None:
            ready(port)
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal again after it has shut down
            server.run(sockets=[listener])


def announce(var: Path, port: int, password: str) -> None:
    """Write the server's file, which only this user may read."""
    path = server_file(var)
    path.unlink(missing_ok=True)
    old = os.umask(0o077)
    try:
        write_text(path, json.dumps({"pid": os.getpid(), "port": port, "password": password}))
        path.chmod(0o600)
    finally:
        os.umask(old)


def application(readers: _Pool, writers: _Pool, password: str) -> Any:
    """Return the ASGI application."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    expected = b"Basic " + b64encode(f"groundswell:{password}".encode())

    async def statement(request: Any) -> Response:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            return _refused(403, 516, "Code: 516. Authentication failed.")
        parameters = dict(request.query_params)
        body = await request.body()
        if "query" in parameters:
            body = parameters["query"].encode() + b"\n" + body
        pool = readers if _READS.match(body) else writers
        try:
            # Wait here, not on a thread: many slow reads must not use up the threads of the writes.
            async with pool.one() as connection:
                result = await run_in_threadpool(run_statement, connection, body, parameters, pool.settings)
        except TimeoutError:
            return _refused(503, 202, f"Code: 202. No connection was free within {WAIT_S:g} s.")
        except Exception as error:  # chDB's errors and those of the temporary file's disk
            text = str(error)
            code = _CODE.search(text)
            return _refused(500, int(code[1]) if code else 1000, text)
        return Response(result, media_type="application/octet-stream")

    def _refused(status: int, code: int, text: str) -> Response:
        return PlainTextResponse(text, status, {"X-ClickHouse-Exception-Code": str(code)})

    async def ping(_: Any) -> Response:
        return PlainTextResponse("Ok.\n")

    return Starlette(routes=[Route("/", statement, methods=["GET", "POST"]), Route("/ping", ping)])


def run_statement(connection: Any, body: bytes, parameters: dict[str, str], standing: dict[str, str] = _THREADS) -> bytes:
    """Run one statement on a connection of chDB; return the result's bytes in the format that it names, else TabSeparated.

    Args:
        connection: Not used by another statement meanwhile.
        body: The statement, and an INSERT's rows.
        parameters: Of the request.
        standing: The connection's own settings, restored afterwards.
    """
    bound = {key[6:]: value for key, value in parameters.items() if key.startswith("param_")}
    settings = {key: value for key, value in parameters.items() if key not in _NOT_SETTINGS and not key.startswith("param_")}
    for name in (*bound, *settings):
        if not _NAME.fullmatch(name):
            raise ValueError(f"Code: 115. Invalid name of a setting or parameter: {name!r}.")
    if settings:
        connection.query(_set(settings))
    try:
        return _run(connection, body, bound)
    finally:
        if settings:
            connection.query(_set(dict.fromkeys(settings, "DEFAULT") | standing))


def _run(connection: Any, body: bytes, bound: dict[str, str]) -> bytes:
    if not (insert := _INSERT.match(body)):
        return connection.query(body.decode("utf-8", errors="replace"), "TabSeparated", params=bound or None).bytes() or b""
    head = insert[0].decode()
    with tempfile.NamedTemporaryFile(prefix="groundswell-block-") as rows:
        rows.write(memoryview(body)[insert.end() :])
        rows.flush()
        into = head[: head.upper().rindex("FORMAT")]
        connection.query(f"{into} FROM INFILE {_quoted(rows.name)} COMPRESSION 'none' FORMAT {insert[1].decode()}")
    return b""


def _set(settings: dict[str, str]) -> str:
    return "SET " + ", ".join(f"{name} = {value if value == 'DEFAULT' else _quoted(value)}" for name, value in settings.items())


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def ensure_server(var: Path) -> Iterator[None]:
    """Ensure that a server of the warehouse runs during the block: the one in the settings, a running one, or a thread here.

    Raises:
        WarehouseError: The folder is held by a process that does not respond, or cannot be opened.
    """
    settings = WarehouseSettings.load()
    if settings.url is not None or (server_file(var).exists() and warehouse_server_client(var, settings)):
        yield
        return
    stop, ready = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def serve() -> None:
        try:
            serve_warehouse(var, 0, stop=stop, ready=lambda _: ready.set())
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=serve, name="warehouse")
    thread.start()
    ready.wait()
    try:
        if failed:
            raise failed[0]
        yield
    finally:
        stop.set()
        thread.join()
