"""What stands behind the routes: one model, the batcher in front of it, and the cache in front of both."""

import time
from collections.abc import Sequence
from typing import Any

from data.labels import LABELS
from data.settings import PathSettings
from serving.bundle import Bundle
from serving.classifier import Classification, Classifier
from serving.service import metrics
from serving.service.batching import Batcher
from serving.service.cache import Cache
from serving.service.jobs import Jobs
from serving.service.schemas import refusal
from serving.service.stores import open_store
from serving.settings import ServingSettings
from serving.threads import cpu_quota

_ABOUT = {"name", "version", "labels", "max_length", "quantization", "data_fingerprint", "metrics", "temperature"}


class Answering:
    """One bundle that answers."""

    def __init__(self, bundle: Bundle, settings: ServingSettings) -> None:
        # One thread a batch and a batch a processor: threads that share a batch wait for each other.
        self._classifier = Classifier(bundle, threads=1)
        self._classifier.classify(["a first text, so that the first caller does not pay for loading"])
        self._batcher = Batcher(
            self._run, workers=cpu_quota(), max_texts=settings.max_batch_texts, window_s=settings.window_ms / 1000,
            deadline_s=settings.deadline_ms / 1000, waited=self._begun,
        )  # fmt: skip
        self._cache = Cache(
            self._batcher.submit, bundle.fingerprint, texts=settings.cache_texts,
            store=open_store(settings, PathSettings.load().var), ttl_s=settings.answers_ttl_s,
        )  # fmt: skip
        self.jobs = Jobs(PathSettings.load().var / "service" / "jobs.db")
        metrics.MODEL.labels(version=bundle.manifest.version).set(1)
        self.version = bundle.manifest.version
        self.about: dict[str, Any] = bundle.manifest.model_dump(mode="json", include=_ABOUT)

    async def judge(self, texts: Sequence[str]) -> list[Classification]:
        """Judge N texts, N answers in their order.

        Raises:
            Overloaded: The wait would be longer than the deadline.
        """
        return await self._cache.judge(texts)

    async def entries(self, texts: Sequence[Any], detail: bool) -> list[dict[str, Any]]:
        """What the API says of N JSON values, in their order: an answer for each text, an error for what is none.

        Raises:
            Overloaded: The wait would be longer than the deadline.
        """
        reasons = [refusal(text) for text in texts]
        good = [text for text, bad in zip(texts, reasons, strict=True) if not bad]
        answers = iter(await self.judge(good) if good else [])
        return [{"error": bad} if bad else _entry(next(answers), detail) for bad in reasons]

    async def close(self) -> None:
        """Answer what waits, then stop."""
        await self._batcher.close()
        await self._cache.close()
        await self.jobs.close()

    def _begun(self, waited_s: float) -> None:
        metrics.QUEUE.observe(waited_s)
        # Set, not asked for when read: BentoML's metrics go through files, where a gauge's function is never called.
        metrics.WAITING.set(self._batcher.waiting_texts)

    def _run(self, texts: list[str]) -> list[Classification]:
        started = time.thread_time()
        answers, timings = self._classifier.classify_timed(texts)
        metrics.CPU_SECONDS.inc(time.thread_time() - started)
        metrics.TOKENIZE.observe(timings.tokenize_s)
        metrics.INFERENCE.observe(timings.inference_s)
        metrics.BATCH_TEXTS.observe(len(texts))
        metrics.BATCH_TOKENS.observe(timings.tokens)
        for answer in answers:
            metrics.TEXTS.labels(label=answer.label).inc()
        return answers


def _entry(answer: Classification, detail: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"label": answer.label, "confidence": answer.confidence}
    if detail:
        found["probabilities"] = dict(zip(LABELS, answer.probabilities, strict=True))
    return found
