"""A service, a warehouse and a writer of rows, on which the page and the viewers are measured."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from benchmarks.dashboard.writer import BLOCKS_A_SECOND, SOURCE
from benchmarks.harness.processes import Program
from data.settings import ENV_PREFIX, project_root
from orchestration.local.kafka import free_port
from serving.bundle import BUNDLE_ENV, Bundle
from serving.service.build import bento_environment
from serving.warehouse.server import ensure_server

START_S = 90


class Load:
    """Starts the processes when the `with` block begins and stops them when it ends."""

    def __init__(self, bundle: Bundle, folder: Path, rate: float, progress: Callable[[str, float | None], None]) -> None:
        """Create it; nothing is started yet.

        Args:
            bundle: The bundle that the service serves.
            folder: Its own `var/`.
            rate: Messages per second.
            progress: Shows the progress.
        """
        self.folder, self.rate, self.progress = folder, rate, progress
        self.blocks = f"{BLOCKS_A_SECOND} blocks per second"
        self._bundle, self._port = bundle, free_port()
        self._stack = ExitStack()
        self._written: dict[int, list[tuple[int, float]]] = {}

    @property
    def url(self) -> str:
        """Address of the service."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def live_url(self) -> str:
        """Address of its WebSocket."""
        return f"ws://127.0.0.1:{self._port}/v1/live"

    def __enter__(self) -> "Load":
        self.progress("starting the warehouse and the service", None)
        self._stack.enter_context(ensure_server(self.folder))
        command = ["-m", "bentoml", "serve", str(project_root()), "--host", "127.0.0.1", "--port", str(self._port)]
        settings = {BUNDLE_ENV: str(self._bundle.directory.resolve()), f"{ENV_PREFIX}PATHS__VAR_DIR": str(self.folder)}
        service = Program("service", command, bento_environment(self.folder / "bentoml") | settings, self.folder / "logs")
        self._stack.callback(service.stop)
        self.service = psutil.Process(service.process.pid)
        wait = Retrying(retry=retry_if_exception_type(httpx.HTTPError), stop=stop_after_delay(START_S), wait=wait_fixed(0.3))
        wait(lambda: httpx.get(f"{self.url}/readyz", timeout=2).raise_for_status())
        writer = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.dashboard.writer", str(self.folder), str(self.rate), "bench"],
            cwd=project_root(),
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(_end, writer)
        threading.Thread(target=self._read, args=(writer.stdout,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def delays(self, cells: Sequence[Sequence[Any]], last: dict[int, int], now: float) -> Iterator[float]:
        """Yield the delay in seconds of each block whose messages these cells count for the first time.

        Args:
            cells: The cells of a frame.
            last: Messages that this viewer has seen, by second; updated in place.
            now: `time.monotonic` when the frame arrived.
        """
        for second, source, *counts in cells:
            if source != SOURCE:
                continue
            known, count = last.get(second, 0), sum(counts[:3])
            for total, at in self._written.get(second, ()):
                if known < total <= count:
                    yield max(0.0, now - at)
            last[second] = max(known, count)

    def _read(self, lines: Any) -> None:
        for line in lines:
            second, total, at = line.split()
            self._written.setdefault(int(second), []).append((int(total), float(at)))


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(10)
