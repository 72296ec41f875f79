"""`groundswell stream ingest` as a process: what it prints, its exit status, and what a kill leaves behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from typer.testing import CliRunner

from data.errors import SettingsError
from orchestration.cli.main import app
from serving.classifier import Classifier
from serving.streaming.broker import MESSAGES, in_process_broker
from serving.streaming.replay import run_stream
from tests.models import tiny_bundle
from tests.serving.feed_server import Reply, rss, serving_feeds
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
KILLED = """
import os, signal
from serving.streaming.feeds.state import FeedState
FeedState.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from orchestration.cli.main import main
main()
"""
"""The command, which dies after the broker has acknowledged and before the position is saved."""


@pytest.fixture(autouse=True)
def _signals():
    """The commands that run in this process set handlers."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def server():
    with serving_feeds() as one:
        yield one


@pytest.fixture
def broker(monkeypatch):
    with in_process_broker(MESSAGES) as address:
        monkeypatch.setenv("GROUNDSWELL_STREAM__BOOTSTRAP", address)
        yield address


class Topic:
    """Reads the topic from its beginning."""

    def __init__(self, address):
        self._consumer = Consumer(
            {"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest", "log_level": 2}
        )
        self._consumer.subscribe([MESSAGES])

    def take(self, count):
        events = []
        while len(events) < count:
            message = self._consumer.poll(60)
            assert message is not None, f"{len(events)} of {count} messages"
            if message.error() is None:
                events.append(json.loads(message.value()))
        return events

    def close(self):
        self._consumer.close()


@pytest.fixture
def topic(broker):
    one = Topic(broker)
    yield one
    one.close()


def ingest(*words):
    return CliRunner().invoke(app, ["stream", "ingest", *words])


def start(*words, code=None):
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "orchestration.cli"]
    return subprocess.Popen(
        [*command, "stream", "ingest", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_feed_is_read_once_with_its_counts(server, topic):
    server.routes["/feed"] = Reply(rss(("1", "A", "Good."), ("2", "B", "Bad."), ("3", "", "")))
    done = ingest("rss", f"{server.url}/feed", "--once", "--allow-private", "--domain", "news", "--source", "paper")
    assert done.exit_code == 0
    assert "2 messages sent, 1 × blank text, from 1 feed." in done.output
    second, first = sorted(topic.take(2), key=lambda event: event["text"], reverse=True)
    assert first == {"id": f"rss:127.0.0.1/feed:{1}", "text": "A\n\nGood.", "source": "paper", "domain": "news"}
    assert second["text"] == "B\n\nBad."
    assert "0 messages sent" in ingest("rss", f"{server.url}/feed", "--once", "--allow-private").output


@pytest.mark.usefixtures("broker")
def test_a_failed_feed_is_exit_status_1_with_found_and_expected(server):
    server.routes["/page"] = Reply("<html><title>Home</title></html>", headers={"Content-Type": "text/html"})
    done = ingest("rss", f"{server.url}/page?key=hidden", "--once", "--allow-private")
    assert done.exit_code == 1
    assert "is a web page and no feed" in done.output and "'Home'" in done.output and "RSS, Atom or JSON Feed" in done.output
    assert "hidden" not in done.output


@pytest.mark.usefixtures("broker")
def test_when_every_feed_is_given_up_the_command_ends_with_exit_status_1(server):
    done = ingest("rss", f"{server.url}/gone", f"{server.url}/away", "--allow-private")
    assert done.exit_code == 1
    assert done.output.count("HTTP 404") == 2 and done.output.count("not tried again") == 2
    assert "0 messages sent, from 2 feeds." in done.output


@pytest.mark.usefixtures("broker")
def test_a_feed_on_this_machine_is_refused_without_the_option(server):
    done = ingest("rss", f"{server.url}/feed", "--once")
    assert done.exit_code == 1 and "--allow-private" in done.output
    assert server.asked == []


def test_edgar_without_a_contact_is_a_usage_error():
    done = ingest("edgar", "--once")
    assert isinstance(done.exception, SettingsError)  # status 2, by `main`


@pytest.mark.integration
def test_after_a_kill_nothing_is_lost_and_what_comes_twice_counts_once(server, topic, tmp_path):
    server.routes["/feed"] = Reply(rss(*((str(n), f"T{n}", f"text {n}") for n in range(20))), headers={"ETag": '"v1"'})
    words = ("rss", f"{server.url}/feed", "--once", "--allow-private")
    killed = start(*words, code=KILLED)
    assert killed.wait(300) == -signal.SIGKILL
    before = topic.take(20)
    again = start(*words)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0 and "20 messages sent" in output
    after = topic.take(20)
    assert sorted(event["replaces"] for event in after) == sorted([event["id"]] for event in before)
    assert "0 messages sent" in ingest(*words).output
    classifier = Classifier(tiny_bundle(tmp_path / "tiny"), threads=1)
    for number, events in enumerate(([*before, *after], [*after, *before])):
        assert run_stream(events, classifier, tmp_path / f"var{number}", run_id="killed").messages == 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_the_totals(server, topic, number):
    server.routes["/feed"] = Reply(rss(("1", "A", "Good.")))
    running = start("rss", f"{server.url}/feed", "--allow-private")
    try:
        topic.take(1)
        folder = Path(os.environ["GROUNDSWELL_PATHS__VAR_DIR"]) / "feeds"
        until(lambda: [*folder.glob("*.json")], running=lambda: running.poll() is None)
        running.send_signal(number)
        output, _ = running.communicate(timeout=300)
    finally:
        running.kill()
    assert running.returncode == 0
    assert "1 message sent, from 1 feed." in output and "Traceback" not in output
