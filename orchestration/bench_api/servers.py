"""One server under measurement: started, asked until it answers correctly, stopped by its process ids."""

import os
import signal
import socket
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

START_S, STOP_S, ANSWER_S = 120, 15, 90
_QUIET, _LOOK_S, _QUIET_WITHIN_S = 0.4, 0.4, 15
"""Less than this share of a processor is quiet; LitServe with nothing to do takes 0.3."""
PROCESSORS = 2
"""What every server gets."""
_OURS_ALONE = {"TOKENIZERS_PARALLELISM", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"}
"""Threads of this process, which measures the classifier too: no server takes them over."""


@dataclass(frozen=True)
class Spec:
    """How to start a server and how to talk to it."""

    name: str
    title: str
    command: Callable[[int], list[str]]
    """For a port."""
    cwd: Path
    environment: dict[str, str]
    route: str
    body: Callable[[Sequence[str]], str]
    """The JSON, one line, that asks for these texts."""
    labels: Callable[[Any], list[str]]
    """The labels in a response."""
    setting: str = ""


class Server:
    """A running server. Those that are not being measured are held, so that they take nothing from the one that is."""

    def __init__(self, spec: Spec, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.spec, self.process, self.log = spec, process, log
        self.url = f"http://127.0.0.1:{port}{spec.route}"
        self._seen: dict[int, psutil.Process] = {}

    def tree(self) -> list[psutil.Process]:
        """The process and all that were ever seen below it: some servers leave orphans."""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            self._seen |= {process.pid: process for process in (root, *root.children(recursive=True))}
        return list(self._seen.values())

    def cpu_s(self) -> float:
        """Processor time of the whole tree, user and system."""
        total = 0.0
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def ask(self, texts: Sequence[str]) -> list[str]:
        """The labels of these texts, in one request."""
        response = httpx.post(
            self.url, content=self.spec.body(texts), headers={"content-type": "application/json"}, timeout=ANSWER_S
        )
        response.raise_for_status()
        return self.spec.labels(response.json())

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for the time of the block."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def hold(self) -> None:
        """Stop its clock until it is `awake`: some servers look a thousand times a second whether there is work."""
        self._signal(signal.SIGSTOP)

    def settle(self) -> None:
        """Wait until it has finished what callers who hung up have left: a last request is answered about last, then it is quiet.

        A batch that ran while the server is held would look to it as if it had taken all that time.
        """
        for _ in range(2):
            with suppress(httpx.HTTPError):
                self.ask([f"How is it going at {time.monotonic()}?"])
        end = time.monotonic() + _QUIET_WITHIN_S
        while time.monotonic() < end:
            before = self.cpu_s()
            time.sleep(_LOOK_S)
            if self.cpu_s() - before < _QUIET * _LOOK_S:
                return

    def stop(self) -> None:
        """End it and what it started, also what outlives its parent."""
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
    """Start a server and wait until it gives every check the right label.

    Args:
        spec: What to start.
        folder: Where its log goes.
        checks: Texts whose labels are beyond doubt.

    Raises:
        ServiceError: It ended, did not answer in time, or answers wrongly; says what its log said last.
    """
    port = spare_port()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{spec.name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            spec.command(port),
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if name not in _OURS_ALONE} | spec.environment,
        )
    server = Server(spec, process, port, log)
    try:
        _until_it_answers(server, checks[0][0])
        for text, label in checks:
            if (found := server.ask([text])) != [label]:
                raise ServiceError(f"{spec.title} answers wrongly.", found=found, expected=[label])
    except BaseException as error:
        server.stop()
        if isinstance(error, httpx.HTTPError):
            raise ServiceError(f"{spec.title} does not answer.", found=error, remedy=f"See {log}.") from error
        raise
    return server


def _until_it_answers(server: Server, text: str) -> None:
    last: object = "no answer"
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise ServiceError(f"{server.spec.title} ended at once.", found=_last_line(server.log), remedy=f"See {server.log}.")
        try:
            server.ask([text])
            return
        except (httpx.HTTPError, ValueError, KeyError) as error:
            last = error
        time.sleep(0.3)
    raise ServiceError(f"{server.spec.title} does not answer.", found=last, expected=f"an answer within {START_S} s")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "an empty log"


def spare_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def divide_processors() -> list[int]:
    """Keep this process and the servers it starts on two processors.

    Returns:
        The processors left for the load; empty where there are no more than two, or where the system pins no process to any
        (macOS), and servers and load share them.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    mine = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, mine[:PROCESSORS])
    return mine[PROCESSORS:]
