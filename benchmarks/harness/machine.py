"""The machine that is measured, and the CPUs that the measured systems share."""

import os
import platform
from pathlib import Path
from typing import Any

from serving.threads import cpu_quota

CPUS = 2
"""CPUs of every system under test."""


def describe_machine() -> dict[str, Any]:
    """Return the model of the CPU, the number of cores this process may use, and the version of Python."""
    try:
        model = next(line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line)
    except (OSError, StopIteration):
        model = platform.machine()
    return {"cpu": model, "cores": cpu_quota(), "python": platform.python_version()}


def divide_cpus() -> list[int]:
    """Pin this process and the processes it starts to two CPUs.

    Returns:
        The CPUs left for a load generator. Empty if there are only two, or if the system cannot pin processes (macOS): then all
        share the CPUs.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    mine = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, mine[:CPUS])
    return mine[CPUS:]
