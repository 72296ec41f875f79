"""Dagster's web UI and daemon, as `dagster dev` starts them, with a guard in front of the UI, which has no login.

A plain `dagster dev` has no guard: any web page that its user opens can start jobs, schedules and sensors there.
"""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import GroundswellError
from data.settings import project_root
from orchestration.instance import dagster_instance
from serving.processes import port_is_taken
from serving.web_guard import foreign

if TYPE_CHECKING:
    import dagster as dg

HOST = "127.0.0.1"
_POLL_MS = 2000
_STOP_S = 10.0


class Guard:
    """ASGI middleware: refuse requests of other sites' pages, and queries that are not JSON by POST."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse with 403, or pass on."""
        from starlette.responses import PlainTextResponse

        reason = None if scope["type"] == "lifespan" else foreign(scope) or _no_query(scope)
        if reason is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})  # before it is accepted: 403
        else:
            await PlainTextResponse(reason + "\n", 403)(scope, receive, send)


def _no_query(scope: Any) -> str | None:
    """Return why a request could carry a mutation that a browser sends for any page: by GET, or by POST without type or as form.

    Dagster would run it.
    """
    if scope["type"] != "http":
        return None
    headers = dict(scope["headers"])
    if scope["method"] == "POST":
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        return None if kind == b"application/json" else "Content-Type must be application/json."
    if scope["path"].rstrip("/") == "/graphql" and b"text/html" not in headers.get(b"accept", b""):
        return "Queries must be sent by POST."
    return None


def serve_dagster(port: int) -> None:
    """Serve the UI on 127.0.0.1 and run the daemon, until Ctrl-C or SIGTERM.

    Raises:
        GroundswellError: The port is taken.
    """
    import uvicorn
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.cli import DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_MAX_OVERFLOW, DEFAULT_POOL_RECYCLE
    from dagster_webserver.version import __version__

    if port_is_taken(port):
        raise GroundswellError(f"Port {port} is in use.", remedy="Stop the other process, or choose another port with --port.")
    # Started in the background of a script, a process ignores Ctrl-C; and SIGTERM must stop the daemon too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with dagster_instance(capture_output=True) as instance, _code_server(instance) as workspace, _daemon(instance, workspace):
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget([str(workspace)])
        with WorkspaceProcessContext(instance, target, version=__version__) as context:
            app = create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MS)
            print(f"Dagster on http://{HOST}:{port}; Ctrl-C stops it.", flush=True)
            try:
                uvicorn.run(Guard(app), host=HOST, port=port, log_level="warning", timeout_graceful_shutdown=3)
            except KeyboardInterrupt:
                print("Stopping …", flush=True)


@contextmanager
def _code_server(instance: "dg.DagsterInstance") -> Iterator[Path]:
    """Start the process that holds the definitions for UI and daemon; yields a workspace file that names it."""
    import yaml
    from dagster._cli.proxy_server_manager import ProxyServerManager
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    target = WorkspaceFileTarget([str(project_root() / "workspace.yaml")])
    with (
        ProxyServerManager(instance, target, code_server_log_level="warning") as servers,
        tempfile.TemporaryDirectory() as folder,
    ):
        workspace = Path(folder) / "workspace.yaml"
        workspace.write_text(yaml.safe_dump({"load_from": servers.get_code_server_specs()}))
        yield workspace


@contextmanager
def _daemon(instance: "dg.DagsterInstance", workspace: Path) -> Iterator[None]:
    """Run the process that evaluates schedules and sensors and starts queued runs."""
    from dagster._serdes import serialize_value

    reference = serialize_value(instance.get_ref())
    command = [sys.executable, "-m", "dagster._daemon", "run", "--log-level", "warning"]
    process = subprocess.Popen([*command, "--instance-ref", reference, "--workspace", str(workspace)])
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
