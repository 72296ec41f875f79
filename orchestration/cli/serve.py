"""`groundswell serve`: the production bundle in the foreground."""

import os
import signal
import subprocess
import sys

from rich.console import Console

from data.settings import project_root
from orchestration.layout import Layout
from serving.bundle import production_bundle
from serving.deployment import HOST, require_port
from serving.service.build import bento_environment
from serving.settings import ServingSettings


def serve_production(console: Console, *, port: int | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit status of BentoML.

    Args:
        console: Gets the address.
        port: On 127.0.0.1; None: that of the settings.

    Raises:
        BundleError: Nothing is in production.
        DeploymentFailed: The port is taken.
    """
    layout, port = Layout.load(), ServingSettings.load(port=port).port
    bundle = production_bundle(layout.var)
    require_port(port)
    console.print(
        f"[bold]{bundle.manifest.version}[/] on http://{HOST}:{port}  (docs at http://{HOST}:{port}/docs, Ctrl-C stops)"
    )
    # Absolute paths: the service runs in another folder, and `groundswell doctor` identifies its installation by them.
    environment = bento_environment(layout.bentoml) | {
        "GROUNDSWELL_BUNDLE_DIR": str(bundle.directory),
        "GROUNDSWELL_PATHS__VAR_DIR": str(layout.var),
    }
    command = [sys.executable, "-m", "bentoml", "serve", str(project_root()), "--host", HOST, "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # else the service would outlive this command
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        return process.wait(timeout=30)
