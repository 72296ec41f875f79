"""The cost of predictions: CPU, latency, throughput, memory, load time. All candidates in one run, round by round.

Each candidate has its own new process, so that CPU time and peak memory are those of one candidate. Only one process
works at a time, and the order rotates by one each round, so that noise on the machine affects all candidates alike. All
candidates stay loaded during the run. Compare CPU time; wall time on a shared machine is noisy.
"""

import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from multiprocessing import Pipe
from typing import Any, Self

import numpy as np

from data.contracts import Predictor
from data.errors import ModelError
from evaluation.settings import EvaluationSettings

Factory = Callable[[], Predictor]
Progress = Callable[[str, float | None], None]
_WARM_UP_TEXTS = 16
_PROGRAM = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); from evaluation.cost_process import serve; serve(int(sys.argv[1]))"
)
_STOP_S = 5.0  # seconds for an idle child to exit by itself


@dataclass(frozen=True)
class Spread:
    """Median (`value`), lowest and highest of the rounds."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> Self:
        """Return the spread of one number per round."""
        return cls(float(np.median(rounds)), float(min(rounds)), float(max(rounds)))


@dataclass(frozen=True)
class Cost:
    """The cost of one candidate."""

    cpu_us_per_text: Spread
    """CPU time of the process, user and system, per text in bulk."""
    texts_per_s: Spread
    latency_p50_ms: Spread
    """Wall time of a call with one text."""
    latency_p95_ms: Spread
    latency_p99_ms: Spread
    peak_memory_mib: float
    """Highest resident memory of a process that holds only this candidate."""
    load_s: float
    """Time to create the predictor in a new process, including the import of its libraries."""
    file_bytes: int | None
    rounds: int
    bulk_texts: int
    single_texts: int

    @property
    def latencies_ms(self) -> tuple[Spread, Spread, Spread]:
        """Latency p50, p95 and p99."""
        return self.latency_p50_ms, self.latency_p95_ms, self.latency_p99_ms

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the cost from its JSON form."""
        spreads: dict[str, Any] = {each.name: Spread(**raw[each.name]) for each in fields(cls) if each.type is Spread}
        return cls(**{**raw, **spreads})


class _CandidateProcess:
    """The process of one candidate, seen from the parent."""

    def __init__(self, name: str, factory: Factory, warm_up: list[str]) -> None:
        self.name = name
        try:
            pickled = pickle.dumps(factory)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ModelError(
                f"Candidate {name!r} cannot be sent to its process.",
                found=error,
                expected="a factory that can be pickled",
                remedy="Use functools.partial of a function at module level.",
            ) from error
        self.connection, theirs = Pipe()
        self.stderr = tempfile.TemporaryFile()  # reported if the process dies  # noqa: SIM115
        with theirs:
            # Not multiprocessing's spawn: that would import the caller's main program (such as Dagster) in every child.
            # A new session: Ctrl-C reaches only the parent, which ends its children in order.
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        with suppress(OSError):  # the process has died: `receive` reports how
            self.connection.send((pickled, warm_up))

    def request(self, order: str, texts: Sequence[str], timeout_s: float) -> dict[str, Any]:
        """Send an order and wait for the response."""
        with suppress(OSError):
            self.connection.send((order, list(texts)))
        return self.receive(order, timeout_s)

    def receive(self, order: str, timeout_s: float) -> dict[str, Any]:
        """Wait for the response to an order.

        Raises:
            ModelError: The candidate failed, its process ended, or `timeout_s` has passed; the message names the candidate.
        """
        if not self.connection.poll(timeout_s):
            raise ModelError(
                f"Candidate {self.name!r} did not finish its {order} round.",
                found=f"no response in {timeout_s:g} s",
                remedy="Increase evaluation.cost_round_timeout_s (or cost_load_timeout_s), or use fewer texts.",
            )
        try:
            response = self.connection.recv()
        except (EOFError, OSError):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
            self.stderr.seek(0)
            last = self.stderr.read()[-1000:].decode(errors="replace").strip()
            raise ModelError(
                f"The process of candidate {self.name!r} ended during its {order} round.",
                found=f"exit code {self.process.returncode}. {last}",
                remedy="A negative code is a signal; -9 often means too little memory.",
            ) from None
        if "error" in response:
            raise ModelError(
                f"Candidate {self.name!r} failed in its {order} round.",
                found=response["error"],
                remedy=f"The end of its traceback:\n{response['traceback']}",
            )
        return response

    def stop(self) -> None:
        """Send the order to stop."""
        with suppress(OSError):  # the process has exited already
            self.connection.send(("stop", []))
        self.connection.close()

    def reap(self) -> None:
        """Wait for the process to exit; terminate it, then kill it, if it does not."""
        for end in (lambda: None, self.process.terminate, self.process.kill):
            end()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
                break
        self.stderr.close()


def _chosen(texts: Sequence[str], count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(texts), size=count, replace=count > len(texts))
    return [texts[int(index)] for index in chosen]


def measure_cost(
    factories: Mapping[str, Factory],
    texts: Sequence[str],
    settings: EvaluationSettings,
    *,
    file_bytes: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Cost]:
    """Measure all candidates in one run.

    Args:
        factories: By candidate name, a picklable function that returns a predictor, such as a `functools.partial` of a
            function at module level; called in the process of the candidate.
        texts: Raw texts to sample from (seeded); all candidates get the same sample.
        settings: Rounds, texts per round, time limits.
        file_bytes: Size of the files of each candidate that has any.
        progress: Called with the current step and the fraction done.

    Returns:
        Costs by name, in the order of `factories`.

    Raises:
        ModelError: A candidate cannot be started, fails or exceeds a time limit; the message names it. No process is left.
    """
    if not factories or not texts:
        raise ModelError("There is nothing to measure.", found=f"{len(factories)} candidates, {len(texts)} texts")
    bulk = _chosen(texts, settings.cost_bulk_texts, settings.seed)
    alone = _chosen(texts, settings.cost_single_texts, settings.seed + 1)
    single = [alone[number :: settings.cost_rounds] for number in range(settings.cost_rounds)]
    report: Progress = progress or (lambda message, fraction: None)
    processes: list[_CandidateProcess] = []
    measured: dict[str, dict[str, list[Any]]] = {name: {"bulk": [], "single": []} for name in factories}
    loaded: dict[str, float] = {}
    peaks: dict[str, float] = {}
    steps = len(factories) * (settings.cost_rounds + 1)
    done = 0
    try:
        for name, factory in factories.items():  # one after the other: load time is measured too
            report(f"loading {name}", done / steps)
            processes.append(_CandidateProcess(name, factory, bulk[:_WARM_UP_TEXTS]))
            loaded[name] = processes[-1].receive("load", settings.cost_load_timeout_s)["load_s"]
            done += 1
        for number in range(settings.cost_rounds):
            turn = number % len(processes)
            for process in processes[turn:] + processes[:turn]:
                report(f"round {number + 1} of {settings.cost_rounds}: {process.name}", done / steps)
                rounds, limit = measured[process.name], settings.cost_round_timeout_s
                rounds["bulk"].append(process.request("bulk", bulk, limit))
                if single[number]:
                    rounds["single"].append(process.request("single", single[number], limit)["times_s"])
                done += 1
        for process in processes:
            peaks[process.name] = process.request("peak", [], settings.cost_round_timeout_s)["peak_memory_mib"]
    except BaseException:  # also on Ctrl-C: a busy process must not finish its round first
        for process in processes:
            process.process.terminate()
        raise
    finally:
        for process in processes:
            process.stop()
        for process in processes:
            process.reap()
    sizes = file_bytes or {}
    return {name: _cost(measured[name], loaded[name], peaks[name], sizes.get(name), len(bulk)) for name in factories}


def _cost(rounds: dict[str, list[Any]], load_s: float, peak: float, size: int | None, bulk_texts: int) -> Cost:
    quantiles = np.percentile([np.percentile(times, [50, 95, 99]) for times in rounds["single"]], [0, 50, 100], axis=0) * 1e3
    pooled = np.percentile(np.concatenate(rounds["single"]), [50, 95, 99]) * 1e3
    p50, p95, p99 = (
        Spread(float(pooled[i]), float(min(quantiles[0, i], pooled[i])), float(max(quantiles[2, i], pooled[i]))) for i in range(3)
    )
    return Cost(
        cpu_us_per_text=Spread.of([one["cpu_s"] / bulk_texts * 1e6 for one in rounds["bulk"]]),
        texts_per_s=Spread.of([bulk_texts / one["wall_s"] for one in rounds["bulk"]]),
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        peak_memory_mib=peak,
        load_s=load_s,
        file_bytes=size,
        rounds=len(rounds["bulk"]),
        bulk_texts=bulk_texts,
        single_texts=sum(map(len, rounds["single"])),
    )
