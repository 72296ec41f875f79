"""What an answer costs: CPU, latency, throughput, memory, loading. All candidates in one run, round by round.

Each candidate lives alone in a process of its own, started afresh: its CPU time and peak memory are its own.
The parent lets one process at a time work, and the order moves on by one each round, so that a noisy minute hits all of
them. All candidates stay loaded during the run. Compare CPU time; wall time on a shared machine is noise.
"""

import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
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
_STOP_S = 5.0  # what an idle child gets to leave by itself


@dataclass(frozen=True)
class Spread:
    """Over the rounds: the median (`value`), the lowest and the highest."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> Self:
        """The spread of one number per round."""
        return cls(float(np.median(rounds)), float(min(rounds)), float(max(rounds)))


@dataclass(frozen=True)
class Cost:
    """What one candidate costs."""

    cpu_us_per_text: Spread
    """CPU time of the whole process, user and system, per text in bulk."""
    texts_per_s: Spread
    latency_p50_ms: Spread
    """Wall time of calls with one text."""
    latency_p95_ms: Spread
    latency_p99_ms: Spread
    peak_memory_mib: float
    """Highest resident memory of a process that holds only this candidate."""
    load_s: float
    """From calling the factory in a fresh process to a predictor, the import of its libraries included."""
    file_bytes: int | None
    rounds: int
    bulk_texts: int
    single_texts: int

    @property
    def latencies_ms(self) -> tuple[Spread, Spread, Spread]:
        """p50, p95, p99."""
        return self.latency_p50_ms, self.latency_p95_ms, self.latency_p99_ms

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        spreads: dict[str, Any] = {key: Spread(**value) for key, value in raw.items() if isinstance(value, Mapping)}
        return cls(**{**raw, **spreads})


class _Contestant:
    """One candidate's process, seen from the parent."""

    def __init__(self, name: str, factory: Factory, warm_up: list[str]) -> None:
        self.name = name
        try:
            pickled = pickle.dumps(factory)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ModelError(
                f"Candidate {name!r} cannot be sent to a process of its own.",
                found=error,
                expected="a factory that pickle takes",
                remedy="Use functools.partial of a function at module level.",
            ) from error
        self.connection, theirs = Pipe()
        self.complaints = tempfile.TemporaryFile()  # what libraries print while they load, told if it dies  # noqa: SIM115
        with theirs:
            # Not multiprocessing's spawn: that would import the caller's main program (Dagster, say) in every child.
            # A session of its own: Ctrl-C reaches the parent alone, which ends its children in order.
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.complaints,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        with suppress(OSError):  # it died meanwhile: `hear` says how
            self.connection.send((pickled, warm_up))

    def ask(self, order: str, texts: Sequence[str], timeout_s: float) -> dict[str, Any]:
        """Send an order and wait for its answer."""
        with suppress(OSError):
            self.connection.send((order, list(texts)))
        return self.hear(order, timeout_s)

    def hear(self, order: str, timeout_s: float) -> dict[str, Any]:
        """Wait for the answer.

        Raises:
            ModelError: The candidate failed, its process ended, or the time is over; the message names it.
        """
        if not self.connection.poll(timeout_s):
            raise ModelError(
                f"Candidate {self.name!r} did not finish its {order} round.",
                found=f"no answer in {timeout_s:g} s",
                remedy="Raise evaluation.cost_round_timeout_s (or cost_load_timeout_s), or give it fewer texts.",
            )
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
            self.complaints.seek(0)
            last = self.complaints.read()[-1000:].decode(errors="replace").strip()
            raise ModelError(
                f"The process of candidate {self.name!r} ended during its {order} round.",
                found=f"exit code {self.process.returncode}. {last}",
                remedy="Negative codes are signals; -9 is often too little memory.",
            ) from None
        if "error" in answer:
            raise ModelError(
                f"Candidate {self.name!r} failed in its {order} round.",
                found=answer["error"],
                remedy=f"The end of its traceback:\n{answer['traceback']}",
            )
        return answer

    def stop(self) -> None:
        """Ask the process to leave."""
        with suppress(OSError):  # it is gone already
            self.connection.send(("stop", []))
        self.connection.close()

    def bury(self) -> None:
        """See that it has left."""
        for end in (lambda: None, self.process.terminate, self.process.kill):
            end()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
                break
        self.complaints.close()


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
    """Measure every candidate in the same run.

    Args:
        factories: By candidate name, something picklable that gives a predictor, such as a `functools.partial` of a
            function at module level; called in the candidate's own process.
        texts: Raw texts to choose from (seeded); all candidates get the same ones.
        settings: Rounds, texts per round, time limits.
        file_bytes: Size of each candidate's files, where it has any.
        progress: Told the work and the fraction done.

    Returns:
        Costs by name, in the order of `factories`.

    Raises:
        ModelError: A candidate cannot be started, fails, or runs out of time; named in the message. No process is left.
    """
    if not factories or not texts:
        raise ModelError("There is nothing to measure.", found=f"{len(factories)} candidates, {len(texts)} texts")
    bulk = _chosen(texts, settings.cost_bulk_texts, settings.seed)
    alone = _chosen(texts, settings.cost_single_texts, settings.seed + 1)
    single = [alone[number :: settings.cost_rounds] for number in range(settings.cost_rounds)]
    tell = progress or (lambda message, fraction: None)
    contestants: list[_Contestant] = []
    heard: dict[str, dict[str, list[Any]]] = {name: {"bulk": [], "single": []} for name in factories}
    loaded, peaks = {}, {}
    steps = len(factories) * (settings.cost_rounds + 1)
    done = 0
    try:
        for name, factory in factories.items():  # one after the other: loading is measured too
            tell(f"loading {name}", done / steps)
            contestants.append(_Contestant(name, factory, bulk[:_WARM_UP_TEXTS]))
            loaded[name] = contestants[-1].hear("load", settings.cost_load_timeout_s)["load_s"]
            done += 1
        for number in range(settings.cost_rounds):
            turn = number % len(contestants)
            for contestant in contestants[turn:] + contestants[:turn]:
                tell(f"round {number + 1} of {settings.cost_rounds}: {contestant.name}", done / steps)
                rounds, limit = heard[contestant.name], settings.cost_round_timeout_s
                rounds["bulk"].append(contestant.ask("bulk", bulk, limit))
                if single[number]:
                    rounds["single"].append(contestant.ask("single", single[number], limit)["times_s"])
                done += 1
        for contestant in contestants:
            peaks[contestant.name] = contestant.ask("peak", [], settings.cost_round_timeout_s)["peak_memory_mib"]
    except BaseException:  # Ctrl-C too: whoever is at work need not finish
        for contestant in contestants:
            contestant.process.terminate()
        raise
    finally:
        for contestant in contestants:
            contestant.stop()
        for contestant in contestants:
            contestant.bury()
    sizes = file_bytes or {}
    return {name: _cost(heard[name], loaded[name], peaks[name], sizes.get(name), len(bulk)) for name in factories}


def _cost(rounds: dict[str, list[Any]], load_s: float, peak: float, size: int | None, bulk_texts: int) -> Cost:
    quantiles = np.percentile([np.percentile(times, [50, 95, 99]) for times in rounds["single"]], [0, 50, 100], axis=0) * 1e3
    pooled = np.percentile(np.concatenate(rounds["single"]), [50, 95, 99]) * 1e3
    p50, p95, p99 = (
        Spread(float(pooled[i]), float(min(quantiles[0, i], pooled[i])), float(max(quantiles[2, i], pooled[i]))) for i in range(3)
    )
    return Cost(
        cpu_us_per_text=Spread.of([answer["cpu_s"] / bulk_texts * 1e6 for answer in rounds["bulk"]]),
        texts_per_s=Spread.of([bulk_texts / answer["wall_s"] for answer in rounds["bulk"]]),
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
