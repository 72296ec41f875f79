"""The warehouse server: the same results as chDB itself; no loss when it is killed or the disk is full."""

import base64
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data.artifacts import read_json
from data.errors import WarehouseError
from data.forgetting import Request
from serving.settings import WarehouseSettings
from serving.warehouse import server
from serving.warehouse.blocks import UnreadableRows, write_block
from serving.warehouse.connect import connect, hold, server_file
from serving.warehouse.forget import find_left, find_messages, forget_messages, forget_topic
from serving.warehouse.migrate import migrate, pending, roll_back
from serving.warehouse.questions import QUESTIONS, ask
from serving.warehouse.server import ensure_server, serve_warehouse

pytestmark = pytest.mark.integration

STARTED = datetime.now(UTC)
NOW = STARTED.isoformat()
AROUND = {"since": STARTED - timedelta(hours=1), "until": STARTED + timedelta(hours=1)}
"""The default, the last hour, may end within a run of the tests."""
_SERVE = "import sys, pathlib; from serving.warehouse.server import serve_warehouse; " + (
    "serve_warehouse(pathlib.Path(sys.argv[1]), 0, ready=lambda port: print(port, flush=True))"
)
_SLOW = "SELECT sum(sleepEachRow(1)) FROM numbers(60) SETTINGS max_block_size = 1"


@contextmanager
def served(var: Path, **environment):
    """Start a server in a process of its own; yields once it responds."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(var)], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip().isdigit()
        yield process
    finally:
        process.terminate()
        try:
            process.wait(150)
        finally:
            process.kill()
            process.stdout.close()


@pytest.fixture(scope="module")
def var(tmp_path_factory):
    """The folder of a server that runs as long as the module."""
    var = tmp_path_factory.mktemp("var")
    with served(var):
        yield var


@pytest.fixture
def client(var):
    with connect(var, own=False) as client:
        yield client


@pytest.fixture
def topic(request):
    return request.node.name


def rows(topic, offsets, text="x", partition=0):
    row = {
        "topic": topic,
        "partition": partition,
        "source": "shop",
        "text": text,
        "produced_at": NOW,
        "predicted_at": NOW,
        "label": "negative",
        "confidence": 0.7,
        "probabilities": [0.7, 0.2, 0.1],
        "tier": "base",
        "model_version": "v",
    }
    return [json.dumps({**row, "offset": offset, "id": str(offset)}).encode() for offset in offsets]


def write(client, topic, first, last, **changes):
    write_block(client, topic, rows(topic, range(first, last), **changes), {changes.get("partition", 0): (first, last - 1)})


def counts(client, topic):
    """Count the messages in the table and in each rollup."""
    tables = ["SELECT count() FROM predictions FINAL"]
    tables += [f"SELECT sum(messages) FROM rollup_{name} FINAL" for name in ("second", "minute", "hour")]
    return [
        client.query(f"{sql} WHERE topic = {{topic:String}}", parameters={"topic": topic}).result_rows[0][0] for sql in tables
    ]


def post(var, sql, *, password=None, **parameters):
    """Send a statement by plain HTTP; return status, ClickHouse's code and the text."""
    who = read_json(server_file(var))
    secret = base64.b64encode(f"groundswell:{password or who['password']}".encode()).decode()
    query = urllib.parse.urlencode(parameters)
    request = urllib.request.Request(
        f"http://127.0.0.1:{who['port']}/?{query}", sql.encode(), {"Authorization": f"Basic {secret}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, None, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["X-ClickHouse-Exception-Code"], error.read().decode()


def test_server_gives_the_same_results_as_chdb(tmp_path):
    def everything(client):
        yield client.command("CREATE TABLE t (a UInt32, s String, x Nullable(Float64)) ENGINE = MergeTree ORDER BY a") and None
        client.insert("t", [[1, "it's \\ \n\t;", None], [2, "FORMAT JSON\n", 0.5]], column_names=["a", "s", "x"])
        client.raw_insert("t", insert_block=b'{"a": 3, "s": "\\u00fc; SETTINGS"}\n{"a": 4, "x": 1}', fmt="JSONEachRow")
        client.raw_insert("t", ["s", "a"], insert_block=b"five\t5\n", fmt="TabSeparated", settings={"max_insert_threads": "1"})
        client.command("INSERT INTO t VALUES (6, 'FORMAT x', 1)")
        client.command("INSERT INTO t SELECT a + 10, s, x FROM t WHERE a = {a:UInt32}", parameters={"a": 3})
        yield client.query("SELECT * FROM t ORDER BY a").result_rows
        yield client.query("-- a comment; FORMAT JSON\nSELECT count() AS n, sum(a) FROM t -- and one at the end").result_rows
        yield client.query("/* FORMAT x */ WITH 1 AS y SELECT y, a FROM t ORDER BY a LIMIT 2").result_rows
        yield client.query("(SELECT 1) UNION ALL (SELECT 1)").result_rows
        for value in ("it's", "\\", "a\nb\tc", "", "{a:UInt8}", "x'; DROP TABLE t; --", "ü🙂"):
            yield client.query("SELECT {v:String}, length({v:String})", parameters={"v": value}).result_rows
        yield client.query("SELECT {v:Array(String)}", parameters={"v": ["a'b", "c"]}).result_rows
        yield client.query("SELECT getSetting('max_block_size')", settings={"max_block_size": 77}).result_rows
        yield client.query("SELECT getSetting('max_block_size')").result_rows  # one statement's settings are not the next one's
        yield client.query("SELECT 1 SETTINGS max_block_size = 5", settings={"max_threads": 2}).result_rows
        yield list(client.query("SELECT a, s FROM t ORDER BY a").named_results())
        yield client.raw_query("SELECT a FROM t ORDER BY a LIMIT 2", fmt="JSONEachRow")
        for wrong in ("SELECT * FROM nowhere", "SELEC 1", "SELECT throwIf(1)", "SELECT {unbound:String}"):
            with pytest.raises(Exception, match="Code: ") as caught:
                client.query(wrong)
            yield getattr(caught.value, "code")  # noqa: B009
        with pytest.raises(Exception, match="nonsense") as caught:
            client.query("SELECT 1", settings={"nonsense": "1"})
        with pytest.raises(UnreadableRows):
            write_block(client, "t", [b'{"partition": "zero"}'], {0: (0, 0)})
        write(client, "t", 0, 10)
        write(client, "t", 5, 20)
        yield counts(client, "t")
        yield [ask(client, question, **AROUND) for question in QUESTIONS if question not in ("latency", "lag")]
        yield [roll_back(client), len(pending(client)), migrate(client)]
        yield forget_topic(client, "t"), counts(client, "t")
        yield client.command("DROP TABLE t") and None

    with served(tmp_path / "a"), connect(tmp_path / "a", own=False) as client:
        through = list(everything(client))
    with hold(tmp_path / "b") as client:
        direct = list(everything(client))
    assert through == direct


def test_wrong_password_is_refused_and_its_file_is_private(var):
    assert stat.S_IMODE(server_file(var).stat().st_mode) == 0o600
    assert post(var, "SELECT 1") == (200, None, "1\n")
    status, code, text = post(var, "SELECT 1", password="guessed")
    assert (status, code) == (403, "516") and "guessed" not in text
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://127.0.0.1:{read_json(server_file(var))['port']}/?query=SELECT+1", timeout=10)


@pytest.mark.parametrize("name", ["a b", "a;b", "a' OR 1", "a--", "ä", "1a"])
def test_invalid_name_never_reaches_the_engine(var, name):
    assert post(var, "SELECT 1", **{name: "1"})[:2] == (500, "115")
    assert post(var, "SELECT 1", **{f"param_{name}": "1"})[:2] == (500, "115")


def test_value_of_a_setting_is_quoted(var):
    assert post(var, "SELECT 1", max_block_size="1', max_threads = '7")[0] == 500
    assert post(var, "SELECT getSetting('max_threads')") == (200, None, "1\n")


@pytest.mark.parametrize(
    "ids",
    [[str(10**18 + n) for n in range(400)], ["😀" * 60 + str(n) for n in range(40)], ["'\\" * 120 + str(n) for n in range(40)]],
)
def test_many_messages_are_forgotten_at_once(var, ids):
    with connect(var, own=False) as client:
        requests = [Request("message", one, "delete", datetime.now(UTC)) for one in ids]
        assert forget_messages(client, requests)["predictions"] == 0
        assert find_left(client, requests) == {} and find_messages(client, requests).ids == frozenset()


def test_slow_reads_do_not_delay_writes(tmp_path, topic):
    """With more reads than the server has connections or threads."""
    done, began = [], threading.Barrier(51)

    def read():
        began.wait()
        with suppress(OSError):  # the server is killed in the end
            done.append(post(tmp_path, _SLOW))

    readers = [threading.Thread(target=read) for _ in range(50)]
    with served(tmp_path) as process, connect(tmp_path, own=False) as client:
        for reader in readers:
            reader.start()
        began.wait()
        for block in range(5):
            write(client, topic, 100 * block, 100 * block + 100)
        assert done == [] and all(reader.is_alive() for reader in readers)
        process.kill()
        process.wait()
        for reader in readers:
            reader.join(150)
    with hold(tmp_path) as client:
        assert counts(client, topic) == [500] * 4


def test_read_without_a_free_connection_gets_503(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "WAIT_S", 0.1)
    monkeypatch.setattr(server, "READERS", 1)
    with ensure_server(tmp_path):
        slow = threading.Thread(target=post, args=(tmp_path, "SELECT sleep(1.5)"))
        slow.start()
        found = []
        while slow.is_alive() and not found:
            if (response := post(tmp_path, "SELECT 1"))[0] == 503:
                found.append(response)
        slow.join()
        assert found and found[0][1] == "202" and "No connection was free" in found[0][2]
        assert post(tmp_path, "SELECT 1")[0] == 200


def test_endless_read_is_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "READ_LIMIT_S", 1)
    with ensure_server(tmp_path):
        status, code, _ = post(tmp_path, "SELECT sum(cityHash64(number)) FROM system.numbers")
        assert (status, code) == (500, "159")
        assert post(tmp_path, "SELECT getSetting('max_execution_time')", max_block_size="5")[2] == "1\n"
        assert post(tmp_path, "SELECT getSetting('max_execution_time')")[2] == "1\n"


def test_second_server_is_refused_with_the_pid_of_the_first(var):
    pid = read_json(server_file(var))["pid"]
    with pytest.raises(WarehouseError, match=rf"(?s)held by another process.*process {pid}"):
        serve_warehouse(var, 0, ready=lambda port: pytest.fail("the second server must not start"))
    assert read_json(server_file(var))["pid"] == pid
    with ensure_server(var), connect(var) as client:  # finds the first
        assert client.query("SELECT 1").result_rows == [(1,)]


def test_port_in_use_is_named(var, tmp_path):
    port = read_json(server_file(var))["port"]
    with pytest.raises(WarehouseError, match=f"(?s)Port {port} .*in use.*GROUNDSWELL_WAREHOUSE__PORT"):
        serve_warehouse(tmp_path, port)
    assert not server_file(tmp_path).exists()


def test_missing_server_is_reported_with_a_remedy(tmp_path):
    with pytest.raises(WarehouseError, match=r"(?s)is not running.*groundswell warehouse serve.*GROUNDSWELL_WAREHOUSE__URL"):
        connect(tmp_path, own=False).__enter__()


def test_server_in_a_thread_releases_the_folder(tmp_path):
    for _ in range(2):
        with ensure_server(tmp_path), connect(tmp_path, own=False) as client:
            assert client.query("SELECT 1").result_rows == [(1,)]
        assert not server_file(tmp_path).exists()
    with hold(tmp_path) as client:
        assert pending(client) == []


def test_file_of_a_killed_server_is_ignored(tmp_path):
    with served(tmp_path) as process:
        process.kill()
        process.wait()
        assert server_file(tmp_path).exists()
        with pytest.raises(WarehouseError, match="message database is not running"):
            connect(tmp_path, own=False).__enter__()
        with connect(tmp_path) as client:  # holds it here
            assert client.query("SELECT 1").result_rows == [(1,)]
        assert not server_file(tmp_path).exists()  # it would name the wrong process


def test_folder_that_cannot_be_opened_is_named_and_released(tmp_path):
    (tmp_path / "warehouse").write_text("a file")
    with pytest.raises(WarehouseError, match="cannot be opened"), hold(tmp_path):
        pass
    (tmp_path / "warehouse").unlink()
    with hold(tmp_path) as client:
        client.command("INSERT INTO migrations VALUES ('0099_from_the_future', now())")
    for _ in range(2):
        with pytest.raises(WarehouseError, match="later version"), hold(tmp_path):
            pass


def test_kill_during_inserts_loses_no_acknowledged_block(tmp_path, topic):
    acknowledged: dict[int, int] = {0: 0, 1: 0}
    enough, over = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def keep_writing(partition):
        """Write like a worker: repeat a block until it is written, then the next."""
        first = 0
        while not over.is_set():
            try:
                with connect(tmp_path, own=False) as client:
                    while not over.is_set():
                        write(client, topic, first, first + 500, partition=partition)
                        first = acknowledged[partition] = first + 500
                        if min(acknowledged.values()) >= 2000:
                            enough.set()
            except WarehouseError:
                over.wait(0.05)
            except BaseException as error:
                errors.append(error)
                raise

    writers = [threading.Thread(target=keep_writing, args=(partition,)) for partition in acknowledged]
    for writer in writers:
        writer.start()
    for round_ in range(3):
        with served(tmp_path) as process:
            enough.clear()
            goal = {partition: count + 2000 for partition, count in acknowledged.items()}
            while any(acknowledged[partition] < goal[partition] for partition in goal):
                assert not errors and process.poll() is None
                over.wait(0.01)
            if round_ < 2:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                continue
            over.set()
            for writer in writers:
                writer.join(150)
            with connect(tmp_path, own=False) as client:
                assert counts(client, topic) == [sum(acknowledged.values())] * 4
    assert not errors


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_refuses_a_block_and_writes_resume_with_free_space(small_disk, topic):
    ballast = small_disk / "ballast"
    with served(small_disk), connect(small_disk, own=False) as client:
        write(client, topic, 0, 1000)
        free = shutil.disk_usage(small_disk).free
        with ballast.open("wb") as file:
            file.write(b"\0" * (free - 700_000))
        refused = None
        for block in range(1, 60):
            try:
                write(client, topic, 1000 * block, 1000 * block + 1000, text=os.urandom(400).hex())
            except WarehouseError as error:
                refused = error
                break
        assert refused is not None and not isinstance(refused, UnreadableRows)
        assert "space" in str(refused).lower(), refused
        kept = 1000 * block
        messages, *rollups = counts(client, topic)  # reads still work
        assert kept <= messages <= kept + 1000 and all(kept <= count <= messages for count in rollups)
        ballast.unlink()
        for again in (block, block + 1):  # the redelivery, and on
            write(client, topic, 1000 * again, 1000 * again + 1000)
        assert counts(client, topic) == [kept + 2000] * 4


# A ClickHouse server in the settings: the warehouse server stands for it, with the same protocol


def _url(var, monkeypatch, password=None, path=""):
    who = read_json(server_file(var))
    url = f"http://groundswell:{password or who['password']}@127.0.0.1:{who['port']}{path}"
    monkeypatch.setenv("GROUNDSWELL_WAREHOUSE__URL", url)


def test_server_of_the_settings_is_used(var, topic, monkeypatch, tmp_path):
    _url(var, monkeypatch)
    with connect(tmp_path, own=False) as client:
        write(client, topic, 0, 50)
        write(client, topic, 0, 60)
        assert counts(client, topic) == [60] * 4 and migrate(client) == []
    assert not (tmp_path / "warehouse").exists()
    with ensure_server(tmp_path):  # nothing to hold
        assert not server_file(tmp_path).exists()


@pytest.mark.parametrize("password", ["hunter-1", "hun/ter-1", "hun@ter-1", "hunter%2F1", "#hunter-1", "h:unter-1", "?hunter-1"])
def test_error_does_not_contain_the_password(var, monkeypatch, tmp_path, password):
    _url(var, monkeypatch, password)
    with pytest.raises(WarehouseError, match="GROUNDSWELL_WAREHOUSE__URL") as caught:
        connect(tmp_path).__enter__()
    assert not any(part in str(caught.value) for part in ("hun", "unter", "ter-1", "ter%2F1", "ter/1"))
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert "ter" not in repr(WarehouseSettings.load())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://groundswell:secret@127.0.0.1:port", "nonsense", "http://"])
def test_server_that_does_not_respond_is_named(url, monkeypatch, tmp_path):
    monkeypatch.setenv("GROUNDSWELL_WAREHOUSE__URL", url)
    with pytest.raises(WarehouseError, match=r"(?s)does not respond.*Fix GROUNDSWELL_WAREHOUSE__URL") as caught:
        connect(tmp_path).__enter__()
    assert "secret" not in str(caught.value)
