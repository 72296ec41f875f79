"""Deployments for tests: real Bentos, real processes."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from serving.bundle import Bundle
from serving.classifier import Classifier
from serving.deployment import SMOKE_TEXTS, Deployment, deploy
from serving.service.build import build_bento
from serving.settings import ServingSettings

PROCESSES = 2


def put(place: tuple[Path, Path, int], bundle: Bundle, **overrides: Any) -> Deployment:
    """Deploy a bundle; `place` has the folder, that of the deployment, and the port."""
    root, folder, port = place
    predictions = Classifier(bundle, threads=1).classify(SMOKE_TEXTS)
    known = {text: prediction.label for text, prediction in zip(SMOKE_TEXTS, predictions, strict=True)}
    return deploy(
        build_bento(bundle.directory, root / "home"),
        bentoml_home=root / "home",
        state_dir=folder,
        settings=ServingSettings.load(port=port, processes=PROCESSES),
        **({"expected_version": bundle.manifest.version, "known": known} | overrides),
    )


def workers_of(deployment: Deployment) -> list[psutil.Process]:
    """Return the processes that serve: the children that listen on the deployment's own port, as their parent does."""

    def listens(process: psutil.Process) -> bool:
        return any(one.laddr and one.laddr.port == deployment.own_port for one in process.net_connections("tcp"))

    return sorted(filter(listens, psutil.Process(deployment.pid).children()), key=lambda process: process.pid)


class Callers:
    """Threads that call a service without end, half of them with a new connection for each request.

    Each request is sent once: one without a response is a failure.
    """

    def __init__(self, url: str, count: int, pauses_s: Sequence[float] = ()) -> None:
        """Make them; `pauses_s` has the time between two requests of each, 0 if it is shorter."""
        self.failures: list[str] = []
        self.versions: list[set[str]] = [set() for _ in range(count)]
        self.requests = 0
        self._pauses_s = [*pauses_s, *[0.0] * (count - len(pauses_s))]
        self._url, self._stop, self._lock = url, threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def all_have_seen(self, version: str) -> bool:
        """Whether this version has responded to each caller."""
        return all(version in versions for versions in self.versions)

    def forget(self) -> None:
        """Forget which versions have responded."""
        for versions in self.versions:
            versions.clear()

    def _call(self, number: int) -> None:
        headers = {"connection": "close"} if number % 2 else {}
        with httpx.Client(base_url=self._url, headers=headers, timeout=120) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    body = {"texts": [f"a great film, {number} {time.monotonic_ns()}"]}
                    response = client.post("/v1/classify", json=body)
                    response.raise_for_status()
                    self.versions[number].add(response.json()["model_version"])
                except httpx.HTTPError as error:
                    took = time.monotonic() - began
                    self.failures.append(f"{type(error).__name__}: {error} ({headers}, after {took:.2f} s, at {self.requests:,})")
                with self._lock:
                    self.requests += 1
                self._stop.wait(self._pauses_s[number])
