"""Column functions that classify texts: with the bundle inside Spark's Python workers, or through the HTTP API."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, groupby
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

    from serving.classifier import Classification

PREDICTION_TYPE = (
    "label string, confidence double, negative double, neutral double, positive double, sarcasm double, model_version string"
)
"""The result of a column function per text; all null if the model fails on that text. `sarcasm` is null where the tier does not
predict it. `model_version` is a `model_key`: the
version, or `version/tier` if a smaller tier classified."""
CACHED_TEXTS = 50_000
"""Predictions that a worker caches, about 300 bytes each."""
REQUESTS = 8
"""Concurrent requests to the API per worker."""
_Prediction = tuple[str, float, float, float, float, float | None, str]


class CachingClassifier:
    """A classifier with a cache of predictions by text. For one thread: a Python worker runs one task at a time."""

    loads = 0
    """Models loaded by this process."""

    def __init__(self, folder: Path, threads: int, tier: str = BASE) -> None:
        from cachetools import LRUCache

        from serving.bundle import read_bundle
        from serving.classifier import Classifier

        self._bundle = read_bundle(folder)
        self._classifier = Classifier(self._bundle, threads=threads)
        self._known: LRUCache[bytes, _Prediction] = LRUCache(CACHED_TEXTS)
        self._tier = tier
        CachingClassifier.loads += 1

    def predict(self, texts: Sequence[str], domains: Sequence[str | None]) -> list[_Prediction | None]:
        """Return one prediction per text, a row of `PREDICTION_TYPE`; None if the model fails on that text.

        Args:
            texts: N texts.
            domains: The domain of each, or None where it is not known.
        """
        heads = [self._bundle.head_for(domain) for domain in domains]
        keys = [text_key(text, head.encode()) for text, head in zip(texts, heads, strict=True)]
        predictions: dict[bytes, _Prediction | None] = {key: self._known.get(key) for key in keys}
        new = {key: one for key, *one in zip(keys, texts, heads, strict=True) if predictions[key] is None}
        for key, prediction in zip(new, self._classify(list(new.values())), strict=True):
            predictions[key] = prediction
            if prediction is not None:
                self._known[key] = prediction
        return [predictions[key] for key in keys]

    def _classify(self, asked: list[list[str]]) -> list[_Prediction | None]:
        def classify(part: Sequence[list[str]]) -> "list[Classification]":
            texts, heads = ([one[index] for one in part] for index in (0, 1))
            return self._classifier.classify(texts, self._tier, domains=heads)

        # A BundleError means that the model is broken, not a text.
        found = isolate_failures(classify, asked, fatal=(BundleError,))
        version = self._classifier.name
        return [
            None if isinstance(p, Exception) else (p.label, p.confidence, *p.probabilities, p.sarcasm, model_key(version, p.tier))
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


def bundle_udf(spark: "SparkSession", bundle: Bundle, tier: str = BASE, *, domains: Mapping[str, str]) -> Callable[..., Any]:
    """Return a column function from texts and sources to `PREDICTION_TYPE` that loads the bundle once in each Python worker.

    A worker runs one thread per core that Spark reserves for a task, so the workers of an executor do not compete for its cores.

    Args:
        spark: The session.
        bundle: The bundle.
        tier: The tier that classifies.
        domains: The domain of each source.

    Raises:
        BundleError: The bundle has no such tier.
    """
    point_named(tier, bundle.manifest.tiers, bundle.manifest.points)  # here, and not in each task
    from pyspark.sql.functions import arrow_udf

    name, of_source = ship(spark, bundle), dict(domains)
    threads = int(spark.conf.get("spark.task.cpus", "1") or 1)

    @arrow_udf(PREDICTION_TYPE)  # pyright: ignore[reportCallIssue, reportArgumentType]
    def classify(batches: Iterator[tuple[pa.Array, pa.Array]]) -> Iterator[pa.Array]:
        from pyspark import SparkFiles

        model = caching_classifier(SparkFiles.get(name), threads, tier)
        for batch, sources in batches:
            texts: list[Any] = batch.to_pylist()  # strings: every row of Silver has a text
            yield _as_arrow(model.predict(texts, [of_source.get(str(source)) for source in sources.to_pylist()]))

    return classify


def api_udf(settings: LakehouseSettings, domains: Mapping[str, str]) -> Callable[..., Any]:
    """Like `bundle_udf`, but through the HTTP API, with `REQUESTS` concurrent requests per worker."""
    from pyspark.sql.functions import arrow_udf

    url, tier = settings.api_url, settings.tier
    key, of_source = settings.api_key.get_secret_value() if settings.api_key else None, dict(domains)

    @arrow_udf(PREDICTION_TYPE)  # pyright: ignore[reportCallIssue, reportArgumentType]
    def classify(batches: Iterator[tuple[pa.Array, pa.Array]]) -> Iterator[pa.Array]:
        import asyncio

        for batch, sources in batches:
            texts: list[Any] = batch.to_pylist()  # strings: every row of Silver has a text
            of_each = [of_source.get(str(source)) for source in sources.to_pylist()]
            yield _as_arrow(asyncio.run(_request_predictions(url, key, texts, of_each, tier)))

    return classify


async def _request_predictions(
    url: str, key: str | None, texts: list[str], domains: list[str | None], tier: str
) -> list[tuple[Any, ...] | None]:
    import asyncio

    from serving.client import AsyncSentimentClient
    from serving.service.schemas import MAX_TEXTS, TextPrediction

    slots = asyncio.Semaphore(REQUESTS)
    async with AsyncSentimentClient(url, key=key) as client:

        async def part(places: list[int]) -> list[tuple[Any, ...] | None]:
            async with slots:
                some = [texts[place] for place in places]
                response = await client.respond(some, domain=domains[places[0]], detail=True, tier=tier)
            return [
                (
                    *(p.label, p.confidence, *p.probabilities.model_dump().values(), p.sarcasm),
                    model_key(response.model_version, p.tier or BASE),
                )
                if isinstance(p, TextPrediction) and p.probabilities
                else None
                for p in response.predictions
            ]

        order = sorted(range(len(texts)), key=lambda place: domains[place] or "")
        by_domain = [list(places) for _, places in groupby(order, key=domains.__getitem__)]
        requests = [places[at : at + MAX_TEXTS] for places in by_domain for at in range(0, len(places), MAX_TEXTS)]
        parts = await asyncio.gather(*map(part, requests))
    found = zip(chain(*requests), chain(*parts), strict=True)
    return [prediction for _, prediction in sorted(found, key=lambda pair: pair[0])]


def _as_arrow(predictions: Sequence[tuple[Any, ...] | None]) -> pa.Array:
    names = ["label", "confidence", "negative", "neutral", "positive", "sarcasm", "model_version"]
    types = [pa.string(), *[pa.float64()] * 5, pa.string()]
    empty = (None,) * len(names)
    columns = zip(*(row or empty for row in predictions), strict=True) if predictions else [()] * len(names)
    return pa.StructArray.from_arrays([pa.array(list(c), t) for c, t in zip(columns, types, strict=True)], names)
