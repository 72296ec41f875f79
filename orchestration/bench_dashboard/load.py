"""A service, a warehouse and rows that come in: what the page and the viewers are measured on."""

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

from data.settings import ENV_PREFIX, project_root
from orchestration.bench_dashboard.writer import BLOCKS_A_SECOND, SOURCE
from orchestration.bench_stream.programs import Program
from orchestration.kafka.server import free_port
from serving.bundle import BUNDLE_ENV, Bundle
from serving.service.build import bento_environment
from serving.warehouse.owner import some_owner

START_S = 90


class Load:
    """Starts all of it with the `with` block, ends all of it with it."""

    def __init__(self, bundle: Bundle, folder: Path, rate: float, tell: Callable[[str, float | None], None]) -> None:
        """Make it.

        Args:
            bundle: What the service answers with.
            folder: A `var/` of its own.
            rate: Messages a second.
            tell: Told what is waited for.
        """
        self.folder, self.rate, self.tell = folder, rate, tell
        self.blocks = f"{BLOCKS_A_SECOND} blocks a second"
        self._bundle, self._port = bundle, free_port()
        self._stack = ExitStack()
        self._written: dict[int, list[tuple[int, float]]] = {}

    @property
    def url(self) -> str:
        """Of the service."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def live_url(self) -> str:
        """Of its WebSocket."""
        return f"ws://127.0.0.1:{self._port}/v1/live"

    def __enter__(self) -> "Load":
        self.tell("starting the warehouse and the service", None)
        self._stack.enter_context(some_owner(self.folder))
        command = ["-m", "bentoml", "serve", str(project_root()), "--host", "127.0.0.1", "--port", str(self._port)]
        settings = {BUNDLE_ENV: str(self._bundle.directory.resolve()), f"{ENV_PREFIX}PATHS__VAR_DIR": str(self.folder)}
        service = Program("service", command, bento_environment(self.folder / "bentoml") | settings, self.folder / "logs")
        self._stack.callback(service.stop)
        self.service = psutil.Process(service.process.pid)
        wait = Retrying(retry=retry_if_exception_type(httpx.HTTPError), stop=stop_after_delay(START_S), wait=wait_fixed(0.3))
        wait(lambda: httpx.get(f"{self.url}/readyz", timeout=2).raise_for_status())
        writer = subprocess.Popen(
            [sys.executable, "-m", "orchestration.bench_dashboard.writer", str(self.folder), str(self.rate), "bench"],
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
        """Seconds since each block was written that these cells tell of for the first time.

        Args:
            cells: Of a frame.
            last: How many messages of each second this viewer knew of; brought up to date.
            now: `time.monotonic` when the frame came.
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
