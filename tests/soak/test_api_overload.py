"""The API at twice its capacity: some requests are refused at once, the others served in time, and memory does not grow."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.models import slow_bundle
from tests.serving.running import ROOT, serving

pytestmark = pytest.mark.soak


def ask_at(url, folder, rate, seconds):
    """Send requests in an open loop: each at its time, on 200 connections or more."""
    bodies = folder / "bodies"
    lines = (json.dumps({"texts": [f"a great film, number {n}"]}) for n in range(round(rate * seconds)))
    bodies.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "benchmarks.api.generator", f"{url}/v1/classify", str(bodies)]
    done = subprocess.run(
        [*command, "--rate", str(rate), "--timeout", "30"], cwd=ROOT, capture_output=True, check=True, timeout=seconds + 90
    )
    return json.loads(done.stdout)


def memory_mib(process):
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(member.memory_info().rss for member in family) / 2**20


def test_service_at_twice_its_capacity_refuses_some_at_once_and_serves_the_others_in_time(tmp_path):
    seconds, deadline_s = float(os.environ.get("SOAK_S", "8")), 1.0
    with serving(slow_bundle(tmp_path / "b"), tmp_path, prediction_store="memory", deadline_ms=str(int(1000 * deadline_s))) as (
        client,
        process,
    ):
        url = str(client.base_url)
        with ThreadPoolExecutor(16) as pool:  # its capacity, measured now, since the speed of the machine varies
            started = time.monotonic()
            list(pool.map(lambda n: client.post("/v1/classify", json={"texts": [f"warming up {n}"]}), range(300)))
            capacity = 300 / (time.monotonic() - started)
        ask_at(url, tmp_path, 2 * capacity, 3)  # buffers grow to their size once
        before = memory_mib(process)
        found = ask_at(url, tmp_path, 2 * capacity, seconds)
        if not found["refused_ms"]:  # other load disturbed the measurement: use the rate just reached
            capacity = len(found["ms"]) / seconds
            found = ask_at(url, tmp_path, 2 * capacity, seconds)
        served, refused = sorted(found["ms"]), sorted(found["refused_ms"])
        p99, grown = served[int(0.99 * len(served))], memory_mib(process) - before
        print(f"{capacity:.0f}/s; {len(served)} served, p99 {p99:.0f} ms; {len(refused)} refused; {grown:+.0f} MiB")
        assert found["failed"] == 0 and refused, "twice the capacity is too much"
        assert len(served) > 0.4 * capacity * seconds, f"{len(served)} served at {capacity:.0f} a second"
        assert p99 < 1000 * (deadline_s + 0.5)
        assert refused[len(refused) // 2] < 250
        assert grown < 40
        after = client.post("/v1/classify", json={"texts": ["a great film afterwards"]})
        assert after.json()["predictions"][0]["label"] == "positive"
