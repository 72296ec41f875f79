"""The local deployment: one service, replaced by its successor without refusing a request.

The new one starts next to the old one, on a port of its own, has to become ready and to classify known texts; only then it
takes over the listening socket (`service.handover`), and the old one finishes its requests and ends. If this program is killed in
between, both serve, and the next deployment or `stop` finishes the change.
"""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
from filelock import FileLock, Timeout
from tenacity import RetryError, Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from data.artifacts import read_json, write_json
from data.errors import DeploymentFailed
from serving.processes import listeners, living, port_is_taken
from serving.service import control, handover
from serving.service.build import bento_environment
from serving.service.middleware.keys import id_of, keys_of
from serving.settings import ServingSettings
from serving.threads import count_processes

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
STATE = "state.json"
CHANGE = "change.json"
"""The deployments of a change that has not been finished: all but that of `STATE` are to be ended."""
_ACCEPT_S, _ALONE_S = 60.0, 120.0
_OTHER_PORT = "Stop that process, or set GROUNDSWELL_SERVING__PORT."
_LOGS = 10
"""Those of earlier deployments are deleted."""
SMOKE_TEXTS = (
    "I love this, thank you so much, it is wonderful!",
    "This is terrible, the worst service I have ever had, awful.",
    "The meeting starts at noon on Tuesday.",
)

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Deployment:
    """A service: a process of BentoML, and its processes that serve."""

    pid: int
    """Of BentoML's process."""
    process_started: float
    """Start time by the kernel: a pid alone may be reused by another process."""
    port: int
    version: str
    bento: str
    started_at: str
    log: str
    own_port: int = 0
    """For the smoke test, before it has the port. 0: it was started by a version that had none."""
    control: str = ""
    """A path in the folder of the control sockets, of which each process that serves has one; empty: as before."""
    processes: int = 1
    """Those that serve."""

    @property
    def url(self) -> str:
        """Address of the service."""
        return f"http://{HOST}:{self.port}"


def status(state_dir: Path) -> Deployment | None:
    """Return the running deployment, or None."""
    known = _recorded(state_dir)
    return known if known and _process(known) else None


def _recorded(state_dir: Path) -> Deployment | None:
    """Return the last deployment, whether it runs or not."""
    try:
        return Deployment(**read_json(state_dir / STATE))
    except (OSError, ValueError, TypeError):
        return None


def stop(state_dir: Path, *, timeout_s: float = 15.0) -> bool:
    """Stop the deployment and wait until it has ended. False if none ran."""
    with _alone(state_dir):
        running = status(state_dir)
        for one in (*([running] if running else []), *_changed(state_dir)):
            _end(one, timeout_s)
        for name in (STATE, CHANGE):
            (state_dir / name).unlink(missing_ok=True)
        return running is not None


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

    No request is refused meanwhile, unless the old process cannot give away its port: one of an older version, or a damaged one.

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
    change = _Change(
        state_dir,
        settings,
        _child_environment(bentoml_home) | dict(environment or {}),
        progress or (lambda message, fraction: None),
    )
    with _alone(state_dir):
        _finish_change(state_dir, settings.stop_timeout_s)
        old = status(state_dir)
        if old and old.bento == bento and old.port == settings.port and _is_healthy(old, known):
            return old
        if old is None and (ended := _recorded(state_dir)):
            _end(ended, settings.stop_timeout_s)  # its folder is left if it was killed
        require_port(settings.port, old)
        if old is None or old.port != settings.port:
            listener = _listen(settings.port)
        elif not old.control or (listener := handover.ask_for_listener(_sockets(old))) is None:
            return _replace_blocked(change, old, bento, expected_version, known)
        with listener:
            return change.to(bento, expected_version, listener, known, old)


def _replace_blocked(change: "_Change", old: Deployment, bento: str, version: str, known: Mapping[str, str]) -> Deployment:
    """Replace a process that cannot give away its port: end it first, and start it again if the new one fails."""
    change.report("stopping the old process, which cannot give away its port", None)
    try:
        _end(old, change.settings.stop_timeout_s)
        with _listen(old.port) as listener:
            return change.to(bento, version, listener, known)
    except BaseException:
        if status(change.state_dir) is None:
            _log.warning("new deployment failed; restarting %s", old.version)
            with _listen(old.port) as listener:
                change.to(old.bento, old.version, listener, {}, processes=old.processes)  # earlier versions have one
        raise


@dataclass(frozen=True)
class _Change:
    """From one deployment to the next."""

    state_dir: Path
    settings: ServingSettings
    variables: Mapping[str, str]
    """Environment of the service."""
    report: Progress

    def to(
        self,
        bento: str,
        version: str,
        listener: socket.socket,
        known: Mapping[str, str],
        old: Deployment | None = None,
        processes: int | None = None,
    ) -> Deployment:
        """Start a service and test it; then it accepts the listener's connections, and the old one ends.

        `processes` is their number; None: by the settings.

        Raises:
            DeploymentFailed: It failed, and has ended.
        """
        self.report("starting next to the old process" if old else "starting", None)
        processes = processes or count_processes(self.settings)
        new = _start(bento, listener, self.variables, self.state_dir, version, processes)
        try:
            write_json(self.state_dir / CHANGE, [asdict(one) for one in (new, old) if one])
            _prove(new, known, self.settings.ready_timeout_s)
            self.report(f"taking port {new.port}", None)
            _accept(new)
            write_json(self.state_dir / STATE, asdict(new))
            _accept(new)  # a process that was restarted in between has not read the state
        except BaseException:
            if status(self.state_dir) != new:
                _end(new, self.settings.stop_timeout_s)
                (self.state_dir / CHANGE).unlink(missing_ok=True)
            raise
        if old:
            self.report("the old process finishes its requests", None)
        try:
            _finish_change(self.state_dir, self.settings.stop_timeout_s)
        except (OSError, psutil.Error) as error:  # the new one is in use; the next deployment ends the old one
            _log.warning("the old process could not be ended: %s", error)
        return new


def _finish_change(state_dir: Path, timeout_s: float) -> None:
    """End the processes of the last change that are not in use, if that has not been done. `STATE` names the one in use.

    Raises:
        DeploymentFailed: The one in use accepts no connections; none is ended.
    """
    changed, used = _changed(state_dir), status(state_dir)
    if changed and used:
        _accept(used)
    for one in changed:
        if used is None or one.pid != used.pid:
            if one.control:
                control.ask_all(_sockets(one), handover.RELEASE, limit_s=handover.RELEASE_S + handover.COMMAND_S)
            _end(one, timeout_s)
    (state_dir / CHANGE).unlink(missing_ok=True)


def _changed(state_dir: Path) -> list[Deployment]:
    """Return the deployments of a change that has not been finished."""
    try:
        return [Deployment(**one) for one in read_json(state_dir / CHANGE)]
    except (OSError, ValueError, TypeError):
        return []


def _accept(deployment: Deployment) -> None:
    """Let a deployment accept the connections of its port. A process may just be restarting, so all are asked for `_ACCEPT_S`.

    Raises:
        DeploymentFailed: None of its processes did. Those that start later do so by themselves.
    """
    if not deployment.control:  # of a version that accepts from the start
        return

    def ask() -> None:
        responses = control.ask_all(_sockets(deployment), handover.ACCEPT, limit_s=handover.COMMAND_S)
        if not any(isinstance(response, bytes) for response in responses.values()):
            raise next(iter(responses.values()), OSError("no process serves"))  # type: ignore[misc]

    asking = Retrying(
        retry=retry_if_exception_type(OSError), stop=stop_after_delay(_ACCEPT_S), wait=wait_fixed(0.2), reraise=True
    )
    try:
        asking(ask)
    except OSError as error:
        raise DeploymentFailed(
            f"{deployment.bento} did not take port {deployment.port}.",
            found=error,
            remedy=f"See {deployment.log}. `groundswell stop` ends it.",
        ) from error


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Keep other programs from changing the deployment meanwhile.

    Raises:
        DeploymentFailed: Another one has been changing it for `_ALONE_S`.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(state_dir / ".lock", timeout=_ALONE_S):
            yield
    except Timeout:
        raise DeploymentFailed(
            "Another program is changing the deployment.", found=state_dir / ".lock", remedy="Wait until it has ended."
        ) from None


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=handover.BACKLOG)
    except OSError as error:
        raise DeploymentFailed(f"Port {port} is in use.", found=error, remedy=_OTHER_PORT) from error


def _sockets(deployment: Deployment) -> Path:
    """Return the folder of its control sockets."""
    return Path(deployment.control).parent


def smoke_test(deployment: Deployment, known: Mapping[str, str]) -> None:
    """Check that a deployment classifies known texts.

    Args:
        deployment: The deployment; asked on its own port.
        known: Texts and their expected labels; empty: any labels pass.

    Raises:
        DeploymentFailed: It does not respond, reports another version, or predicts another label for a known text.
    """
    texts = list(known) or list(SMOKE_TEXTS)
    try:
        with _own_key(Path(deployment.log).parents[1]) as headers:
            response = httpx.post(f"{_own_url(deployment)}/v1/classify", json={"texts": texts}, headers=headers, timeout=10)
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


def _start(
    bento: str, listener: socket.socket, environment: Mapping[str, str], state_dir: Path, version: str, processes: int
) -> Deployment:
    """Start a service that inherits the listening socket, and accepts nothing from it yet."""
    state_dir.mkdir(parents=True, exist_ok=True)
    own_port, port = _spare_port(), listener.getsockname()[1]
    log = state_dir / f"serve-{own_port}.log"
    _delete_old_logs(state_dir)
    sockets = Path(tempfile.mkdtemp(prefix="groundswell-"))  # the path of a Unix socket may have 100 characters
    control_path = sockets / control.NAME
    ours = {
        "GROUNDSWELL_PATHS__VAR_DIR": str(state_dir.parent.resolve()),
        **handover.variable(listener, control_path, state_dir.resolve() / STATE, processes),
    }
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "bentoml", "serve", bento, "--host", HOST, "--port", str(own_port)],
                env={**environment, **ours},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # it keeps running after the process that started it
                cwd=state_dir,
                pass_fds=[listener.fileno()],
            )
    except BaseException:
        shutil.rmtree(sockets, ignore_errors=True)
        raise
    started = psutil.Process(process.pid).create_time()
    now = datetime.now(UTC).isoformat()
    return Deployment(process.pid, started, port, version, bento, now, str(log), own_port, str(control_path), processes)


def _delete_old_logs(state_dir: Path) -> None:
    """Delete the logs of earlier deployments, but the newest ones and that of the one in use."""
    used = status(state_dir)
    logs = sorted(state_dir.glob("serve-*.log"), key=lambda path: path.stat().st_mtime)
    for log in logs[: 1 - _LOGS]:
        if used is None or log.name != Path(used.log).name:
            log.unlink(missing_ok=True)


def _own_url(deployment: Deployment) -> str:
    return f"http://{HOST}:{deployment.own_port or deployment.port}"


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
    if deployment.control and len(control.sockets_in(_sockets(deployment))) < deployment.processes:
        return False  # a process makes its socket when its model is loaded
    try:
        return httpx.get(f"{_own_url(deployment)}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _is_healthy(deployment: Deployment, known: Mapping[str, str]) -> bool:
    try:
        smoke_test(deployment, known)
        _accept(deployment)
    except DeploymentFailed:
        return False
    return True


def _process(deployment: Deployment) -> psutil.Process | None:
    """The deployment's process, if it runs."""
    return living(deployment.pid, deployment.process_started)


def _end(deployment: Deployment, timeout_s: float) -> None:
    """Stop it and its workers with SIGTERM, wait, and kill those that remain."""
    process = _process(deployment)
    if deployment.control:
        shutil.rmtree(Path(deployment.control).parent, ignore_errors=True)
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
        raise DeploymentFailed(f"Port {port} is in use.", found=_holder(port), remedy=_OTHER_PORT)


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
