"""What the demo shows of the API: answers, a long text, a job, many callers at once, and what it all cost.

No feedback: it would be new labeled text, and the next demo would train again.
"""

import asyncio
import time
from collections.abc import Sequence

import httpx
from rich.console import Console

from data.errors import DeploymentFailed
from orchestration.layout import Layout
from serving.client import AsyncSentimentClient, SentimentClient
from serving.deployment import status

TEXTS = (
    "Thank you for the quick help, you saved my trip! 😊",
    "Three hours on hold and then the line went dead. Unbelievable.",
    "The results will be published on Thursday.",
)
LONG = "The flight was fine and the crew was friendly. " * 12 + "Then they lost my bags, and nobody answers the phone. " * 24
JOB_TEXTS, CALLERS, REQUESTS = 500, 64, 640


def ask(layout: Layout) -> dict:
    """Three texts over HTTP, as a caller would."""
    response = httpx.post(f"{_url(layout)}/v1/classify", json={"texts": list(TEXTS)}, timeout=10)
    response.raise_for_status()
    return {"url": _url(layout), **response.json()}


def show_api(console: Console, layout: Layout) -> None:
    """Ask the deployment in every way there is, and say what came of it."""
    url, answers = _url(layout), ask(layout)
    console.print(f"[dim]POST {url}/v1/classify, answered by {answers['model_version']}[/]")
    for text, answer in zip(TEXTS, answers["predictions"], strict=True):
        console.print(f"  {answer['label']:<9} {answer['confidence']:.4f}  {text}", highlight=False)
    with SentimentClient(url) as client:
        (long,) = client.classify([LONG], detail=True)
        parts = [max(window.probabilities, key=lambda pair: pair[1])[0] for window in getattr(long, "windows", None) or ()]
        console.print(
            f"  {getattr(long, 'label', '-'):<9} a text of {len(LONG):,} characters, by its windows: {', '.join(parts)}"
        )
        console.print(f"  {_job(client, _new_texts(JOB_TEXTS))}", highlight=False)
        console.print(f"  {_crowd(url, _new_texts(REQUESTS))}", highlight=False)
        cost = client.model()["cost"]
    console.print(
        f"  so far {cost['texts']:,} texts at {cost['cpu_us_per_text']:,.0f} µs of processor each: "
        f"${cost['usd_per_million_texts']:.3f} a million, at ${cost['cpu_hour_usd']:g} an hour",
        highlight=False,
    )


def _new_texts(count: int) -> list[str]:
    """None of them is in the cache."""
    return [f"{TEXTS[n % len(TEXTS)]} ({time.time_ns()})" for n in range(count)]


def _job(client: SentimentClient, texts: Sequence[str]) -> str:
    started = time.monotonic()
    job = client.submit(texts)
    while job.state != "done" and time.monotonic() - started < 60:
        time.sleep(0.1)
        job = client.job(job.id)
    return f"a job of {job.total:,} texts is {job.state} after {time.monotonic() - started:.1f} s: {job.results}"


def _crowd(url: str, texts: Sequence[str]) -> str:
    async def everybody() -> float:
        waiting = iter(texts)
        async with AsyncSentimentClient(url) as client:

            async def caller() -> None:
                for text in waiting:
                    await client.classify([text])

            started = time.monotonic()
            await asyncio.gather(*(caller() for _ in range(CALLERS)))
            return time.monotonic() - started

    before = _batches(url)
    seconds = asyncio.run(everybody())
    count, judged = (now - then for now, then in zip(_batches(url), before, strict=True))
    return f"{CALLERS} callers at once: {len(texts) / seconds:,.0f} requests a second, {judged / max(1, count):.0f} texts a batch"


def _batches(url: str) -> tuple[float, float]:
    """How many batches there were, and texts in them."""
    lines = (line.rsplit(" ", 1) for line in httpx.get(f"{url}/metrics", timeout=10).text.splitlines() if line[:1] != "#")
    found = {name: float(value) for name, value in lines}
    return found.get("groundswell_batch_texts_count", 0.0), found.get("groundswell_batch_texts_sum", 0.0)


def _url(layout: Layout) -> str:
    deployment = status(layout.deployment)
    if deployment is None:
        raise DeploymentFailed("Nothing is deployed.", remedy="groundswell serve")
    return deployment.url
