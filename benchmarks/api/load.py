"""Send load to one server and measure its CPU time: with `wrk` for closed loops, with our own generator otherwise."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.api.servers import RESPONSE_S, Server
from benchmarks.harness.figures import PERCENTILES, percentile
from data.errors import GroundswellError
from data.settings import project_root

SCRIPT = Path(__file__).parent / "wrk.lua"


@dataclass
class Load:
    """The result of one measurement."""

    completed: int
    refused: int
    failed: int
    wall_s: float
    ms: dict[str, float]
    """Percentiles of the time to the response."""
    cpu_s: float = math.nan
    """CPU time of the server's processes."""
    late_ms: float = 0.0
    """99th percentile of the generator's own delay."""
    generator_cpu_s: float = math.nan
    responses: list[Any] = field(default_factory=list, repr=False)

    @property
    def per_s(self) -> float:
        """Completed requests per second."""
        return self.completed / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """CPU time of the server per completed request; NaN for none."""
        return 1e3 * self.cpu_s / self.completed if self.completed else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return it for the JSON file, without the responses."""
        fields = asdict(self) | {"per_s": self.per_s, "cpu_ms": self.cpu_ms}
        del fields["responses"]
        return fields


def parse_wrk(output: str) -> Load:
    """Parse the output of `wrk.lua`.

    Raises:
        GroundswellError: It has no result line.
    """
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise GroundswellError("wrk printed no result.", found=output.strip()[-200:] or "nothing")
    result = json.loads(line.removeprefix("RESULT "))
    return Load(result["requests"] - result["non_2xx"], result["non_2xx"], result["failed"], result["wall_s"], result["ms"])


def parse_generator(output: str) -> Load:
    """Parse the output of `generator.py`."""
    result = json.loads(output)
    ms = {str(which): percentile(result["ms"], which) for which in PERCENTILES}
    return Load(
        len(result["ms"]),
        len(result["refused_ms"]),
        result["failed"],
        result["wall_s"],
        ms,
        late_ms=percentile(result["late_ms"], 99),
        generator_cpu_s=result["cpu_s"],
        responses=result.get("responses", []),
    )


class Loader:
    """Sends load. A server runs only during its measurements and is paused otherwise."""

    def __init__(self, cpus: Sequence[int]) -> None:
        """Create it.

        Args:
            cpus: CPUs for the load generator; empty: it shares those of the servers.
        """
        self.has_wrk = shutil.which("wrk") is not None
        self._prefix = ["taskset", "-c", ",".join(map(str, cpus))] if cpus and shutil.which("taskset") else []

    def closed(self, server: Server, requests: Sequence[Sequence[str]], *, callers: int, seconds: float) -> Load:
        """Run a closed loop: each caller sends its next request when it has the response, on a connection that stays open."""
        if not self.has_wrk:
            return self._generate(server, requests, "--callers", callers, "--seconds", seconds, "--timeout", RESPONSE_S)
        return self._on(server, requests, lambda bodies: self._wrk(server.url, bodies, callers, seconds))

    def all_of(self, server: Server, requests: Sequence[Sequence[str]], *, callers: int) -> Load:
        """Run a closed loop over these requests, each once, and keep the responses."""
        return self._generate(server, requests, "--callers", callers, "--timeout", RESPONSE_S, "--keep")

    def capacity(self, server: Server, requests: Sequence[Sequence[str]], *, callers: int, seconds: float) -> Load:
        """Run a closed loop with the generator of the open loop, so that both use the same share of the CPUs."""
        return self._generate(server, requests, "--callers", callers, "--seconds", seconds, "--timeout", RESPONSE_S)

    def open(self, server: Server, requests: Sequence[Sequence[str]], *, rate: float, timeout_s: float = 10) -> Load:
        """Run an open loop: each request is sent when it is due."""
        return self._generate(server, requests, "--rate", rate, "--timeout", timeout_s)

    def _generate(self, server: Server, requests: Sequence[Sequence[str]], *options: object) -> Load:
        return self._on(server, requests, lambda bodies: self.generate(server.url, bodies, *options))

    def _on(self, server: Server, requests: Sequence[Sequence[str]], work: Callable[[Path], Load]) -> Load:
        with tempfile.TemporaryDirectory() as folder, server.resumed():
            bodies = Path(folder) / "bodies"
            bodies.write_text("".join(server.spec.body(texts) + "\n" for texts in requests), encoding="utf-8")
            server.wait_until_idle()
            before = server.cpu_s()
            load = work(bodies)
            load.cpu_s = server.cpu_s() - before
            server.wait_until_idle()
        return load

    def _wrk(self, url: str, bodies: Path, callers: int, seconds: float) -> Load:
        command = [
            "wrk",
            "-t1",
            f"-c{callers}",
            f"-d{max(1, round(seconds))}s",
            "--timeout",
            f"{RESPONSE_S}s",
            "-s",
            str(SCRIPT),
            url,
        ]
        done = subprocess.run(
            [*self._prefix, *command],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"BENCH_BODIES": str(bodies)},
            timeout=seconds + 2 * RESPONSE_S,
        )
        return parse_wrk(done.stdout + done.stderr)

    def generate(self, url: str, bodies: Path, *options: object) -> Load:
        """Run the generator in its own process.

        Raises:
            GroundswellError: It exits with an error.
        """
        command = [sys.executable, "-m", "benchmarks.api.generator", url, str(bodies), *map(str, options)]
        done = subprocess.run([*self._prefix, *command], capture_output=True, text=True, check=False, cwd=project_root())
        if done.returncode:
            raise GroundswellError("The load generator failed.", found=(done.stderr.strip().splitlines() or ["nothing"])[-1])
        return parse_generator(done.stdout)
