"""Commands to the processes of a service."""

import os
import socket
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from serving.service import control, counters
from serving.service.counters import COUNTERS, Counters


def test_each_process_obeys_and_one_that_ended_is_an_error(tmp_path):
    folder = tmp_path / "sockets"
    for number in (1, 2):
        control.obey(folder, number, {"hello": lambda number=number: f"I am {number}".encode()})
    socket.socket(socket.AF_UNIX).bind(str(folder / "control-3"))  # of a process that crashed
    found = control.ask_all(folder, "hello", limit_s=60)
    assert found.pop("control-1") == b"I am 1" and found.pop("control-2") == b"I am 2"
    assert list(found) == ["control-3"] and isinstance(found["control-3"], OSError)
    assert list(control.ask_all(folder, "hello", limit_s=60, but=1)) == ["control-2", "control-3"]
    assert control.ask_all(tmp_path / "nowhere", "hello", limit_s=60) == {}


def test_failures_are_errors_of_the_asking_program(tmp_path):
    def fail():
        raise RuntimeError("it broke")

    control.obey(tmp_path, 1, {"fail": fail})
    with pytest.raises(OSError, match="RuntimeError: it broke"):
        control.ask(tmp_path / "control-1", "fail", limit_s=60)
    with pytest.raises(OSError, match="unknown command: sing"):
        control.ask(tmp_path / "control-1", "sing", limit_s=60)


def test_large_response_arrives_whole_while_a_slow_command_runs(tmp_path):
    done = threading.Event()
    control.obey(tmp_path, 1, {"wait": lambda: b"done" if done.wait(60) else b"", "much": lambda: b"x" * 5_000_000})
    slow = threading.Thread(target=control.ask, args=(tmp_path / "control-1", "wait"), kwargs={"limit_s": 60})
    slow.start()
    assert control.ask(tmp_path / "control-1", "much", limit_s=60)[0] == b"x" * 5_000_000
    done.set()
    slow.join()


def test_silent_process_is_an_error_after_the_limit(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "control-1"))
    listener.listen()
    with pytest.raises(TimeoutError):
        control.ask(tmp_path / "control-1", "hello", limit_s=0.05)


def test_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(control, "_MAX_FOLDER", 4_000)
    left = tmp_path / "groundswell-of-4194305"  # of a service that was killed; no pid is that large
    left.mkdir()
    (left / "control-1").touch()
    (tmp_path / "groundswell-of-99999999999999999999").mkdir()  # anyone can make such names
    (tmp_path / "groundswell-of-1x").mkdir()
    (tmp_path / "groundswell-of-4194306").symlink_to(tmp_path / "nowhere")
    folder = control.folder_of_parent()
    assert not left.exists()
    assert folder.stat().st_mode & 0o777 == 0o700 and control.folder_of_parent() == folder
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    with pytest.raises(PermissionError):
        control.folder_of_parent()
    monkeypatch.setattr(os, "getuid", lambda: mine)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(OSError, match="another user"):
        control.folder_of_parent()
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/" + "long" * 2_000)
    short = control.folder_of_parent()
    assert short.parent == Path("/tmp")
    short.rmdir()


def _counter(value):
    registry = CollectorRegistry()
    Counter("groundswell_texts", "Texts classified.", ["label"], registry=registry).labels("positive").inc(value)
    return registry


def test_counters_of_all_processes_are_one_text_labeled_by_process(tmp_path, monkeypatch):
    monkeypatch.setattr(counters, "REGISTRY", _counter(3))
    control.obey(tmp_path, 2, {COUNTERS: lambda: generate_latest(_counter(4))})
    mine = Counters()
    alone = generate_latest(mine).decode()
    assert not mine.has_others and 'groundswell_texts_total{label="positive"} 3.0' in alone
    mine.share(tmp_path, 1, processes=2)
    both = generate_latest(mine).decode()
    assert mine.has_others and both.count("# TYPE groundswell_texts_total counter") == 1
    for number, value in ((1, 3.0), (2, 4.0)):
        assert f'groundswell_texts_total{{label="positive",process="{number}"}} {value}' in both
    Path(tmp_path / "control-2").unlink()
    left = generate_latest(mine).decode()
    assert 'groundswell_texts_total{label="positive",process="1"} 3.0' in left and 'process="2"' not in left
    mine.share(tmp_path, 1, processes=1)
    assert generate_latest(mine).decode() == alone
