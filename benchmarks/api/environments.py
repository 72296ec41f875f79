"""A virtual environment for each peer, created once and kept under `var/bench/envs/`."""

import shutil
import subprocess
import sys
from pathlib import Path

from data.artifacts import is_current, mark_current
from data.errors import GroundswellError

PEERS = Path(__file__).parent / "peers"


def peer_python(name: str, envs: Path) -> Path:
    """Return the interpreter of the environment that `peers/<name>.txt` describes.

    The environment is created if it is missing, or recreated if the file or the Python version has changed.

    Raises:
        GroundswellError: The packages cannot be installed.
    """
    folder, wanted = envs / name, PEERS / f"{name}.txt"
    key = {"requirements": wanted.read_text(encoding="utf-8"), "python": sys.version}
    python = folder / "bin" / "python"
    if is_current(folder, key) and python.is_file():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = _uv()
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], name)
    _run([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), "-r", str(wanted)], name)
    mark_current(folder, key)
    return python


def _uv() -> str:
    in_environment = Path(sys.executable).parent / "uv"
    uv = str(in_environment) if in_environment.is_file() else shutil.which("uv")
    if not uv:
        raise GroundswellError("uv is not installed.", remedy="Run make setup.")
    return uv


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise GroundswellError(f"Peer {name} cannot be installed.", found=lines[-1], remedy=f"See peers/{name}.txt.")
