"""Load on one server, and what it cost there: `wrk` for closed loops, our own generator for the rest."""

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

from data.errors import GroundswellError
from data.settings import project_root
from orchestration.bench_api.figures import PERCENTILES, percentile
from orchestration.bench_api.servers import ANSWER_S, Server

SCRIPT = Path(__file__).parent / "wrk.lua"


@dataclass
class Load:
    """What came of one measurement."""

    answered: int
    refused: int
    failed: int
    wall_s: float
    ms: dict[str, float]
    """Percentiles of the time to an answer."""
    cpu_s: float = math.nan
    """Of the server's processes."""
    late_ms: float = 0.0
    """99th percentile of what the generator was late."""
    generator_cpu_s: float = math.nan
    answers: list[Any] = field(default_factory=list, repr=False)

    @property
    def per_s(self) -> float:
        """Requests answered a second."""
        return self.answered / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """Processor time of the server for an answered request."""
        return 1e3 * self.cpu_s / self.answered if self.answered else math.nan

    def to_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        found = asdict(self) | {"per_s": self.per_s, "cpu_ms": self.cpu_ms}
        del found["answers"]
        return found


def parse_wrk(output: str) -> Load:
    """Read what `wrk.lua` printed.

    Raises:
        GroundswellError: It printed no result.
    """
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise GroundswellError("wrk gave no result.", found=output.strip()[-200:] or "nothing")
    found = json.loads(line.removeprefix("RESULT "))
    return Load(found["requests"] - found["non_2xx"], found["non_2xx"], found["failed"], found["wall_s"], found["ms"])


def parse_generator(output: str) -> Load:
    """Read what `generator.py` printed."""
    found = json.loads(output)
    ms = {str(which): percentile(found["ms"], which) for which in PERCENTILES}
    return Load(
        len(found["ms"]),
        len(found["refused_ms"]),
        found["failed"],
        found["wall_s"],
        ms,
        late_ms=percentile(found["late_ms"], 99),
        generator_cpu_s=found["cpu_s"],
        answers=found.get("answers", []),
    )


class Loader:
    """Sends load. Servers are awake only while they are under it."""

    def __init__(self, processors: Sequence[int]) -> None:
        """Make it.

        Args:
            processors: Where the load runs; none: where everything runs.
        """
        self.has_wrk = shutil.which("wrk") is not None
        self._prefix = ["taskset", "-c", ",".join(map(str, processors))] if processors and shutil.which("taskset") else []

    def closed(self, server: Server, requests: Sequence[Sequence[str]], *, callers: int, seconds: float) -> Load:
        """Callers that each send the next request when they have an answer, on connections that stay open."""
        if not self.has_wrk:
            return self._generate(server, requests, "--callers", callers, "--seconds", seconds, "--timeout", ANSWER_S)
        return self._on(server, requests, lambda bodies: self._wrk(server.url, bodies, callers, seconds))

    def all_of(self, server: Server, requests: Sequence[Sequence[str]], *, callers: int) -> Load:
        """A closed loop over these requests, each once; the answers are kept."""
        return self._generate(server, requests, "--callers", callers, "--timeout", ANSWER_S, "--keep")

    def capacity(self, server: Server, requests: Sequence[Sequence[str]], *, callers: int, seconds: float) -> Load:
        """A closed loop with the generator of the open one, so that it takes as much of the processors as that one will."""
        return self._generate(server, requests, "--callers", callers, "--seconds", seconds, "--timeout", ANSWER_S)

    def open(self, server: Server, requests: Sequence[Sequence[str]], *, rate: float, timeout_s: float = 10) -> Load:
        """Each request when it is due."""
        return self._generate(server, requests, "--rate", rate, "--timeout", timeout_s)

    def _generate(self, server: Server, requests: Sequence[Sequence[str]], *options: object) -> Load:
        return self._on(server, requests, lambda bodies: self.generate(server.url, bodies, *options))

    def _on(self, server: Server, requests: Sequence[Sequence[str]], work: Callable[[Path], Load]) -> Load:
        with tempfile.TemporaryDirectory() as folder, server.awake():
            bodies = Path(folder) / "bodies"
            bodies.write_text("".join(server.spec.body(texts) + "\n" for texts in requests), encoding="utf-8")
            server.settle()
            before = server.cpu_s()
            load = work(bodies)
            load.cpu_s = server.cpu_s() - before
            server.settle()
        return load

    def _wrk(self, url: str, bodies: Path, callers: int, seconds: float) -> Load:
        command = [
            "wrk",
            "-t1",
            f"-c{callers}",
            f"-d{max(1, round(seconds))}s",
            "--timeout",
            f"{ANSWER_S}s",
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
            timeout=seconds + 2 * ANSWER_S,
        )
        return parse_wrk(done.stdout + done.stderr)

    def generate(self, url: str, bodies: Path, *options: object) -> Load:
        """Run the generator, in a process of its own.

        Raises:
            GroundswellError: It failed.
        """
        command = [sys.executable, "-m", "orchestration.bench_api.generator", url, str(bodies), *map(str, options)]
        done = subprocess.run([*self._prefix, *command], capture_output=True, text=True, check=False, cwd=project_root())
        if done.returncode:
            raise GroundswellError("The load generator failed.", found=(done.stderr.strip().splitlines() or ["nothing"])[-1])
        return parse_generator(done.stdout)
