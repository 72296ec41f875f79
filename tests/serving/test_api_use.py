"""The use of the API, from differences of counters."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.service.api_use import _totals, use_between


def test_rates_and_quantiles_are_of_what_came_between_two_looks():
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

    work(0, 1_000)  # before: not counted
    before = _totals(registry.collect())
    work(60, 40)
    found = use_between(before, _totals(registry.collect()), 12.0)
    assert (found.seconds, found.requests, found.failed, found.shed) == (12.0, 102, 2, 3)
    assert (found.texts, found.cached, found.batches, found.texts_per_batch) == (20, 7, 2, 10.0)
    assert (found.p50_ms, found.p99_ms) == (10.0, 1000.0)
    assert found.cpu_us_per_text == 2_000


def test_a_service_that_nobody_asked_says_so():
    found = use_between({}, {}, 3.0)
    assert (found.requests, found.p50_ms, found.texts_per_batch, found.cpu_us_per_text) == (0, None, None, None)
