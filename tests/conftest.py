"""Every test runs in folders of its own, with no setting left over from the shell."""

import os
import signal
from typing import Any

import hypothesis
import pytest

from tests import scheduling
from tests.mlflow_store import empty_store  # noqa: F401 - a fixture of all
from tests.trained import trained  # noqa: F401 - a fixture of all

hypothesis.settings.register_profile("no deadlines", deadline=None)  # the time of an example depends on the machine
hypothesis.settings.load_profile("no deadlines")

os.environ["OMP_NUM_THREADS"] = "1"  # two workers on two cores: more threads than that wait for each other
# A short run of Java ends before the optimizing compiler pays off. Without it Java reserves 48 MB for compiled code, too few
# for Spark.
os.environ["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=240m"
os.environ["HF_HUB_OFFLINE"] = "1"  # no test depends on the network; those of the hub have a stub

# A process that is started in the background (`make test &`) ignores Ctrl-C, and so do its children: tests of Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("GROUNDSWELL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("GROUNDSWELL_SERVING__READY_TIMEOUT_S", "600")  # the machine may be busy
    monkeypatch.setenv("GROUNDSWELL_SERVING__MIN_FREE_DISK", "0")  # and its disk nearly full
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    for name in ("DO_NOT_TRACK", "BENTOML_DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("GX_ANALYTICS_ENABLED", "false")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: scheduling.order(item.nodeid.partition("::")[0]))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> scheduling.TakingTurns | None:
    return scheduling.TakingTurns(config, log) if config.getvalue("dist") == "loadfile" else None
