"""Several consumers in one process that share one model: an alternative way to use two CPUs, for the comparison.

`python -m benchmarks.stream.consumers COUNT [--stub-model]`; settings and warehouse come from the environment.
"""

import signal
import sys
import threading
from typing import Any

from orchestration.layout import Layout
from serving.settings import ServingSettings, StreamSettings


def main(count: int, *, stub: bool) -> None:
    """Process messages until SIGTERM; then every consumer finishes its work and leaves the group."""
    from serving.streaming.worker.model import ReloadingModel, StubModel
    from serving.streaming.worker.worker import Worker

    layout, settings, stop = Layout.load(), StreamSettings.load(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    reloading = None if stub else ReloadingModel(layout.var, ServingSettings.load().engine, settings.tier)
    stub_model = StubModel()

    def current_model() -> Any:
        return reloading.current if reloading else stub_model

    workers = [Worker(settings, layout.var, current_model, name=f"shared{number}") for number in range(count)]
    threads = [threading.Thread(target=_run, args=(worker, stop)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _run(worker: Any, stop: threading.Event) -> None:
    try:
        worker.run(stop)
    finally:
        stop.set()  # one failed consumer stops all: fewer consumers would measure something else


if __name__ == "__main__":
    main(int(sys.argv[1]), stub="--stub-model" in sys.argv)
