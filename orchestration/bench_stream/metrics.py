"""What workers count themselves, read from their `/metrics`."""

import re
from collections.abc import Mapping

import httpx

_LINE = re.compile(r"^(\w+)(?:\{(.*?)\})? (\S+)$")
STAGES = ("decode", "tokenize", "model", "encode", "insert", "produce", "commit")


def parse(text: str) -> dict[str, float]:
    """Prometheus's text format: values by name, with the labels as they are written, such as `x_total{stage="model"}`."""
    found = {}
    for line in text.splitlines():
        if match := _LINE.match(line):
            name, labels, value = match.groups()
            found[f"{name}{{{labels}}}" if labels else name] = float(value)
    return found


def read(port: int) -> dict[str, float]:
    """The metrics of a worker on this machine."""
    return parse(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).raise_for_status().text)


def stage_us(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Processor time a message by stage, in µs, between two readings; all that was added of all workers."""
    count = "groundswell_stream_messages_total"
    messages = after.get(count, 0.0) - before.get(count, 0.0)
    if messages <= 0:
        return {}
    found = {}
    for stage in STAGES:
        name = f'groundswell_stream_stage_cpu_seconds_total{{stage="{stage}"}}'
        if name in after:
            found[stage] = 1e6 * (after[name] - before.get(name, 0.0)) / messages
    return found


def total(readings: list[dict[str, float]]) -> dict[str, float]:
    """The sum over workers."""
    names = {name for one in readings for name in one}
    return {name: sum(one.get(name, 0.0) for one in readings) for name in names}
