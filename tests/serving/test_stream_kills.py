"""Kills each process of the stream with -9 at random moments while messages arrive: none is lost, none counts twice.

Five rounds and 100,000 messages here; `make soak` runs fifty rounds (SOAK_ROUNDS).
"""

import os
import random
import signal
import subprocess
import time

import psutil
import pytest

from data.artifacts import read_json
from orchestration.local.kafka import LocalKafka
from tests.models import tiny_bundle
from tests.serving.stream_harness import StreamHarness, end, numbered, topics

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "5"))
MESSAGES = 100_000
VICTIMS = ("worker", "warehouse", "supervisor", "broker", "worker")


def children(harness: StreamHarness, kind: str) -> list[psutil.Process]:
    """Return the processes of a kind in the supervisor's state."""
    try:
        listed = read_json(harness.var / "stream" / "supervisor.json")["children"]
    except (OSError, ValueError):
        return []
    wanted = [
        child["pid"] for name, child in listed.items() if name != "alerts" and (name == "warehouse") == (kind == "warehouse")
    ]
    return [psutil.Process(pid) for pid in wanted if pid and psutil.pid_exists(pid)]


def up(harness: StreamHarness) -> subprocess.Popen[bytes]:
    return harness.start("stream", "up", "--max-workers", "2")


def kill_one(
    harness: StreamHarness, kafka: LocalKafka, supervisor: subprocess.Popen[bytes], victim: str
) -> subprocess.Popen[bytes]:
    """Kill the victim; start the broker or the supervisor again, which no other process restarts."""
    if victim == "broker":
        kafka.kill()
        kafka.start()
    elif victim == "supervisor":
        supervisor.kill()
        supervisor.wait()
        return up(harness)
    elif found := children(harness, victim):
        random.choice(found).send_signal(signal.SIGKILL)
    return supervisor


@pytest.mark.integration
@pytest.mark.timeout(900 + 40 * ROUNDS)
def test_each_of_100_000_messages_counts_once_despite_kills(tmp_path):
    bundle = tiny_bundle(tmp_path / "tiny").directory
    dice = random.Random(ROUNDS)
    with LocalKafka(tmp_path / "kafka") as kafka:
        kafka.create_topics(topics("killed"))
        harness = StreamHarness(kafka, tmp_path / "var", bundle, "killed", drain_limit_s=5)
        try:
            supervisor = up(harness)
            harness.ready()
            killed = []
            with harness.producing((numbered(n) for n in range(MESSAGES)), rate=MESSAGES / (10 * ROUNDS)):
                for turn in range(ROUNDS):
                    time.sleep(dice.uniform(1, 8))  # the random moment
                    victim = VICTIMS[turn % len(VICTIMS)]
                    killed.append(victim)
                    supervisor = kill_one(harness, kafka, supervisor, victim)
                    assert supervisor.poll() is None, (harness.var / "up.log").read_text()[-2000:]
            harness.settled()
            print(f"killed: {', '.join(killed)}")
            harness.check(MESSAGES)
            assert end(supervisor) == 0
        finally:
            harness.end()
