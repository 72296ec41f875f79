"""The use of the API, from differences of counters."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.service.metrics import REQUEST_SECONDS
from serving.service.panels import api_use
from serving.service.panels.api_use import ApiUse, Counts, Totals, counts_of, quantile, use_between


def test_rates_and_quantiles_cover_requests_between_two_samples():
    registry = CollectorRegistry()
    requests = Counter("groundswell_requests", "d", ["route", "status"], registry=registry)
    seconds = Histogram("groundswell_request_seconds", "d", ["route"], buckets=(0.01, 0.1, 1.0), registry=registry)
    texts = Counter("groundswell_texts", "d", ["label"], registry=registry)
    batches = Histogram("groundswell_batch_texts", "d", buckets=(1, 8, 64), registry=registry)
    cpu = Counter("groundswell_classify_cpu_seconds", "d", registry=registry)
    shed = Counter("groundswell_shed", "d", ["cause"], registry=registry)
    cached = Counter("groundswell_cached_texts", "d", ["tier"], registry=registry)

    def work(fast, slow):
        for route, status, count in (("/v1/classify", "200", fast + slow), ("/v1/jobs", "503", 2), ("/v1/panels", "200", 50)):
            requests.labels(route=route, status=status).inc(count)
        for wait, count in ((0.005, fast), (0.5, slow)):
            for _ in range(count):
                seconds.labels(route="/v1/classify").observe(wait)
        for label in ("negative", "positive"):
            texts.labels(label=label).inc(10)
        batches.observe(4)
        batches.observe(16)
        cpu.inc(0.04)
        shed.labels(cause="queue").inc(3)
        cached.labels(tier="memory").inc(7)

    def samples():
        return (sample for family in registry.collect() for sample in family.samples)

    work(0, 1_000)  # before: not counted
    before = counts_of(samples())
    work(60, 40)
    found = use_between([(100.0, before), (112.0, counts_of(samples()))])
    assert (found.seconds, found.requests, found.failed, found.rejected) == (12.0, 102, 2, 3)
    assert (found.texts, found.cached, found.batches, found.texts_per_batch) == (20, 7, 2, 10.0)
    assert found.p50 and found.p99 and (found.p50.ms, found.p99.ms, found.p99.beyond) == (10.0, 1000.0, False)
    assert found.cpu_us_per_text == 2_000
    assert [(row.failed, row.rejected, row.requests_per_s) for row in found.rows] == [(2, 3, 8.5)]


def test_service_without_requests_has_no_quantiles():
    found = use_between([(0.0, Counts()), (3.0, Counts())])
    assert (found.requests, found.p50, found.texts_per_batch, found.cpu_us_per_text) == (0, None, None, None)


def test_request_slower_than_the_last_bucket_is_beyond_it():
    edges = [(0.1, 0.0), (2.5, 0.0), (float("inf"), 4.0)]
    found = quantile(edges, 0.5)
    assert found and (found.ms, found.beyond) == (2500.0, True)


@given(st.lists(st.floats(0.0001, 20), min_size=1, max_size=50), st.floats(0.01, 1))
def test_quantile_is_an_edge_above_at_least_the_share(waits, share):
    edges = [*REQUEST_SECONDS._upper_bounds]
    counts = [(edge, float(sum(wait <= edge for wait in waits))) for edge in edges]
    found = quantile(counts, share)
    assert found
    under = sum(1000 * wait <= found.ms for wait in waits)
    assert under < share * len(waits) if found.beyond else under >= share * len(waits) - 1e-9


def test_span_begins_with_the_last_sample_before_it(monkeypatch):
    now = time.time()
    use = ApiUse()
    use._samples.clear()
    use._samples.extend((now - 10 * (60 - n), Counts(requests=100 * n)) for n in range(60))
    monkeypatch.setattr(api_use, "count_now", lambda: {"": Counts(requests=6000)})
    minute = asyncio.run(use.read())
    assert minute.requests == 600 and minute.seconds == pytest.approx(60, abs=1)
    assert asyncio.run(use.read(now - 299)).requests == 3000
    assert asyncio.run(use.read(now - 86_400)).requests == 6000, "no further back than the first sample"


def test_totals_never_fall_when_a_process_is_replaced_or_does_not_respond():
    totals = Totals()
    half = Counts(requests=100, texts=200, cpu_s=0.5, buckets=((0.1, 60.0), (float("inf"), 100.0)))
    assert totals.update({"1": half, "2": half}) == half + half
    assert totals.update({"1": half}) == half + half, "the second did not respond"
    new = Counts(requests=3, texts=5, cpu_s=0.125, buckets=((0.1, 3.0), (float("inf"), 3.0)))
    assert totals.update({"1": half, "2": new}) == half + half + new, "the second was replaced"
    assert totals.update({"1": half, "2": new + new}) == half + half + new + new


def test_day_of_samples_has_a_bounded_number_of_rows_that_add_up():
    samples = [(10.0 * n, Counts(requests=n, failed=n // 7)) for n in range(8640)]
    found = use_between(samples)
    assert len(found.rows) <= 121 and sum(row.failed for row in found.rows) == found.failed == 8639 // 7
