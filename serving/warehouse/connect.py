"""One client for every reader and writer, whatever answers: a ClickHouse server, the process that holds chDB, or chDB right here.

A folder of chDB belongs to one process, its owner, which a lock enforces. `groundswell warehouse serve` (or `stream up`, which
starts it) owns it for the others and answers them on 127.0.0.1 in ClickHouse's own HTTP protocol, as a server would.
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
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())  # what it logs as an error it raises too


class WarehouseAway(WarehouseError):
    """Nobody answers; somebody may later."""


def owner_file(var: Path) -> Path:
    """Where the owner says who and where it is; readable by this user only, since it holds the password."""
    return var / "warehouse.owner.json"


@contextmanager
def connect(var: Path, *, own: bool = True) -> Iterator[Any]:
    """A clickhouse-connect client of the warehouse, its schema up to date. A client is for one thread at a time.

    Args:
        var: The folder that holds `warehouse/`.
        own: Hold chDB here if there is no server and no owner. A process that lives beside others must not: they could not read.

    Raises:
        WarehouseAway: Nobody answers.
        WarehouseError: The folder is held by a process that does not answer, or the schema is of another version.
    """
    settings = WarehouseSettings.load()
    if settings.url is not None:
        client = server_client(settings)
    elif owner_file(var).exists() and (found := owner_client(var, settings)):
        client = found
    elif own:
        with hold(var) as client:
            yield client
        return
    else:
        raise WarehouseAway(
            "The message database is not running.",
            expected=f"an owner that answers, named in {owner_file(var)}",
            remedy="groundswell stream up, or groundswell warehouse serve; or name a server with GROUNDSWELL_WAREHOUSE__URL.",
        )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def hold(var: Path) -> Iterator[Any]:
    """ChDB in this process, which owns the folder until the block ends.

    Raises:
        WarehouseError: Another process owns it, or it cannot be opened.
    """
    import clickhouse_connect

    folder = var / "warehouse"
    try:
        var.mkdir(parents=True, exist_ok=True)
        lock = FileLock(var / "warehouse.lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise WarehouseError(
            f"The warehouse {folder} belongs to another process.",
            found=_owner(var),
            remedy="Stop it, or name another folder with GROUNDSWELL_PATHS__VAR_DIR.",
        ) from None
    except OSError as error:
        raise WarehouseError(f"The warehouse {folder} cannot be opened.", found=error) from error
    try:
        folder.mkdir(exist_ok=True)
        owner_file(var).unlink(missing_ok=True)  # left by an owner that was killed
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


def server_client(settings: WarehouseSettings) -> Any:
    """A client of the server named in the settings, which get the schema if they lack it.

    Raises:
        WarehouseAway: It does not answer or lets us not in.
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
        raise WarehouseAway(
            f"ClickHouse does not answer at {where}.",
            found=_without_password(first_line(error), url),
            remedy="Mend GROUNDSWELL_WAREHOUSE__URL, such as http://user:password@host:8123/database.",
        ) from None
    try:
        migrate(client)
    except WarehouseError:
        client.close()
        raise
    except Exception as error:
        client.close()
        raise WarehouseError(
            f"ClickHouse at {where} does not take the schema.",
            found=_without_password(first_line(error), url),
            remedy="The user needs the rights to create, alter and drop tables in its database.",
        ) from None
    return client


def _without_password(text: str, url: str) -> str:
    """An address that cannot be read is quoted by whoever could not read it, in part or in full."""
    secret = url.rpartition("@")[0].partition("//")[2].partition(":")[2]
    for part in sorted({secret, unquote(secret), *re.split(r"[/?#:@]", secret)}, key=len, reverse=True):
        text = text.replace(part, "…") if part else text
    return text


def owner_client(var: Path, settings: WarehouseSettings) -> Any | None:
    """A client of the process that holds the folder; none where it does not answer."""
    import clickhouse_connect

    try:
        owner = read_json(owner_file(var))
        return clickhouse_connect.get_client(
            host="127.0.0.1",
            port=owner["port"],
            username="groundswell",
            password=owner["password"],
            compress=False,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=settings.timeout_s,
            autogenerate_session_id=False,
        )
    except Exception:  # gone, or going: the file is of its last days
        return None


def first_line(error: BaseException) -> str:
    """What an error of ClickHouse says, without its stack."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]


def _owner(var: Path) -> str:
    try:
        return f"process {read_json(owner_file(var))['pid']}"
    except (OSError, ValueError, KeyError):
        return "a process that does not answer others"
