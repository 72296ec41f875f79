"""The metrics of all processes of the service together. Each counts in memory, and asks the others when it is asked.

Files that prometheus_client can share between processes would end them on a full disk.
"""

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from serving.service import control

COUNTERS = "counters"
"""The command."""
LABEL = "process"
"""Of each sample, if there are several processes: the number of its process."""
_WAIT_S = 1.0
"""Longest wait for another process; without its response the result lacks what it counted."""


class Counters(Collector):
    """What `generate_latest` reads."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._number = 1
        self.has_others = False
        """Whether the service has other processes, even if none of them runs at this moment."""

    def share(self, folder: Path | None, number: int, processes: int) -> None:
        """From now on ask the other processes of the service.

        Args:
            folder: Of the control sockets; None: there is none, and only this process is counted.
            number: Of this process.
            processes: Of the service.
        """
        self._folder, self._number, self.has_others = folder, number, processes > 1

    def leave(self) -> None:
        """Remove this process's socket: it ends."""
        if self._folder is not None:
            control.leave(self._folder, self._number)
            self._folder = None

    def respond(self) -> bytes:
        """Return what this process has counted, in Prometheus' text format."""
        return generate_latest(REGISTRY)

    def collect(self) -> Iterable[Metric]:
        """Return all metrics. Blocks, at most about `_WAIT_S`."""
        if not self.has_others:
            return REGISTRY.collect()
        responses = {} if self._folder is None else control.ask_all(self._folder, COUNTERS, limit_s=_WAIT_S, but=self._number)
        texts = {name.rpartition("-")[2]: found for name, found in responses.items() if isinstance(found, bytes)}
        return _merge({str(self._number): self.respond()} | texts)


def _merge(texts: dict[str, bytes]) -> list[Metric]:
    """Merge the metrics of processes, by number; each sample is labeled with it."""
    merged: dict[str, Metric] = {}
    for number, text in sorted(texts.items()):
        for family in text_string_to_metric_families(text.decode()):
            whole = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            whole.samples += [sample._replace(labels={**sample.labels, LABEL: number}) for sample in family.samples]
    return list(merged.values())


counters = Counters()
"""Of this process."""
