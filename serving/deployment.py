"""The local deployment: one service process, replaced only after its successor passed a smoke test.

The new process is started on a spare port, has to become ready and to classify known texts; only then the old process is stopped
and the new one started on the real port. The port is closed for the few seconds of that last step; callers should retry.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from data.artifacts import read_json, write_json
from data.errors import DeploymentFailed
from serving.processes import listeners, living, port_is_taken
from serving.service.build import bento_environment
from serving.service.middleware.keys import id_of, keys_of
from serving.settings import ServingSettings

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
STATE = "state.json"
SMOKE_TEXTS = (
    "I love this, thank you so much, it is wonderful!",
    "This is terrible, the worst service I have ever had, awful.",
    "The meeting starts at noon on Tuesday.",
)

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Deployment:
    """A service process."""

    pid: int
    process_started: float
    """Start time by the kernel: a pid alone may be reused by another process."""
    port: int
    version: str
    bento: str
    started_at: str
    log: str

    @property
    def url(self) -> str:
        """Address of the service."""
        return f"http://{HOST}:{self.port}"


def status(state_dir: Path) -> Deployment | None:
    """Return the running deployment, or None."""
    try:
        known = Deployment(**read_json(state_dir / STATE))
    except (OSError, ValueError, TypeError):
        return None
    return known if _process(known) else None


def stop(state_dir: Path, *, timeout_s: float = 15.0) -> bool:
    """Stop the deployment and wait until it has ended. False if none ran."""
    running = status(state_dir)
    if running is None:
        return False
    _end(running, timeout_s)
    (state_dir / STATE).unlink(missing_ok=True)
    return True


def deploy(
    bento: str,
    *,
    bentoml_home: Path,
    state_dir: Path,
    expected_version: str,
    known: Mapping[str, str],
    settings: ServingSettings,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Deployment:
    """Deploy a Bento on the port of the settings; if it already runs there and is healthy, it is kept.

    Args:
        bento: Tag of the Bento.
        bentoml_home: BentoML's store.
        state_dir: Folder for `state.json` and the logs.
        expected_version: The bundle version that it has to report.
        known: Texts with the labels that the bundle predicted when the Bento was built.
        settings: Port and time limits.
        environment: Variables of the service, in addition to those of this process.
        progress: Called with each step and None.

    Raises:
        DeploymentFailed: Another process holds the port, or the new process did not become ready or failed the smoke test.
            The old process still runs, or runs again.
    """
    report = progress or (lambda message, fraction: None)
    variables = _child_environment(bentoml_home) | dict(environment or {})
    old = status(state_dir)
    if old and old.bento == bento and old.port == settings.port and _is_healthy(old, known):
        return old
    require_port(settings.port, old)
    report("starting on a spare port", None)
    trial = _start(bento, _spare_port(), variables, state_dir, expected_version)
    try:
        _prove(trial, known, settings.ready_timeout_s)
    finally:
        _end(trial, settings.stop_timeout_s)
    if old:
        report("stopping the old process", None)
        _end(old, settings.stop_timeout_s)
    report(f"starting on port {settings.port}", None)
    new = None
    try:
        new = _start(bento, settings.port, variables, state_dir, expected_version)
        _prove(new, known, settings.ready_timeout_s)
    except BaseException:
        if new is not None:
            _end(new, settings.stop_timeout_s)
        if old:
            _log.warning("new deployment failed; restarting %s", old.version)
            restored = _start(old.bento, old.port, variables, state_dir, old.version)
            _prove(restored, {}, settings.ready_timeout_s)
            write_json(state_dir / STATE, asdict(restored))
        raise
    write_json(state_dir / STATE, asdict(new))
    return new


def smoke_test(deployment: Deployment, known: Mapping[str, str]) -> None:
    """Check that a deployment classifies known texts.

    Args:
        deployment: The deployment.
        known: Texts and their expected labels; empty: any labels pass.

    Raises:
        DeploymentFailed: It does not respond, reports another version, or predicts another label for a known text.
    """
    texts = list(known) or list(SMOKE_TEXTS)
    try:
        with _own_key(Path(deployment.log).parents[1]) as headers:
            response = httpx.post(f"{deployment.url}/v1/classify", json={"texts": texts}, headers=headers, timeout=10)
        response.raise_for_status()
        body = response.json()
        labels = [prediction["label"] for prediction in body["predictions"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise DeploymentFailed("The new deployment does not respond.", found=f"{type(error).__name__}: {error}") from error
    version = body.get("model_version")
    if version != deployment.version:
        raise DeploymentFailed("The new deployment serves another model.", found=version, expected=deployment.version)
    for text, label in zip(texts, labels, strict=True):
        if known.get(text, label) != label:
            raise DeploymentFailed(
                "The new deployment predicts another label than its bundle did.", found=f"{label}: {text}", expected=known[text]
            )


@contextmanager
def _own_key(var: Path) -> Iterator[dict[str, str]]:
    """Header with a key that exists for one test only; no header where keys are off."""
    if not ServingSettings.load().keys:
        yield {}
        return
    keys = keys_of(var)
    token = keys.add("smoke test")
    try:
        yield {"authorization": f"Bearer {token}"}
    finally:
        keys.revoke(id_of(token))


def _start(bento: str, port: int, environment: Mapping[str, str], state_dir: Path, version: str) -> Deployment:
    state_dir.mkdir(parents=True, exist_ok=True)
    log = state_dir / f"serve-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", bento, "--host", HOST, "--port", str(port)],
            env={**environment, "GROUNDSWELL_PATHS__VAR_DIR": str(state_dir.parent.resolve())},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # it keeps running after the process that started it
            cwd=state_dir,
        )
    started = psutil.Process(process.pid).create_time()
    return Deployment(process.pid, started, port, version, bento, datetime.now(UTC).isoformat(), str(log))


def _child_environment(bentoml_home: Path) -> dict[str, str]:
    # The Bento serves the bundle inside it, whatever bundle this process serves, and runs its own copy of the code.
    environment = bento_environment(bentoml_home)
    for name in ("GROUNDSWELL_BUNDLE_DIR", "PYTHONPATH"):
        environment.pop(name, None)
    return environment


def _prove(deployment: Deployment, known: Mapping[str, str], timeout_s: float) -> None:
    waiting = Retrying(retry=retry_if_result(lambda ready: not ready), stop=stop_after_delay(timeout_s), wait=wait_fixed(0.1))
    try:
        waiting(_ready, deployment)
    except RetryError:
        raise DeploymentFailed(
            f"{deployment.bento} was not ready within {timeout_s:g} s.",
            found=_log_end(deployment),
            remedy=f"See {deployment.log}.",
        ) from None
    smoke_test(deployment, known)


def _ready(deployment: Deployment) -> bool:
    if _process(deployment) is None:
        raise DeploymentFailed(
            f"{deployment.bento} ended instead of becoming ready.", found=_log_end(deployment), remedy=f"See {deployment.log}."
        )
    try:
        return httpx.get(f"{deployment.url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _is_healthy(deployment: Deployment, known: Mapping[str, str]) -> bool:
    try:
        smoke_test(deployment, known)
    except DeploymentFailed:
        return False
    return True


def _process(deployment: Deployment) -> psutil.Process | None:
    """The deployment's process, if it runs."""
    return living(deployment.pid, deployment.process_started)


def _end(deployment: Deployment, timeout_s: float) -> None:
    """Stop it and its workers with SIGTERM, wait, and kill those that remain."""
    process = _process(deployment)
    if process is None:
        return
    family = [process, *process.children(recursive=True)]
    os.kill(deployment.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=timeout_s)
    for survivor in alive:
        survivor.kill()
    psutil.wait_procs(alive, timeout=5)


def require_port(port: int, old: Deployment | None = None) -> None:
    """Raise if another process holds a port.

    Raises:
        DeploymentFailed: Names the port, and its process if this user may see it.
    """
    if old and old.port == port:
        return
    if port_is_taken(port):
        raise DeploymentFailed(
            f"Port {port} is in use.", found=_holder(port), remedy="Stop that process, or set GROUNDSWELL_SERVING__PORT."
        )


def _holder(port: int) -> str:
    with suppress(psutil.Error):
        for process in listeners(port):
            return f"{process.name()}, pid {process.pid}"
    return "a process of another user"


def _spare_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _log_end(deployment: Deployment) -> str:
    try:
        return Path(deployment.log).read_text(encoding="utf-8", errors="replace")[-1500:].strip() or "an empty log"
    except OSError:
        return "no log"
