"""A real service for a test: `bentoml serve` at the root of the checkout, over HTTP."""

import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from serving.processes import port_is_taken
from serving.service.middleware.keys import Keys, keys_of
from serving.warehouse.connect import connect
from serving.warehouse.server import serve_warehouse
from tests.models import tiny_bundle
from tests.waiting import until_passes

ROOT = Path(__file__).parents[2]


def _own_ports() -> Iterator[int]:
    """Yield ports of this test process alone, below the range of outgoing connections."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    first, count = 10_000 + process % 8 * 1_200, 1_200
    start = random.randrange(count)  # another session may run on this machine
    for number in itertools.count(start):
        yield first + number % count


_PORTS = _own_ports()


def spare_port() -> int:
    """Return a port of 127.0.0.1 without a listener. No other test process gets it, nor does an outgoing connection."""
    return next(port for port in _PORTS if not port_is_taken(port))


@contextmanager
def serving(
    bundle, folder: Path, host: str = "127.0.0.1", port: int | None = None, **settings: str
) -> Iterator[tuple[httpx.Client, subprocess.Popen]]:
    """Start the service; yields a client and the process. Its `var/` is in the folder; it is stopped at the end."""
    port = port or spare_port()
    environment = {
        "GROUNDSWELL_BUNDLE_DIR": str(bundle.directory),
        "GROUNDSWELL_PATHS__VAR_DIR": str(folder / "var"),
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "1",
        "GROUNDSWELL_SERVING__MIN_FREE_DISK": "0",  # tests do not depend on the free space of this machine
    } | {f"GROUNDSWELL_SERVING__{name.upper()}": value for name, value in settings.items()}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", "--host", host, "--port", str(port)],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until_passes(
            lambda: httpx.get(f"{url}/readyz", timeout=2).raise_for_status(),
            retry=httpx.HTTPError,
            running=lambda: process.poll() is None,
            every_s=0.2,
        )
        with httpx.Client(base_url=url, timeout=30) as client:
            yield client, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def serving_with_warehouse(folder: Path) -> Iterator[tuple[httpx.Client, Keys, Any]]:
    """Start the service, with keys, and a warehouse server in a thread of this process; yields clients of both, and the keys."""
    stop, ready = threading.Event(), threading.Event()
    settings = {"stop": stop, "ready": lambda _: ready.set()}
    server = threading.Thread(target=serve_warehouse, args=(folder / "var", 0), kwargs=settings)
    server.start()
    try:
        assert ready.wait(300)
        bundle = tiny_bundle(folder / "tiny")
        with serving(bundle, folder, keys="true") as (client, _), connect(folder / "var", own=False) as warehouse:
            yield client, keys_of(folder / "var"), warehouse
    finally:
        stop.set()
        server.join(150)


def finished(client: httpx.Client, path: str, **kwargs: Any) -> dict[str, Any]:
    """Wait until a job is done; return it."""

    def check():
        job = client.get(path, **kwargs).json()
        assert job["state"] == "done", job
        return job

    return until_passes(check)


def counters(client: httpx.Client, headers: dict[str, str] | None = None) -> dict[str, float]:
    """Return the metrics of a service by name and labels, summed over its processes."""
    sums: dict[str, float] = {}
    for line in client.get("/metrics", headers=headers).text.splitlines():
        if line and line[0] != "#":
            name, value = re.sub(r'process="[0-9]+",|,?process="[0-9]+"', "", line).replace("{}", "").rsplit(" ", 1)
            sums[name] = sums.get(name, 0.0) + float(value)
    return sums
