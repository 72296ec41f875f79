"""One client for every reader and writer: of a ClickHouse server, of the warehouse server, or of chDB in this process.

Only one process can hold a folder of chDB; a lock enforces that. `groundswell warehouse serve` (or `stream up`, which starts it)
is the warehouse server: it holds the folder and serves the other processes on 127.0.0.1 in ClickHouse's HTTP protocol.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from filelock import FileLock, Timeout

from data.artifacts import read_json
from data.errors import WarehouseError
from serving.settings import WarehouseSettings
from serving.warehouse.migrate import migrate

CONNECT_TIMEOUT_S = 3
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())  # it also raises the errors that it logs


class WarehouseUnavailable(WarehouseError):
    """No server responds; one may later."""


def server_file(var: Path) -> Path:
    """Return the file with the warehouse server's pid, port and password; only this user can read it."""
    return var / "warehouse.owner.json"


def has_warehouse(var: Path) -> bool:
    """Return whether there is a warehouse: a server is set, a process holds the embedded one, or its folder exists."""
    return WarehouseSettings.load().url is not None or server_file(var).exists() or (var / "warehouse").is_dir()


@contextmanager
def connect(var: Path, *, own: bool = True) -> Iterator[Any]:
    """Yield a clickhouse-connect client of the warehouse with a current schema. A client is for one thread at a time.

    Args:
        var: The folder that holds `warehouse/`.
        own: Hold chDB in this process if no server runs. Use False in a process that runs with others: they could not read.

    Raises:
        WarehouseUnavailable: No server responds.
        WarehouseError: The folder is held by a process that does not respond, or the schema is of another version.
    """
    settings = WarehouseSettings.load()
    if settings.url is not None:
        client = clickhouse_client(settings)
    elif server_file(var).exists() and (running := warehouse_server_client(var, settings)):
        client = running
    elif own:
        with hold(var) as client:
            yield client
        return
    else:
        raise WarehouseUnavailable(
            "The message database is not running.",
            expected=f"a warehouse server that responds, with its address in {server_file(var)}",
            remedy="groundswell stream up, or groundswell warehouse serve; or set a server with GROUNDSWELL_WAREHOUSE__URL.",
        )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def hold(var: Path) -> Iterator[Any]:
    """Hold the folder in this process until the block ends; yields a client of chDB.

    Raises:
        WarehouseError: Another process holds the folder, or it cannot be opened.
    """
    import clickhouse_connect

    folder = var / "warehouse"
    try:
        var.mkdir(parents=True, exist_ok=True)
        lock = FileLock(var / "warehouse.lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise WarehouseError(
            f"The warehouse {folder} is held by another process.",
            found=_holder(var),
            remedy="Stop it, or set another folder with GROUNDSWELL_PATHS__VAR_DIR.",
        ) from None
    except OSError as error:
        raise WarehouseError(f"The warehouse {folder} cannot be opened.", found=error) from error
    try:
        folder.mkdir(exist_ok=True)
        server_file(var).unlink(missing_ok=True)  # left by a killed server
        client = clickhouse_connect.get_client(interface="chdb", path=str(folder))
    except Exception as error:  # chDB has no error class of its own
        lock.release()
        raise WarehouseError(f"The warehouse {folder} cannot be opened.", found=first_line(error)) from error
    try:
        migrate(client)
        yield client
    finally:
        client.close()
        lock.release()


def clickhouse_client(settings: WarehouseSettings) -> Any:
    """Return a client of the ClickHouse server in the settings; creates the schema if it is missing.

    Raises:
        WarehouseUnavailable: The server does not respond or refuses the login.
        WarehouseError: Its schema is of another version, or the user may not change it.
    """
    import clickhouse_connect

    assert settings.url is not None
    url = settings.url.get_secret_value()
    where = url.rpartition("@")[2]
    try:
        client = clickhouse_connect.get_client(
            dsn=url,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=settings.timeout_s,
            autogenerate_session_id=False,
        )
    except Exception as error:  # clickhouse-connect raises unrelated classes
        raise WarehouseUnavailable(
            f"ClickHouse at {where} does not respond.",
            found=_without_password(first_line(error), url),
            remedy="Fix GROUNDSWELL_WAREHOUSE__URL, such as http://user:password@host:8123/database.",
        ) from None
    try:
        migrate(client)
    except WarehouseError:
        client.close()
        raise
    except Exception as error:
        client.close()
        raise WarehouseError(
            f"ClickHouse at {where} refused the schema.",
            found=_without_password(first_line(error), url),
            remedy="The user needs the rights to create, alter and drop tables in its database.",
        ) from None
    return client


def _without_password(text: str, url: str) -> str:
    """Remove the password from an error text: a client that cannot parse the address quotes it, in part or in full."""
    secret = url.rpartition("@")[0].partition("//")[2].partition(":")[2]
    for part in sorted({secret, unquote(secret), *re.split(r"[/?#:@]", secret)}, key=len, reverse=True):
        text = text.replace(part, "…") if part else text
    return text


def warehouse_server_client(var: Path, settings: WarehouseSettings) -> Any | None:
    """Return a client of the warehouse server of this folder; None where it does not respond."""
    import clickhouse_connect

    try:
        server = read_json(server_file(var))
        return clickhouse_connect.get_client(
            host="127.0.0.1",
            port=server["port"],
            username="groundswell",
            password=server["password"],
            compress=False,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=settings.timeout_s,
            autogenerate_session_id=False,
        )
    except Exception:  # the server has ended, or is ending, and its file is left
        return None


def first_line(error: BaseException) -> str:
    """Return the first line of an error of ClickHouse, without its stack."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]


def _holder(var: Path) -> str:
    try:
        return f"process {read_json(server_file(var))['pid']}"
    except (OSError, ValueError, KeyError):
        return "a process that does not serve others"
