"""The owner of a chDB folder: it answers other processes in ClickHouse's HTTP protocol, the part that clickhouse-connect speaks.

A statement is the body, or the parameter `query` followed by the body; `param_<name>` binds a value, every other parameter is a
setting. An INSERT carries its rows after the line that names their format. Errors come back as a server sends them, with the
code in a header.
"""

import hmac
import json
import os
import queue
import re
import secrets
import tempfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.artifacts import write_text
from data.errors import WarehouseError
from serving.settings import WarehouseSettings
from serving.warehouse.connect import hold, owner_client, owner_file

HOST = "127.0.0.1"
READERS, WRITERS = 2, 2
"""Connections to the engine. Reads have their own, so that a slow question holds up no writer; each runs on one thread."""
WAIT_S = 20.0
"""For a free connection; then 503."""
_INSERT = re.compile(rb"\s*INSERT\s+INTO\s[^;]*?\bFORMAT\s+(\w+)\s*?\n", re.IGNORECASE | re.DOTALL)
_READS = re.compile(rb"\s*(SELECT|WITH|SHOW|DESCRIBE|EXISTS)\b", re.IGNORECASE)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE = re.compile(r"Code: (\d+)")
_SETTING = re.compile(r"[A-Za-z_]\w*")
_NOT_SETTINGS = {
    "query",
    "database",
    "client_protocol_version",
    "session_id",
    "query_id",
    "wait_end_of_query",
    "enable_http_compression",
}


class _Pool:
    def __init__(self, folder: Path, count: int) -> None:
        import chdb

        self._free: queue.Queue[Any] = queue.Queue()
        self._all = [chdb.connect(str(folder)) for _ in range(count)]
        for connection in self._all:
            connection.query("SET max_threads = 1")
            self._free.put(connection)

    @contextmanager
    def one(self) -> Iterator[Any]:
        connection = self._free.get(timeout=WAIT_S)
        try:
            yield connection
        finally:
            self._free.put(connection)

    def close(self) -> None:
        for connection in self._all:
            connection.close()


def serve_warehouse(var: Path, port: int, *, stop: threading.Event | None = None, ready: Any = None) -> None:
    """Own the folder and answer until SIGTERM or Ctrl-C, or until `stop` is set. Blocks.

    Args:
        var: Holds `warehouse/`.
        port: On 127.0.0.1; 0: any free one.
        stop: Ends it.
        ready: Called with the port when others may come.

    Raises:
        WarehouseError: Another process owns the folder, or the port is taken.
    """
    import uvicorn

    with hold(var) as client:
        client.command("SELECT 1")
        # The engine lives as long as a connection to it: `client` keeps it, the pools share it.
        readers, writers = _Pool(var / "warehouse", READERS), _Pool(var / "warehouse", WRITERS)
        password = secrets.token_urlsafe(24)
        app = application(readers, writers, password)
        server = uvicorn.Server(
            uvicorn.Config(
                app, host=HOST, port=port, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=5
            )
        )
        try:
            listener = server.config.bind_socket()
        except SystemExit:
            raise WarehouseError(
                f"Port {port} of {HOST} is taken.", remedy="Name another with GROUNDSWELL_WAREHOUSE__PORT."
            ) from None
        port = listener.getsockname()[1]
        announce(var, port, password)
        if stop is not None:
            threading.Thread(target=lambda: (stop.wait(), setattr(server, "should_exit", True)), daemon=True).start()
        if ready is not None:
            ready(port)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            pass  # uvicorn has shut down and tells its caller by the signal
        finally:
            owner_file(var).unlink(missing_ok=True)
            readers.close()
            writers.close()


def announce(var: Path, port: int, password: str) -> None:
    """Say where the owner answers; only this user may read it."""
    path = owner_file(var)
    path.unlink(missing_ok=True)
    old = os.umask(0o077)
    try:
        write_text(path, json.dumps({"pid": os.getpid(), "port": port, "password": password}))
        path.chmod(0o600)
    finally:
        os.umask(old)


def application(readers: _Pool, writers: _Pool, password: str) -> Any:
    """The ASGI application."""
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
        return await run_in_threadpool(_answer, body, parameters)

    def _answer(body: bytes, parameters: dict[str, str]) -> Response:
        pool = readers if _READS.match(body) else writers
        try:
            with pool.one() as connection:
                return Response(run_statement(connection, body, parameters), media_type="application/octet-stream")
        except queue.Empty:
            return _refused(503, 202, f"Code: 202. No connection was free within {WAIT_S:g} s.")
        except Exception as error:  # chDB's errors and those of the temporary file's disk
            text = str(error)
            code = _CODE.search(text)
            return _refused(500, int(code[1]) if code else 1000, text)

    def _refused(status: int, code: int, text: str) -> Response:
        return PlainTextResponse(text, status, {"X-ClickHouse-Exception-Code": str(code)})

    async def ping(_: Any) -> Response:
        return PlainTextResponse("Ok.\n")

    return Starlette(routes=[Route("/", statement, methods=["GET", "POST"]), Route("/ping", ping)])


def run_statement(connection: Any, body: bytes, parameters: dict[str, str]) -> bytes:
    """Run one statement on a connection of chDB; gives the result's bytes in the format that it names, else TabSeparated."""
    settings = {key: value for key, value in parameters.items() if key not in _NOT_SETTINGS and not key.startswith("param_")}
    bound = {key[6:]: value for key, value in parameters.items() if key.startswith("param_")}
    clause = ", ".join(f"{_name(key)} = {_quoted(value)}" for key, value in settings.items())
    if insert := _INSERT.match(body):
        head = insert[0].decode()
        with tempfile.NamedTemporaryFile(prefix="groundswell-block-") as rows:
            rows.write(memoryview(body)[insert.end() :])
            rows.flush()
            into = head[: _last(head)]
            source = f"FROM INFILE {_quoted(rows.name)} COMPRESSION 'none'"
            connection.query(f"{into} {source} {'SETTINGS ' + clause if clause else ''} FORMAT {insert[1].decode()}")
        return b""
    sql = body.decode("utf-8", errors="replace")
    named = _FORMAT.search(sql)
    if clause:
        at = named.start() if named else len(sql.rstrip().rstrip(";"))
        sql = f"{sql[:at]} SETTINGS {clause} {sql[at:]}"
    return connection.query(sql, named[1] if named else "TabSeparated", params=bound or None).bytes() or b""


def _last(head: str) -> int:
    return [match.start() for match in re.finditer(r"\bFORMAT\b", head, re.IGNORECASE)][-1]


def _name(key: str) -> str:
    if not _SETTING.fullmatch(key):
        raise ValueError(f"Code: 115. {key!r} is no setting.")
    return key


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def some_owner(var: Path) -> Iterator[None]:
    """Somebody answers for the warehouse while the block runs: the server, the owner that is there, or a thread of this process.

    Raises:
        WarehouseError: The folder is held by a process that does not answer, or cannot be opened.
    """
    settings = WarehouseSettings.load()
    if settings.url is not None or (owner_file(var).exists() and owner_client(var, settings)):
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
