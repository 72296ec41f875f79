"""CPUs are counted on every system that Python runs on."""

import ast
import os
from pathlib import Path

import pytest

from benchmarks.harness.machine import divide_cpus
from serving.threads import cpu_quota

ROOT = Path(__file__).parents[2]
LINUX_ONLY = {
    "sched_getaffinity",
    "sched_setaffinity",
    "posix_fadvise",
    "posix_fallocate",
    "fdatasync",
    "pipe2",
    "memfd_create",
    "eventfd",
    "pidfd_open",
    "splice",
    "copy_file_range",
    "getxattr",
    "setxattr",
    "sched_setscheduler",
    "prctl",
    "epoll",
    "O_DIRECT",
    "O_TMPFILE",
    "SOCK_CLOEXEC",
    "TCP_QUICKACK",
    "SO_PEERCRED",
    "cpu_affinity",
    "rlimit",
    "ionice",
}
GUARDED = {"serving/threads.py", "benchmarks/harness/machine.py"}


@pytest.fixture
def _macos(monkeypatch):
    """Remove attributes that Python has on Linux only."""
    for name in LINUX_ONLY:
        monkeypatch.delattr(os, name, raising=False)


@pytest.mark.usefixtures("_macos")
def test_without_affinity_all_cpus_count(tmp_path, monkeypatch):
    absent = tmp_path / "absent"
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert cpu_quota(absent) == 8
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cpu_quota(tmp_path / "cpu.max") == 2
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu_quota(absent) == 1


@pytest.mark.usefixtures("_macos")
def test_without_affinity_benchmarks_share_all_cpus():
    assert divide_cpus() == []


def test_no_other_module_calls_linux_only_functions():
    used = {}
    for folder in ("data", "training", "evaluation", "serving", "orchestration", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            if "node_modules" in path.parts:
                continue
            names = {
                node.attr for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)
            }
            if found := names & LINUX_ONLY:
                used[str(path.relative_to(ROOT))] = found
    assert set(used) <= GUARDED, used
