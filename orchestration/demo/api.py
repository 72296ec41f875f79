"""The demo's calls to the API: three texts, a long text, a job, many callers at once, and the cost of all of them.

It sends no feedback: that would be new labeled text, and the next demo would train again.
"""

import asyncio
import time
from collections.abc import Sequence

import httpx
from rich.console import Console

from data.errors import DeploymentFailed
from orchestration.layout import Layout
from serving.client import AsyncSentimentClient, RequestRefused, SentimentClient
from serving.deployment import status
from serving.service.problems import NO_DISK

TEXTS = (
    "Thank you for the quick help, you saved my trip! 😊",
    "Three hours on hold and then the line went dead. Unbelievable.",
    "The results will be published on Thursday.",
)
LONG = "The flight was fine and the crew was friendly. " * 12 + "Then they lost my bags, and nobody answers the phone. " * 24
JOB_TEXTS, CALLERS, REQUESTS = 500, 64, 640


def classify_over_http(layout: Layout) -> dict:
    """Classify `TEXTS` over HTTP; returns the response with the service's `url`."""
    response = httpx.post(f"{_url(layout)}/v1/classify", json={"texts": list(TEXTS)}, timeout=10)
    response.raise_for_status()
    return {"url": _url(layout), **response.json()}


def show_api(console: Console, layout: Layout) -> None:
    """Call the deployment in each supported way, and print the results."""
    url, response = _url(layout), classify_over_http(layout)
    console.print(f"[dim]POST {url}/v1/classify, model {response['model_version']}[/]")
    for text, prediction in zip(TEXTS, response["predictions"], strict=True):
        console.print(f"  {prediction['label']:<9} {prediction['confidence']:.4f}  {text}", highlight=False)
    with SentimentClient(url) as client:
        (long,) = client.classify([LONG], detail=True)
        parts = [max(window.probabilities, key=lambda pair: pair[1])[0] for window in getattr(long, "windows", None) or ()]
        console.print(
            f"  {getattr(long, 'label', '-'):<9} a text of {len(LONG):,} characters, by its windows: {', '.join(parts)}"
        )
        console.print(f"  {_job(url, _new_texts(JOB_TEXTS))}", highlight=False)
        console.print(f"  {_concurrent_calls(url, _new_texts(REQUESTS))}", highlight=False)
        cost = client.model()["cost"]
    console.print(
        f"  {cost['texts']:,} texts so far, {cost['cpu_us_per_text']:,.0f} CPU µs per text: "
        f"${cost['usd_per_million_texts']:.3f} per million texts at ${cost['cpu_hour_usd']:g} per CPU hour",
        highlight=False,
    )


def _new_texts(count: int) -> list[str]:
    """Return texts that are not in the cache."""
    return [f"{TEXTS[n % len(TEXTS)]} ({time.time_ns()})" for n in range(count)]


def _job(url: str, texts: Sequence[str]) -> str:
    started = time.monotonic()
    with SentimentClient(url, attempts=1) as client:  # a disk that is nearly full stays so; all else of the demo works
        try:
            job = client.submit(texts)
        except RequestRefused as refused:
            if refused.message != NO_DISK.title:
                raise
            return f"no job: {refused.found}"
        while job.state != "done" and time.monotonic() - started < 60:
            time.sleep(0.1)
            job = client.job(job.id)
    return f"a job of {job.total:,} texts is {job.state} after {time.monotonic() - started:.1f} s: {job.results}"


def _concurrent_calls(url: str, texts: Sequence[str]) -> str:
    async def run_callers() -> float:
        waiting = iter(texts)
        async with AsyncSentimentClient(url) as client:

            async def caller() -> None:
                for text in waiting:
                    await client.classify([text])

            started = time.monotonic()
            await asyncio.gather(*(caller() for _ in range(CALLERS)))
            return time.monotonic() - started

    before = _batches(url)
    seconds = asyncio.run(run_callers())
    count, classified = (now - then for now, then in zip(_batches(url), before, strict=True))
    batch = classified / max(1, count)
    return f"{CALLERS} callers at once: {len(texts) / seconds:,.0f} requests a second, {batch:.0f} texts a batch"


def _batches(url: str) -> tuple[float, float]:
    """Return the number of batches so far, and of texts in them."""
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=10).text)
    metrics = {sample.name: sample.value for family in families for sample in family.samples}
    return metrics.get("groundswell_batch_texts_count", 0.0), metrics.get("groundswell_batch_texts_sum", 0.0)


def _url(layout: Layout) -> str:
    deployment = status(layout.deployment)
    if deployment is None:
        raise DeploymentFailed("Nothing is deployed.", remedy="Run `groundswell promote` or `groundswell serve`.")
    return deployment.url
