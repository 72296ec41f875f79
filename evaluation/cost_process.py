"""The child process of `evaluation.cost`: it loads one candidate, and nothing that the candidate does not need.

This module imports only the standard library, so that memory and load time are those of the candidate. Messages use an
inherited socket: first the pickled factory and the warm-up texts, then orders, each with one response.
"""

import pickle
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from data.errors import ModelError


def peak_memory_mib() -> float:
    """Return the highest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # VmHWM starts with this program; ru_maxrss would inherit the peak of the parent
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def _execute(predictor: Any, order: str, texts: Sequence[str]) -> dict[str, Any]:
    if order == "peak":
        return {"peak_memory_mib": peak_memory_mib()}
    if order == "bulk":
        wall, cpu = time.perf_counter(), time.process_time()
        proba = predictor.predict_proba(texts)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if len(proba) != len(texts):
            raise ModelError("The predictor did not return one row per text.", found=len(proba), expected=len(texts))
        return {"cpu_s": cpu, "wall_s": wall}
    times: list[float] = []
    for text in texts:
        begun = time.perf_counter()
        predictor.predict_proba([text])
        times.append(time.perf_counter() - begun)
    return {"times_s": times}


def serve(descriptor: int) -> None:
    """Load the candidate, warm it up, then execute orders until `stop` or until the parent exits.

    Args:
        descriptor: File descriptor of the inherited socket.
    """
    connection = Connection(descriptor)
    try:
        factory, warm_up = connection.recv()
        begun = time.perf_counter()
        predictor = pickle.loads(factory)()
        loaded = time.perf_counter() - begun
        predictor.predict_proba(warm_up)
        predictor.predict_proba(warm_up[:1])
        connection.send({"load_s": loaded})
        while True:
            order, texts = connection.recv()
            if order == "stop":
                return
            connection.send(_execute(predictor, order, texts))
    except (EOFError, ConnectionError):
        return  # the parent has exited
    except BaseException as error:
        lines = traceback.format_exception(error)
        connection.send({"error": f"{type(error).__name__}: {error}", "traceback": "".join(lines)[-2000:]})
