"""One server under test: start it, wait until its labels are right, stop it by its process ids."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from data.errors import ServiceError
from orchestration.local.kafka import free_port

START_S, STOP_S, RESPONSE_S = 120, 15, 90
_IDLE_SHARE, _IDLE_SAMPLE_S, _IDLE_WITHIN_S = 0.4, 0.4, 15
"""A server that uses less than this share of one CPU is idle; LitServe without requests uses 0.3."""
_NOT_INHERITED = {"TOKENIZERS_PARALLELISM", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"}
"""Thread settings of this process, which measures the classifier too; servers must not inherit them."""


@dataclass(frozen=True)
class Spec:
    """How to start a server and what its requests and responses look like."""

    name: str
    title: str
    command: Callable[[int], list[str]]
    """Returns the command for a port."""
    cwd: Path
    environment: dict[str, str]
    route: str
    body: Callable[[Sequence[str]], str]
    """Returns the JSON body for these texts, in one line."""
    labels: Callable[[Any], list[str]]
    """Returns the labels in a response."""
    setting: str = ""


class Server:
    """A running server. It is paused (SIGSTOP) except while it is measured, so that it takes no CPU from other servers."""

    def __init__(self, spec: Spec, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.spec, self.process, self.log = spec, process, log
        self.url = f"http://127.0.0.1:{port}{spec.route}"
        self._seen: dict[int, psutil.Process] = {}

    def tree(self) -> list[psutil.Process]:
        """Return the process and all descendants ever seen: some servers leave orphans."""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            self._seen |= {process.pid: process for process in (root, *root.children(recursive=True))}
        return list(self._seen.values())

    def cpu_s(self) -> float:
        """Return the CPU time of the whole tree, user and system."""
        total = 0.0
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def classify(self, texts: Sequence[str]) -> list[str]:
        """Return the labels of these texts, from one request."""
        response = httpx.post(
            self.url, content=self.spec.body(texts), headers={"content-type": "application/json"}, timeout=RESPONSE_S
        )
        response.raise_for_status()
        return self.spec.labels(response.json())

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Let the server run inside the `with` block, and pause it at the end."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def pause(self) -> None:
        """Pause the server until `resumed`: some servers poll for work a thousand times per second."""
        self._signal(signal.SIGSTOP)

    def wait_until_idle(self) -> None:
        """Wait until the requests of disconnected callers are finished: send a last request, then wait for little CPU use.

        A batch that runs when the server is paused would seem to the server to have taken all that time.
        """
        for _ in range(2):
            with suppress(httpx.HTTPError):
                self.classify([f"How is it going at {time.monotonic()}?"])
        end = time.monotonic() + _IDLE_WITHIN_S
        while time.monotonic() < end:
            before = self.cpu_s()
            time.sleep(_IDLE_SAMPLE_S)
            if self.cpu_s() - before < _IDLE_SHARE * _IDLE_SAMPLE_S:
                return

    def stop(self) -> None:
        """Stop the server and its descendants, orphans included."""
        self._signal(signal.SIGCONT)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        _, alive = psutil.wait_procs(self.tree(), timeout=1)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def _signal(self, which: signal.Signals) -> None:
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(which)


def start(spec: Spec, folder: Path, checks: Sequence[tuple[str, str]]) -> Server:
    """Start a server and wait until it returns the right label for every check.

    Args:
        spec: The server to start.
        folder: Folder for its log.
        checks: Texts with the labels that the model must predict.

    Raises:
        ServiceError: It exited (with the last line of its log), did not respond in time, or predicts another label.
    """
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{spec.name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            spec.command(port),
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if name not in _NOT_INHERITED} | spec.environment,
        )
    server = Server(spec, process, port, log)
    try:
        _wait_until_ready(server, checks[0][0])
        for text, label in checks:
            if (found := server.classify([text])) != [label]:
                raise ServiceError(f"{spec.title} predicts a wrong label.", found=found, expected=[label])
    except BaseException as error:
        server.stop()
        if isinstance(error, httpx.HTTPError):
            raise ServiceError(f"{spec.title} does not respond.", found=error, remedy=f"See {log}.") from error
        raise
    return server


def _wait_until_ready(server: Server, text: str) -> None:
    last: object = "no response"
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise ServiceError(f"{server.spec.title} exited.", found=_last_line(server.log), remedy=f"See {server.log}.")
        try:
            server.classify([text])
            return
        except (httpx.HTTPError, ValueError, KeyError) as error:
            last = error
        time.sleep(0.3)
    raise ServiceError(f"{server.spec.title} does not respond.", found=last, expected=f"a response within {START_S} s")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "an empty log"
