"""A real service for a test: `bentoml serve` at the root of the checkout, over HTTP."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

ROOT = Path(__file__).parents[2]


def spare_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    wait = Retrying(
        retry=retry_if_exception_type(httpx.HTTPError) | retry_if_result(lambda r: r.status_code != 200),
        stop=stop_after_delay(600) | (lambda _: process.poll() is not None),
        wait=wait_fixed(0.2),
    )
    try:
        wait(httpx.get, f"{url}/readyz", timeout=2)
        with httpx.Client(base_url=url, timeout=30) as client:
            yield client, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
