"""The workers' own metrics, read from their `/metrics`."""

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

STAGES = ("decode", "tokenize", "model", "encode", "insert", "produce", "commit")


def parse(text: str) -> dict[str, float]:
    """Parse Prometheus's text format: values by name with labels as written, such as `x_total{stage="model"}`."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {_written(sample.name, sample.labels): sample.value for sample in samples}


def _written(name: str, labels: Mapping[str, str]) -> str:
    given = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{given}}}" if labels else name


def read(port: int) -> dict[str, float]:
    """Return the metrics of a worker on this machine."""
    return parse(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).raise_for_status().text)


def stage_us(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return the CPU µs per message by stage between two readings, each the sum over all workers."""
    count = "groundswell_stream_messages_total"
    messages = after.get(count, 0.0) - before.get(count, 0.0)
    if messages <= 0:
        return {}
    by_stage = {}
    for stage in STAGES:
        name = f'groundswell_stream_stage_cpu_seconds_total{{stage="{stage}"}}'
        if name in after:
            by_stage[stage] = 1e6 * (after[name] - before.get(name, 0.0)) / messages
    return by_stage


def total(readings: list[dict[str, float]]) -> dict[str, float]:
    """Return the sum over workers."""
    names = {name for one in readings for name in one}
    return {name: sum(one.get(name, 0.0) for one in readings) for name in names}
