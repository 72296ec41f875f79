"""Column functions that classify texts: with the bundle inside Spark's Python workers, or through the HTTP API."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from data.errors import BundleError
from data.fingerprint import text_key
from serving.bundle import Bundle
from serving.isolation import isolate_failures
from serving.settings import LakehouseSettings
from serving.tiers import BASE, model_key, point_named

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PREDICTION_TYPE = "label string, confidence double, negative double, neutral double, positive double, model_version string"
"""The result of a column function per text; all null if the model fails on that text. `model_version` is a `model_key`: the
version, or `version/tier` if a smaller tier classified."""
CACHED_TEXTS = 50_000
"""Predictions that a worker caches, about 300 bytes each."""
REQUESTS = 8
"""Concurrent requests to the API per worker."""
_Prediction = tuple[str, float, float, float, float, str]


class CachingClassifier:
    """A classifier with a cache of predictions by text. For one thread: a Python worker runs one task at a time."""

    loads = 0
    """Models loaded by this process."""

    def __init__(self, folder: Path, threads: int, tier: str = BASE) -> None:
        from cachetools import LRUCache

        from serving.bundle import read_bundle
        from serving.classifier import Classifier

        self._classifier = Classifier(read_bundle(folder), threads=threads)
        self._known: LRUCache[bytes, _Prediction] = LRUCache(CACHED_TEXTS)
        self._tier = tier
        CachingClassifier.loads += 1

    def predict(self, texts: Sequence[str]) -> list[_Prediction | None]:
        """Return one prediction per text, a row of `PREDICTION_TYPE`; None if the model fails on that text."""
        keys = [text_key(text) for text in texts]
        predictions: dict[bytes, _Prediction | None] = {key: self._known.get(key) for key in keys}
        new = {key: text for key, text in zip(keys, texts, strict=True) if predictions[key] is None}
        for key, prediction in zip(new, self._classify(list(new.values())), strict=True):
            predictions[key] = prediction
            if prediction is not None:
                self._known[key] = prediction
        return [predictions[key] for key in keys]

    def _classify(self, texts: list[str]) -> list[_Prediction | None]:
        # A BundleError means that the model is broken, not a text.
        found = isolate_failures(lambda some: self._classifier.classify(some, self._tier), texts, fatal=(BundleError,))
        version = self._classifier.name
        return [
            None if isinstance(p, Exception) else (p.label, p.confidence, *p.probabilities, model_key(version, p.tier))
            for p in found
        ]


@cache
def caching_classifier(folder: str, threads: int, tier: str) -> CachingClassifier:
    """Return the classifier of this process. Spark reuses its workers, so each worker loads the model once."""
    return CachingClassifier(Path(folder), threads, tier)


def ship(spark: "SparkSession", bundle: Bundle) -> str:
    """Send a bundle to every executor and return the archive's name for `SparkFiles`. A repeated call sends nothing."""
    # Spark identifies an archive by its name, so the name contains version and fingerprint.
    name = f"{bundle.manifest.version}-{bundle.fingerprint[:12]}"
    context = spark.sparkContext
    if not any(Path(sent).name.startswith(f"{name}.zip") for sent in context.listArchives):
        # Not as a folder: a cluster accepts no folder from the driver's own disk.
        context.addArchive(shutil.make_archive(str(_shipped() / name), "zip", bundle.directory))
    return f"{name}.zip"


@cache
def _shipped() -> Path:
    """Return a folder for files that executors fetch; it is removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="groundswell-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def bundle_udf(spark: "SparkSession", bundle: Bundle, tier: str = BASE) -> Callable[..., Any]:
    """Return a column function from texts to `PREDICTION_TYPE` that loads the bundle once in each Python worker.

    A worker runs one thread per core that Spark reserves for a task, so the workers of an executor do not compete for its cores.

    Raises:
        BundleError: The bundle has no such tier.
    """
    point_named(tier, bundle.manifest.tiers, bundle.manifest.points)  # here, and not in each task
    from pyspark.sql.functions import arrow_udf

    name = ship(spark, bundle)
    threads = int(spark.conf.get("spark.task.cpus", "1") or 1)

    @arrow_udf(PREDICTION_TYPE)  # pyright: ignore[reportCallIssue, reportArgumentType]
    def classify(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        from pyspark import SparkFiles

        model = caching_classifier(SparkFiles.get(name), threads, tier)
        for batch in batches:
            texts: list[Any] = batch.to_pylist()  # strings: every row of Silver has a text
            yield _as_arrow(model.predict(texts))

    return classify


def api_udf(settings: LakehouseSettings) -> Callable[..., Any]:
    """Like `bundle_udf`, but through the HTTP API, with `REQUESTS` concurrent requests per worker."""
    from pyspark.sql.functions import arrow_udf

    url, tier = settings.api_url, settings.tier
    key = settings.api_key.get_secret_value() if settings.api_key else None

    @arrow_udf(PREDICTION_TYPE)  # pyright: ignore[reportCallIssue, reportArgumentType]
    def classify(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        import asyncio

        for batch in batches:
            texts: list[Any] = batch.to_pylist()  # strings: every row of Silver has a text
            yield _as_arrow(asyncio.run(_request_predictions(url, key, texts, tier)))

    return classify


async def _request_predictions(url: str, key: str | None, texts: list[str], tier: str) -> list[tuple[Any, ...] | None]:
    import asyncio

    from serving.client import AsyncSentimentClient
    from serving.service.schemas import MAX_TEXTS, TextPrediction

    slots = asyncio.Semaphore(REQUESTS)
    async with AsyncSentimentClient(url, key=key) as client:

        async def part(start: int) -> list[tuple[Any, ...] | None]:
            async with slots:
                response = await client.respond(texts[start : start + MAX_TEXTS], detail=True, tier=tier)
            return [
                (p.label, p.confidence, *p.probabilities.model_dump().values(), model_key(response.model_version, p.tier or BASE))
                if isinstance(p, TextPrediction) and p.probabilities
                else None
                for p in response.predictions
            ]

        parts = await asyncio.gather(*(part(start) for start in range(0, len(texts), MAX_TEXTS)))
    return [prediction for predictions in parts for prediction in predictions]


def _as_arrow(predictions: Sequence[tuple[Any, ...] | None]) -> pa.Array:
    names = ["label", "confidence", "negative", "neutral", "positive", "model_version"]
    types = [pa.string(), *[pa.float64()] * 4, pa.string()]
    empty = (None,) * len(names)
    columns = zip(*(row or empty for row in predictions), strict=True) if predictions else [()] * len(names)
    return pa.StructArray.from_arrays([pa.array(list(c), t) for c, t in zip(columns, types, strict=True)], names)
