"""Everything of the stream killed with -9, at random moments, while messages come: none is lost, none is counted twice.

Five rounds and 100,000 messages here; `make soak` makes fifty rounds (SOAK_ROUNDS).
"""

import os
import random
import signal
import subprocess
import time

import psutil
import pytest

from data.artifacts import read_json
from orchestration.kafka.server import LocalKafka
from tests.models import tiny_bundle
from tests.serving.stream_world import World, end, numbered, topics

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "5"))
MESSAGES = 100_000
VICTIMS = ("worker", "warehouse", "supervisor", "broker", "worker")


def children(world: World, kind: str) -> list[psutil.Process]:
    """The processes of a kind that the supervisor says it has."""
    try:
        found = read_json(world.var / "stream" / "supervisor.json")["children"]
    except (OSError, ValueError):
        return []
    wanted = [
        child["pid"] for name, child in found.items() if name != "alerts" and (name == "warehouse") == (kind == "warehouse")
    ]
    return [psutil.Process(pid) for pid in wanted if pid and psutil.pid_exists(pid)]


def up(world: World) -> subprocess.Popen[bytes]:
    return world.start("stream", "up", "--max-workers", "2")


def kill_one(world: World, kafka: LocalKafka, supervisor: subprocess.Popen[bytes], victim: str) -> subprocess.Popen[bytes]:
    """Kill it, and start again what nobody else starts."""
    if victim == "broker":
        kafka.kill()
        kafka.start()
    elif victim == "supervisor":
        supervisor.kill()
        supervisor.wait()
        return up(world)
    elif found := children(world, victim):
        random.choice(found).send_signal(signal.SIGKILL)
    return supervisor


@pytest.mark.integration
@pytest.mark.timeout(900 + 40 * ROUNDS)
def test_whatever_is_killed_each_of_100_000_messages_is_counted_once(tmp_path):
    bundle = tiny_bundle(tmp_path / "tiny").directory
    dice = random.Random(ROUNDS)
    with LocalKafka(tmp_path / "kafka") as kafka:
        kafka.create_topics(topics("killed"))
        world = World(kafka, tmp_path / "var", bundle, "killed", drain_limit_s=5)
        try:
            supervisor = up(world)
            world.ready()
            killed = []
            with world.producing((numbered(n) for n in range(MESSAGES)), rate=MESSAGES / (10 * ROUNDS)):
                for turn in range(ROUNDS):
                    time.sleep(dice.uniform(1, 8))  # the random moment
                    victim = VICTIMS[turn % len(VICTIMS)]
                    killed.append(victim)
                    supervisor = kill_one(world, kafka, supervisor, victim)
                    assert supervisor.poll() is None, (world.var / "up.log").read_text()[-2000:]
            world.settled(600)
            print(f"killed: {', '.join(killed)}")
            world.check(MESSAGES)
            assert end(supervisor) == 0
        finally:
            world.end()
