"""The service's own use within a time span, from samples of its metrics: one every ten seconds, kept for a day."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import pairwise

from prometheus_client.samples import Sample

from serving.service.counters import LABEL, counters
from serving.service.panels import schemas

WINDOW_S = 60.0
EVERY_S = 10.0
KEPT_S = 86_400
COUNTED = frozenset({"/v1/classify", "/v1/jobs", "/v1/results", "/v1/feedback"})
"""Routes that count as use, without those of the dashboard."""
PREFIX = "groundswell_"
_MOST_ROWS = 120


@dataclass(frozen=True)
class Counts:
    """Counters of the service, each since its start."""

    requests: int = 0
    failed: int = 0
    rejected: int = 0
    texts: int = 0
    cached: int = 0
    batches: int = 0
    batch_texts: int = 0
    cpu_s: float = 0.0
    buckets: tuple[tuple[float, float], ...] = ()
    """(upper edge in s, requests to /v1/classify up to it), rising."""

    def __add__(self, other: "Counts") -> "Counts":
        sums = {one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self) if one.name != "buckets"}
        edges = sorted({edge for edge, _ in (*self.buckets, *other.buckets)})
        mine, others = dict(self.buckets), dict(other.buckets)
        return replace(self, **sums, buckets=tuple((edge, mine.get(edge, 0.0) + others.get(edge, 0.0)) for edge in edges))


class Totals:
    """Counts of all processes together, which never fall: one that was replaced begins again, one may not respond for once."""

    def __init__(self) -> None:
        self._latest: dict[str, Counts] = {}
        self._ended = Counts()

    def update(self, found: dict[str, Counts]) -> Counts:
        """Return the totals, given the counts by process."""
        for process, counts in found.items():
            before = self._latest.get(process, Counts())
            if counts.requests < before.requests or counts.texts < before.texts:
                self._ended += before
            self._latest[process] = counts
        return sum(self._latest.values(), self._ended)


class ApiUse:
    """Differences between samples of the counters."""

    def __init__(self) -> None:
        self._totals, self._one_by_one = Totals(), asyncio.Lock()
        self._samples: deque[tuple[float, Counts]] = deque([(time.time(), Counts())], maxlen=int(KEPT_S / EVERY_S))

    async def watch(self) -> None:
        """Sample the counters every `EVERY_S`, until cancelled."""
        # A process that replaces another one starts with what the others have counted.
        self._samples[0] = await self._count()
        while True:
            await asyncio.sleep(EVERY_S)
            self._samples.append(await self._count())

    async def _count(self) -> tuple[float, Counts]:
        async with self._one_by_one:  # an older count after a newer one would look like a process that was replaced
            return time.time(), self._totals.update(await asyncio.to_thread(count_now))

    async def read(self, since: float | None = None) -> schemas.ApiUse:
        """Return the use since a time; since the start of the service, or of the last day, if that is shorter.

        Args:
            since: Epoch s; None: the last minute. Precise to `EVERY_S`.
        """
        now, counts = await self._count()
        since = now - WINDOW_S if since is None else since
        samples = [*self._samples, (now, counts)]
        first = max((index for index, (at, _) in enumerate(samples[:-1]) if at <= since), default=0)
        return use_between(samples[first:])


def use_between(samples: list[tuple[float, Counts]]) -> schemas.ApiUse:
    """Return the use between the first and the last sample, in total and by step.

    Args:
        samples: (epoch s, counters), at least two, oldest first.
    """
    (begun, before), (ended, after) = samples[0], samples[-1]
    texts, batches = after.texts - before.texts, after.batches - before.batches
    earlier = dict(before.buckets)
    waits = [(edge, count - earlier.get(edge, 0.0)) for edge, count in after.buckets]
    return schemas.ApiUse(
        seconds=round(ended - begun, 1),
        requests=after.requests - before.requests,
        failed=after.failed - before.failed,
        rejected=after.rejected - before.rejected,
        texts=texts,
        cached=after.cached - before.cached,
        batches=batches,
        texts_per_batch=round((after.batch_texts - before.batch_texts) / batches, 2) if batches else None,
        p50=quantile(waits, 0.5),
        p99=quantile(waits, 0.99),
        cpu_us_per_text=round(1e6 * (after.cpu_s - before.cpu_s) / texts, 1) if texts else None,
        rows=[_row(*pair) for pair in pairwise(_thinned(samples))],
    )


def _thinned(samples: list[tuple[float, Counts]]) -> list[tuple[float, Counts]]:
    step = -(-(len(samples) - 1) // _MOST_ROWS)
    return [*samples[: -1 : max(1, step)], samples[-1]]


def _row(first: tuple[float, Counts], last: tuple[float, Counts]) -> schemas.ApiUseRow:
    (begun, before), (ended, after) = first, last
    seconds = max(1e-3, ended - begun)
    return schemas.ApiUseRow(
        at=round(ended, 1),
        requests_per_s=round((after.requests - before.requests) / seconds, 2),
        texts_per_s=round((after.texts + after.cached - before.texts - before.cached) / seconds, 2),
        failed=after.failed - before.failed,
        rejected=after.rejected - before.rejected,
    )


def quantile(buckets: list[tuple[float, float]], share: float) -> schemas.BucketEdge | None:
    """Return the upper edge of the bucket that has the quantile; of the last, open bucket the lower edge, marked `beyond`."""
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted = share * buckets[-1][1]
    edge = next(edge for edge, count in buckets if count >= wanted)
    if edge == float("inf"):
        return schemas.BucketEdge(ms=1000 * buckets[-2][0], beyond=True)
    return schemas.BucketEdge(ms=1000 * edge, beyond=False)


def count_now() -> dict[str, Counts]:
    """Read the counters of all processes of the service, by process. Blocks, for a second if one of them does not respond."""
    samples: dict[str, list[Sample]] = {}
    for sample in (sample for family in counters.collect() if family.name.startswith(PREFIX) for sample in family.samples):
        samples.setdefault(sample.labels.get(LABEL, ""), []).append(sample)
    return {process: counts_of(found) for process, found in samples.items()}


def counts_of(samples: Iterable[Sample]) -> Counts:
    """Read the counters of a process from its samples."""
    totals: dict[str, float] = {}
    failed = requests = 0.0
    buckets: dict[float, float] = {}
    for sample in samples:
        if sample.name == "groundswell_requests_total":
            if sample.labels["route"] in COUNTED:
                requests += sample.value
                failed += sample.value if sample.labels["status"].startswith("5") else 0
        elif sample.name == "groundswell_request_seconds_bucket":
            if sample.labels["route"] == "/v1/classify":
                edge = float(sample.labels["le"])
                buckets[edge] = buckets.get(edge, 0.0) + sample.value
        else:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return Counts(
        requests=round(requests),
        failed=round(failed),
        rejected=_whole(totals, "groundswell_shed_total"),
        texts=_whole(totals, "groundswell_texts_total"),
        cached=_whole(totals, "groundswell_cached_texts_total"),
        batches=_whole(totals, "groundswell_batch_texts_count"),
        batch_texts=_whole(totals, "groundswell_batch_texts_sum"),
        cpu_s=totals.get("groundswell_classify_cpu_seconds_total", 0.0),
        buckets=tuple(sorted(buckets.items())),
    )


def _whole(totals: dict[str, float], name: str) -> int:
    return round(totals.get(name, 0.0))
