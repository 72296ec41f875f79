"""The number of threads that this process may use, and of processes of the service."""

import math
import os
from pathlib import Path

from serving.settings import MOST_PROCESSES, ServingSettings

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def cpu_quota(cpu_max: Path = _CPU_MAX) -> int:
    """Count the CPUs that this process may use, at least 1: its affinity, or the container's quota if that is less.

    On a system without affinity (macOS) all CPUs count.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
        if quota != "max":
            allowed = min(allowed, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no control group, or another version: the affinity counts
    return max(1, allowed)


def count_processes(settings: ServingSettings) -> int:
    """Return the number of processes of the service: as set, or one for each CPU, at most `MOST_PROCESSES`."""
    return settings.processes or min(cpu_quota(), MOST_PROCESSES)
