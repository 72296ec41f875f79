"""The supervisor with real processes that a file controls. The broker is librdkafka's, in one test a real one."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from data.errors import StreamError
from serving.processes import living
from serving.settings import StreamSettings
from serving.streaming.broker import MESSAGES, client_config, in_process_broker
from serving.streaming.lag import LagReader, PartitionLag
from serving.streaming.supervisor import child, stall, stuck, supervisor
from serving.streaming.supervisor import state_files as supervisor_files
from serving.streaming.supervisor.history import read_history
from serving.streaming.supervisor.scaling import Decision, Load
from serving.streaming.supervisor.stall import Stalls
from serving.streaming.supervisor.state_files import read_state
from serving.streaming.supervisor.supervisor import run_supervisor
from tests.waiting import until

# Writes a heartbeat each 0.1 s; ends with the status in its `behave` file; on SIGTERM it records that it left.
_PROCESS = """
import json, os, pathlib, signal, sys, threading, time
var, name = pathlib.Path(os.environ["GROUNDSWELL_PATHS__VAR_DIR"]), sys.argv[1]
beats, behave = var / "stream" / "workers", var / ("behave-" + name)
beats.mkdir(parents=True, exist_ok=True)
started = float(pathlib.Path("/proc/stat").read_text().split("btime ")[1].split()[0])
started += float(pathlib.Path("/proc/self/stat").read_text().rsplit(")")[-1].split()[19]) / os.sysconf("SC_CLK_TCK")
ended = threading.Event()
def watch_parent():
    os.read(0, 1)
    ended.set()
if "--orphan" not in sys.argv:
    threading.Thread(target=watch_parent, daemon=True).start()
def leave(*_):
    if not (behave.exists() and behave.read_text() == "stubborn"):
        ended.set()
signal.signal(signal.SIGTERM, leave)
print(name, "starts", flush=True)
while not ended.is_set():
    beat = {"name": name, "pid": os.getpid(), "started_at": started, "written_at": time.time(), "state": "running"}
    if (var / ("beat-" + name)).exists():
        beat |= json.loads((var / ("beat-" + name)).read_text())
    (beats / "x").with_name("." + name).write_text(json.dumps(beat))
    os.replace(beats / ("." + name), beats / (name + ".json"))
    word = behave.read_text() if behave.exists() else ""
    if word.isdigit():
        behave.unlink()
        print("the reason for", word, flush=True)
        os._exit(int(word))
    ended.wait(0.1)
with (var / "left").open("a") as file:
    file.write(name + "\\n")
"""


def _command(name: str) -> list[str]:
    return [sys.executable, "-c", _PROCESS, name]


class Target:
    """Returns the target that the test sets."""

    def __init__(self, target: int = 1) -> None:
        self.target = target
        self.loads: list[Load] = []

    def decide(self, now: float, load: Load) -> Decision:
        self.loads.append(load)
        return Decision(self.target, "the test wants it")


class Running:
    """A supervisor in a thread."""

    def __init__(self, var: Path, bootstrap: str, scaler: Target, others: dict[str, list[str]]) -> None:
        self.var, self.scaler = var, scaler
        self.reports: list[str] = []
        self.alarms: list[str] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=run_supervisor,
            args=(var, StreamSettings(bootstrap=bootstrap), self.stop),
            kwargs={
                "worker_command": _command,
                "others": others,
                "scaler": scaler,
                "on_change": self.reports.append,
                "notify": self.alarms.append,
            },
        )

    @property
    def state(self) -> dict:
        return read_state(self.var) or {"state": "", "children": {}}

    def child(self, name: str) -> dict:
        return self.state["children"].get(name) or {"state": "", "restarts": 0, "pid": None, "last_exit": None}

    def until_running(self, *names: str) -> None:
        until(lambda: all((self.var / "stream" / "workers" / f"{name}.json").exists() for name in names))

    def behave(self, name: str, word: str) -> None:
        written = self.var / f".behave-{name}"
        written.write_text(word)
        written.replace(self.var / f"behave-{name}")


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A broker with a topic without a consumer."""
    from confluent_kafka import Producer

    with in_process_broker() as bootstrap:
        producer = Producer(client_config(StreamSettings(bootstrap=bootstrap)))
        for _ in range(40):
            producer.produce(MESSAGES, b"{}")
        assert producer.flush(10) == 0
        yield bootstrap


@contextmanager
def supervised(var: Path, bootstrap: str, *, scaler: Target | None = None, others: dict[str, list[str]] | None = None):
    var.mkdir(parents=True, exist_ok=True)
    running = Running(var, bootstrap, scaler or Target(), others or {})
    running.thread.start()
    try:
        yield running
    finally:
        running.stop.set()
        running.thread.join(300)
        assert not running.thread.is_alive()
        assert not [one for one in psutil.process_iter() if _is_ours(one, var)], "nothing is left running"


def _is_ours(process: psutil.Process, var: Path) -> bool:
    try:
        return process.environ().get("GROUNDSWELL_PATHS__VAR_DIR") == str(var) and process.cmdline()[1:2] == ["-c"]
    except psutil.Error:
        return False


def test_everything_starts_and_ends_in_order(tmp_path, broker):
    others = {"warehouse": _command("warehouse"), "alerts": _command("alerts")}
    with supervised(tmp_path, broker, scaler=Target(2), others=others) as running:
        running.until_running("warehouse", "alerts", "w1", "w2")
        until(lambda: running.state.get("lag") == 40 and running.state["state"] == "running")
        until(lambda: running.scaler.loads[-1].running == 2)
        assert running.state["alive"] and running.state["target"] == 2 and running.state["reason"] == "the test wants it"
        assert len(running.state["partitions"]) == running.scaler.loads[-1].partitions == 4
    left = (tmp_path / "left").read_text().split()
    assert set(left[:2]) == {"w1", "w2"} and left[2:] == ["alerts", "warehouse"]
    assert running.state["state"] == "stopped" and {one["state"] for one in running.state["children"].values()} == {"stopped"}
    history, step_s = read_history(tmp_path / "stream", time.time() - 200, time.time() + 1)
    assert step_s == 1 and max(row["workers"] for row in history) == 2 and {row["lag"] for row in history} >= {40}
    assert any(row["rss_bytes"].keys() >= {"w1", "w2", "warehouse", "alerts"} for row in history)
    assert any(row["cpu"].keys() >= {"w1", "warehouse"} for row in history)
    assert (tmp_path / "stream" / "logs" / "w1.log").read_text() == "w1 starts\n"


def test_a_crashed_worker_comes_back(tmp_path, broker):
    with supervised(tmp_path, broker) as running:
        running.until_running("w1")
        for restarts in (1, 2):
            running.behave("w1", "3")
            until(lambda restarts=restarts: running.child("w1")["restarts"] == restarts)
        assert running.child("w1")["last_exit"] == "status 3: the reason for 3"
        assert running.child("w1")["state"] == "up"
        assert [text.rsplit("; ")[-1] for text in running.reports if "ended" in text] == ["restart in 0.5 s", "restart in 1 s"]


def test_a_killed_worker_comes_back(tmp_path, broker):
    with supervised(tmp_path, broker) as running:
        running.until_running("w1")
        until(lambda: running.child("w1")["pid"])
        os.kill(running.child("w1")["pid"], signal.SIGKILL)
        until(lambda: running.child("w1")["restarts"] == 1)
        assert running.child("w1")["last_exit"].startswith("SIGKILL")


def test_worker_with_an_error_in_the_settings_is_not_restarted_at_once(tmp_path, broker):
    with supervised(tmp_path, broker) as running:
        running.until_running("w1")
        running.behave("w1", str(child.CONFIG_ERROR))
        until(lambda: running.child("w1")["state"].startswith("restart in"))
        assert int(running.child("w1")["state"].split()[2]) > child.BACK_OFF_MOST_S - 5
        assert running.child("w1")["last_exit"] == "status 78: the reason for 78"


@pytest.mark.integration
def test_a_worker_that_hangs_is_replaced(tmp_path, broker, monkeypatch):
    monkeypatch.setattr(stuck, "HUNG_AFTER_S", 1.5)
    monkeypatch.setattr(supervisor, "HUNG_GRACE_S", 0.5)
    with supervised(tmp_path, broker) as running:
        running.until_running("w1")
        until(lambda: running.child("w1")["pid"])
        os.kill(running.child("w1")["pid"], signal.SIGSTOP)
        until(lambda: running.child("w1")["restarts"] == 1)
        assert running.child("w1")["last_exit"].startswith("SIGKILL")
        until(lambda: running.alarms)
        assert "w1 hangs: no heartbeat for" in running.alarms[0]


@pytest.mark.integration
def test_workers_are_started_and_stopped_as_decided(tmp_path, broker, monkeypatch):
    monkeypatch.setattr(child, "LEAVE_S", 1.0)
    with supervised(tmp_path, broker, scaler=Target(3)) as running:
        running.until_running("w1", "w2", "w3")
        running.behave("w2", "stubborn")
        until(lambda: (tmp_path / "behave-w2").exists() and running.scaler.loads[-1].running == 3)
        running.scaler.target = 1
        until(lambda: {running.child(name)["state"] for name in ("w2", "w3")} == {"stopped"})
        assert (tmp_path / "left").read_text().split() == ["w3"], "w2 did not leave and was killed"
        assert running.child("w1")["state"] == "up" and any("w2 does not leave" in text for text in running.reports)
        running.scaler.target = 2
        until(lambda: running.child("w2")["state"] == "up")


def test_without_a_broker_the_workers_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.streaming.broker.TIMEOUT_S", 0.5)
    with supervised(tmp_path, "127.0.0.1:1") as running:
        until(lambda: running.state["state"] == "waiting for the broker")
        running.until_running("w1")
        assert "The broker at 127.0.0.1:1 does not respond" in running.state["detail"] and not running.scaler.loads
        assert sum("lag of the group cannot be read" in text for text in running.reports) == 1, "reported once, not each time"


def test_settings_that_librdkafka_does_not_know_are_refused(tmp_path):
    settings = StreamSettings.model_validate({"security": {"sasl.pasword": "secret"}})
    with pytest.raises(StreamError, match=r"sasl\.pasword") as error:
        run_supervisor(tmp_path, settings, threading.Event(), worker_command=_command, others={})
    assert "secret" not in str(error.value)


def test_a_second_supervisor_is_refused(tmp_path, broker):
    with supervised(tmp_path, broker) as running:
        until(lambda: running.state.get("alive"))
        with pytest.raises(StreamError, match=f"pid {os.getpid()}"):
            run_supervisor(tmp_path, StreamSettings(bootstrap=broker), threading.Event(), worker_command=_command, others={})


def test_leftovers_of_a_killed_supervisor_are_ended(tmp_path, broker, monkeypatch):
    monkeypatch.setattr(supervisor_files, "LEFTOVERS_S", 1.0)
    environment = os.environ | {"GROUNDSWELL_PATHS__VAR_DIR": str(tmp_path)}
    orphan = subprocess.Popen([*_command("w7"), "--orphan"], env=environment, stdout=subprocess.DEVNULL)
    threading.Thread(target=orphan.wait, daemon=True).start()
    created_at = psutil.Process(orphan.pid).create_time()
    (tmp_path / "stream").mkdir(exist_ok=True)
    state = {"pid": 1, "created_at": 1.0, "children": {"w7": {"pid": orphan.pid, "created_at": created_at}}}
    (tmp_path / "stream" / "supervisor.json").write_text(json.dumps(state))
    with supervised(tmp_path, broker) as running:
        until(lambda: not psutil.pid_exists(orphan.pid))
        until(lambda: running.child("w1")["state"] == "up")


@pytest.mark.integration
def test_children_of_a_killed_supervisor_end_and_the_next_supervisor_starts(tmp_path, broker):
    program = (
        "import sys, threading, pathlib; from tests.serving.test_supervisor import _command; "
        "from serving.streaming.supervisor.supervisor import run_supervisor; from serving.settings import StreamSettings; "
        "run_supervisor(pathlib.Path(sys.argv[1]), StreamSettings(bootstrap=sys.argv[2]), threading.Event(), "
        "worker_command=_command, others={'warehouse': _command('warehouse')})"
    )
    killed = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), broker], cwd=Path(__file__).parents[2])
    try:
        until(lambda: len((read_state(tmp_path) or {"children": {}})["children"]) == 2)
        until(lambda: all(one["pid"] for one in (read_state(tmp_path) or {})["children"].values()))
    finally:
        killed.kill()
        killed.wait()
    before = {one["pid"]: one["created_at"] for one in (read_state(tmp_path) or {})["children"].values()}
    with supervised(tmp_path, broker, others={"warehouse": _command("warehouse")}) as running:
        until(lambda: running.state.get("alive") and running.child("w1")["state"] == "up")
        assert not before.keys() & {one["pid"] for one in running.state["children"].values()}
        assert not any(living(pid, created_at) for pid, created_at in before.items())


def test_stalled_stream_raises_an_alarm(tmp_path, broker, monkeypatch):
    monkeypatch.setattr(stall, "STALLED_AFTER_S", 2.0)
    with supervised(tmp_path, broker) as running:
        until(lambda: running.state["state"] == "stalled")
        assert running.state["stalled"] == [each["partition"] for each in running.state["partitions"] if each["end"]]
        until(lambda: running.alarms)
        assert len(running.alarms) == 1 and "has stalled" in running.alarms[0] and MESSAGES in running.alarms[0]


@pytest.mark.slow
def test_idle_worker_of_a_stalled_partition_is_replaced_once(tmp_path, broker, monkeypatch):
    monkeypatch.setattr(stall, "STALLED_AFTER_S", 2.0)
    with supervised(tmp_path, broker, scaler=Target(2)) as running:
        (tmp_path / "beat-w1").write_text('{"partitions": [0, 1, 2, 3]}')
        (tmp_path / "beat-w2").write_text('{"partitions": [], "in_flight": 0}')
        until(lambda: (tmp_path / "left").exists() and running.child("w1")["state"] == "up")
        assert any("w1 receives no messages of stalled partition" in text for text in running.reports)
        running.stop.wait(3 * stall.STALLED_AFTER_S)
        assert (tmp_path / "left").read_text() == "w1\n", "neither w1 again, nor w2, which does not own the partition"


@pytest.mark.slow
def test_idle_worker_is_kept_while_the_group_reassigns_partitions(tmp_path, broker, monkeypatch):
    monkeypatch.setattr(stall, "STALLED_AFTER_S", 4.0)
    for name, partitions in (("w1", "[0, 1, 2, 3]"), ("w2", "[]")):
        (tmp_path / f"beat-{name}").write_text(f'{{"partitions": {partitions}}}')
    with supervised(tmp_path, broker, scaler=Target(2)) as running:
        until(lambda: running.state["state"] == "stalled")
        running.behave("w1", "3")  # from now on no worker owns the partitions
        until(lambda: running.child("w1")["last_exit"])
        running.stop.wait(2)
        assert not (tmp_path / "left").exists(), "the group may still assign them to w2"


def test_worker_with_messages_in_flight_is_kept(tmp_path, broker, monkeypatch):
    monkeypatch.setattr(stall, "STALLED_AFTER_S", 1.0)
    tmp_path.joinpath("beat-w1").write_text('{"partitions": [0, 1, 2, 3], "in_flight": 40}')
    with supervised(tmp_path, broker) as running:
        until(lambda: running.state["state"] == "stalled")
        running.stop.wait(1)
        assert not (tmp_path / "left").exists()


def _look(stalls: Stalls, now: float, committed: int, end: int, *, idle: bool = False) -> list[int]:
    return stalls.look(now, [PartitionLag(0, committed, end), PartitionLag(1, 7, 7)], idle=idle)


def test_a_partition_is_stalled_when_nothing_is_committed_while_messages_wait():
    stalls = Stalls()
    assert [_look(stalls, now, 5, 6) for now in range(31)] == [[]] * 30 + [[0]]
    assert _look(stalls, 31, 6, 8) == [], "it moves"
    assert not any(_look(stalls, 31 + now, 6 + now // 20, 8) for now in range(60))


def test_a_quiet_partition_is_not_stalled_and_neither_is_one_after_a_gap():
    stalls = Stalls()
    assert not any(_look(stalls, now, 5, 5) for now in range(100))
    assert not any(_look(stalls, 100 + 2 * now, 5, 6) for now in range(14))
    assert _look(stalls, 150, 5, 6) == [], "the broker was unavailable: time did not count"


def test_transaction_marker_is_not_a_waiting_message():
    stalls = Stalls()
    assert not any(_look(stalls, now, 5, 6, idle=True) for now in range(100))
    assert any(_look(stalls, 100 + now, 5, 7 + now, idle=True) for now in range(40)), "the end moves and no worker reads"


def test_full_disk_does_not_stop_the_workers(tmp_path, broker):
    with supervised(tmp_path, broker) as running:
        until(lambda: running.child("w1")["state"] == "up")
        history = tmp_path / "stream" / "history.jsonl"
        history.unlink()
        history.mkdir()  # as good as full
        loads = len(running.scaler.loads)
        until(lambda: len(running.scaler.loads) > loads + 2)
        history.rmdir()


def test_lag_without_a_commit_counts_from_the_earliest_message(broker):
    from confluent_kafka import Consumer, TopicPartition

    settings = StreamSettings(bootstrap=broker, group="other-group")
    reader = LagReader(settings)
    found = reader.measure(MESSAGES)
    assert [each.partition for each in found] == [0, 1, 2, 3] and sum(each.lag for each in found) == 40
    assert all(each.committed == 0 for each in found) and reader.count(MESSAGES) == 40
    consumer = Consumer({**client_config(settings), "group.id": "other-group"})
    somewhere = next(each for each in found if each.end)
    consumer.commit(offsets=[TopicPartition(MESSAGES, somewhere.partition, 1)], asynchronous=False)
    consumer.close()
    assert sum(each.lag for each in reader.measure(MESSAGES)) == 39
    assert PartitionLag(0, 12, 3).lag == 0, "a recreated topic"


@pytest.mark.integration
def test_lag_of_a_real_broker_and_its_absence(tmp_path):
    from confluent_kafka import Consumer, Producer, TopicPartition

    from orchestration.local.kafka import LocalKafka

    with LocalKafka(tmp_path / "kafka") as kafka:
        settings = StreamSettings(bootstrap=kafka.bootstrap)
        reader = LagReader(settings)
        with pytest.raises(StreamError, match=r"Topic .* not found"):
            reader.measure(MESSAGES)
        kafka.create_topics({MESSAGES: 3})
        assert reader.measure(MESSAGES) == [PartitionLag(partition, 0, 0) for partition in range(3)], "no coordinator yet"
        producer = Producer(client_config(settings))
        for number in range(90):
            producer.produce(MESSAGES, b"x", partition=number % 3)
        assert producer.flush(10) == 0
        consumer = Consumer({**client_config(settings), "group.id": "groundswell"})
        consumer.commit(offsets=[TopicPartition(MESSAGES, 1, 20)], asynchronous=False)
        consumer.close()
        expected = [PartitionLag(0, 0, 30), PartitionLag(1, 20, 30), PartitionLag(2, 0, 30)]
        assert reader.measure(MESSAGES) == expected
        with supervised(tmp_path / "var", kafka.bootstrap) as running:
            until(lambda: running.state.get("lag") == 70)
            kafka.stop()
            until(lambda: running.state["state"] == "waiting for the broker")
            pid = running.child("w1")["pid"]
            kafka.start()
            back_at = time.monotonic()
            until(lambda: running.state["state"] == "running" and running.state["lag"] == 70)
            assert running.child("w1")["pid"] == pid, "the workers were left alone"
            print(f"measured again {time.monotonic() - back_at:.1f} s after the broker was back")
        assert reader.measure(MESSAGES) == expected


def test_status_shows_workers_and_unavailable_systems(tmp_path, broker, monkeypatch):
    from rich.console import Console

    from orchestration.terminal.stream_tables import render, watch_status
    from serving.streaming.status import StatusReader

    reader = StatusReader(tmp_path, StreamSettings(bootstrap=broker))
    found = reader.read()
    assert found.state == "not supervised" and found.lag == 40 and not found.broker and found.warehouse
    with supervised(tmp_path, broker, scaler=Target(2), others={"alerts": _command("alerts")}) as running:
        running.until_running("w1", "w2", "alerts")
        running.behave("w2", str(child.CONFIG_ERROR))
        until(lambda: running.child("w2")["state"].startswith("restart in") and running.state["state"] == "running")
        found = reader.read()
        assert found.target == 2 and len(found.partitions) == 4 and [one.name for one in found.others] == ["alerts"]
        assert found.dead_letters == 0, "no topic of dead letters yet: none, not unknown"
        assert found.workers[0].rss_bytes > 0 and found.others[0].rss_bytes > 0
        first, second = found.workers
        assert (first.name, first.state, first.restarts) == ("w1", "running", 0)
        assert second.state.startswith("restart in") and second.detail == "status 78: the reason for 78"
        json.dumps(found.to_dict())
        console, stop = Console(width=130, record=True, force_terminal=True, file=io.StringIO()), threading.Event()
        threading.Timer(1.5, stop.set).start()
        watch_status(console, tmp_path, StreamSettings(bootstrap=broker), stop, every_s=0.5)
        shown = console.export_text()
        for words in (
            "sentiment.messages at 127.0.0.1",
            "40 messages",
            "w1",
            "the reason for 78",
            "The message database is not running",
        ):
            assert words in shown
    monkeypatch.setattr("serving.streaming.status.RESPONSE_TIMEOUT_S", 0.2)
    unavailable = StatusReader(tmp_path, StreamSettings(bootstrap="127.0.0.1:1"))
    found = unavailable.read()
    assert "no response" in found.broker and found.lag is None and found.state == "not supervised"
    assert render(found)
