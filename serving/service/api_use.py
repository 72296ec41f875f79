"""What the service did in the last minute, from its own metrics."""

import time
from collections import Counter, deque
from collections.abc import Iterable
from itertools import pairwise

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

from serving.service import panel_schemas as schemas

WINDOW_S = 60.0
JUDGING = frozenset({"/v1/classify", "/v1/jobs", "/v1/results", "/v1/feedback"})
"""Routes that count as use: not the dashboard's own."""
_EVERY_S = 1.0
Totals = dict[tuple[str, frozenset[tuple[str, str]]], float]


class ApiUse:
    """Differences between looks at the counters; looks are taken when somebody asks."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Totals]] = deque([(time.monotonic(), {})])

    def read(self) -> schemas.ApiUse:
        """Of the last minute: between now and the oldest look that is not older, or the youngest that is."""
        now, totals = time.monotonic(), _totals(_families())
        if now - self._looks[-1][0] >= _EVERY_S:
            self._looks.append((now, totals))
        while len(self._looks) > 1 and now - self._looks[1][0] >= WINDOW_S:
            self._looks.popleft()
        begun, before = self._looks[0]
        return use_between(before, totals, now - begun)


def use_between(before: Totals, after: Totals, seconds: float) -> schemas.ApiUse:
    """What happened between two looks; a counter that the first had not began at 0."""
    grown = {key: value - before.get(key, 0.0) for key, value in after.items()}

    def total(name: str, **labels: str) -> float:
        return sum(value for (n, pairs), value in grown.items() if n == name and pairs >= set(labels.items()))

    texts, batches = total("groundswell_texts_total"), total("groundswell_batch_texts_count")
    waits = _buckets(grown, "groundswell_request_seconds_bucket", "/v1/classify")
    cpu_s = total("groundswell_classify_cpu_seconds_total")
    requests: Counter[str] = Counter()
    for (name, pairs), count in grown.items():
        labels = dict(pairs)
        if name == "groundswell_requests_total" and labels["route"] in JUDGING:
            requests[labels["status"]] += round(count)
    return schemas.ApiUse(
        seconds=round(seconds, 1), requests=requests.total(),
        failed=sum(count for status, count in requests.items() if status.startswith("5")),
        shed=round(total("groundswell_shed_total")), texts=round(texts), cached=round(total("groundswell_cached_texts_total")),
        batches=round(batches), texts_per_batch=round(total("groundswell_batch_texts_sum") / batches, 2) if batches else None,
        p50_ms=_quantile_ms(waits, 0.5), p99_ms=_quantile_ms(waits, 0.99),
        cpu_us_per_text=round(1e6 * cpu_s / texts, 1) if texts else None,
    )  # fmt: skip


def _families() -> Iterable[Metric]:
    """Of all processes of the service where BentoML runs several, else of this one."""
    try:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return registry.collect()
    except ValueError:  # PROMETHEUS_MULTIPROC_DIR is not set
        return REGISTRY.collect()


def _totals(families: Iterable[Metric]) -> Totals:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        if family.name.startswith("groundswell_")
        for sample in family.samples
    }


def _buckets(grown: Totals, name: str, route: str) -> list[tuple[float, float]]:
    """(upper edge, requests up to it), rising."""
    found = {float(dict(pairs)["le"]): value for (n, pairs), value in grown.items() if n == name and ("route", route) in pairs}
    return sorted(found.items())


def _quantile_ms(buckets: list[tuple[float, float]], share: float) -> float | None:
    """The upper edge of the bucket that holds the quantile; of the last, open one its lower edge."""
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted = share * buckets[-1][1]
    if buckets[0][1] >= wanted:
        return 1000 * buckets[0][0]
    upper = next(high for low, high in pairwise(buckets) if high[1] >= wanted)
    return 1000 * (upper[0] if upper[0] != float("inf") else buckets[-2][0])
