"""Several consumers in one process that share one model: the other way to use two processors, for the comparison.

`python -m orchestration.bench_stream.consumers COUNT [--stand-in]`; settings and warehouse are those of the environment.
"""

import signal
import sys
import threading
from typing import Any

from orchestration.layout import Layout
from serving.settings import StreamSettings


def main(count: int, *, stand_in: bool) -> None:
    """Work until SIGTERM; then every consumer finishes and leaves."""
    from serving.streaming.model import Followed, StandIn
    from serving.streaming.worker import Worker

    layout, settings, stop = Layout.load(), StreamSettings.load(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    followed = None if stand_in else Followed(layout.var)
    nothing = StandIn()

    def judge() -> Any:
        return followed.current if followed else nothing

    workers = [Worker(settings, layout.var, judge, name=f"shared{number}") for number in range(count)]
    threads = [threading.Thread(target=_run, args=(worker, stop)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _run(worker: Any, stop: threading.Event) -> None:
    try:
        worker.run(stop)
    finally:
        stop.set()  # one that fails ends all: half of the consumers would measure something else


if __name__ == "__main__":
    main(int(sys.argv[1]), stand_in="--stand-in" in sys.argv)
