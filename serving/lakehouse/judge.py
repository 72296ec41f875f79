"""Who judges a row of Gold: the bundle inside Spark's Python workers, or the HTTP API."""

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from data.errors import BundleError
from serving.bundle import Bundle
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ANSWERED = "label string, confidence double, negative double, neutral double, positive double, model_version string"
"""What the function gives a text; all null where the model fails on that text alone."""
CACHED_TEXTS = 50_000
"""Answers that a worker keeps, some 300 bytes each."""
REQUESTS = 8
"""Requests to the API under way at once, a worker."""
_Answer = tuple[str, float, float, float, float]


class Remembering:
    """A classifier that answers a text it has seen from memory. For one thread: a Python worker runs one task at a time."""

    loads = 0
    """Models loaded by this process."""

    def __init__(self, folder: Path, threads: int) -> None:
        from cachetools import LRUCache

        from serving.bundle import read_bundle
        from serving.classifier import Classifier

        self._classifier = Classifier(read_bundle(folder), threads=threads)
        self._known: LRUCache[bytes, _Answer] = LRUCache(CACHED_TEXTS)
        self.version = self._classifier.name
        Remembering.loads += 1

    def answer(self, texts: Sequence[str]) -> list[_Answer | None]:
        """One answer a text, None where the model fails on it alone."""
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        found: dict[bytes, _Answer | None] = {key: self._known.get(key) for key in keys}
        new = {key: text for key, text in zip(keys, texts, strict=True) if found[key] is None}
        for key, answer in zip(new, self._classify(list(new.values())), strict=True):
            found[key] = answer
            if answer is not None:
                self._known[key] = answer
        return [found[key] for key in keys]

    def _classify(self, texts: list[str]) -> list[_Answer | None]:
        if not texts:
            return []
        try:
            return [(a.label, a.confidence, *a.probabilities) for a in self._classifier.classify(texts)]
        except BundleError:
            raise  # the model itself, not a text
        except Exception:
            if len(texts) == 1:
                return [None]
        half = len(texts) // 2
        return self._classify(texts[:half]) + self._classify(texts[half:])


@cache
def remembering(folder: str, threads: int) -> Remembering:
    """The one of this process: Spark keeps its workers, so a model is loaded once for each."""
    return Remembering(Path(folder), threads)


def ship(spark: "SparkSession", bundle: Bundle) -> str:
    """Send a bundle to every executor; gives the name by which `bundle_udf` finds it there. A second time costs nothing."""
    # Spark knows an archive by its name, and a version's name says what it answers.
    name = f"{bundle.manifest.version}-{bundle.fingerprint[:12]}"
    context = spark.sparkContext
    if not any(Path(sent).name.startswith(f"{name}.zip") for sent in context.listArchives):
        # Not as a folder: a cluster takes none from the driver's own disk.
        context.addArchive(shutil.make_archive(str(_shipped() / name), "zip", bundle.directory))
    return f"{name}.zip"


@cache
def _shipped() -> Path:
    """A folder for what executors fetch, as long as this process lives."""
    folder = tempfile.TemporaryDirectory(prefix="groundswell-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def bundle_udf(spark: "SparkSession", bundle: Bundle) -> Callable[..., Any]:
    """A column function: texts to `ANSWERED`, by the bundle, which is loaded once in each Python worker.

    A worker runs as many threads as Spark reserves processors for a task, so that the workers of an executor share its processors
    and do not fight for them.
    """
    from pyspark.sql.functions import arrow_udf

    name = ship(spark, bundle)
    threads = int(spark.conf.get("spark.task.cpus", "1") or 1)

    @arrow_udf(ANSWERED)  # pyright: ignore[reportCallIssue, reportArgumentType]
    def judge(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        from pyspark import SparkFiles

        model = remembering(SparkFiles.get(name), threads)
        for texts in batches:
            yield _as_arrow([None if a is None else (*a, model.version) for a in model.answer(texts.to_pylist())])

    return judge


def api_udf(settings: LakehouseSettings) -> Callable[..., Any]:
    """As `bundle_udf`, but the API judges: each worker asks it with `REQUESTS` requests under way."""
    from pyspark.sql.functions import arrow_udf

    url = settings.api_url
    key = settings.api_key.get_secret_value() if settings.api_key else None

    @arrow_udf(ANSWERED)  # pyright: ignore[reportCallIssue, reportArgumentType]
    def judge(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        import asyncio

        for texts in batches:
            yield _as_arrow(asyncio.run(_ask(url, key, texts.to_pylist())))

    return judge


async def _ask(url: str, key: str | None, texts: list[str]) -> list[tuple[Any, ...] | None]:
    import asyncio

    from serving.client import AsyncSentimentClient
    from serving.service.schemas import MAX_TEXTS, Answer

    gate = asyncio.Semaphore(REQUESTS)
    async with AsyncSentimentClient(url, key=key) as client:

        async def part(start: int) -> list[tuple[Any, ...] | None]:
            async with gate:
                response = await client.respond(texts[start : start + MAX_TEXTS], detail=True)
            return [
                (a.label, a.confidence, *a.probabilities.model_dump().values(), response.model_version)
                if isinstance(a, Answer) and a.probabilities
                else None
                for a in response.predictions
            ]

        parts = await asyncio.gather(*(part(start) for start in range(0, len(texts), MAX_TEXTS)))
    return [answer for answers in parts for answer in answers]


def _as_arrow(answers: Sequence[tuple[Any, ...] | None]) -> pa.Array:
    names = ["label", "confidence", "negative", "neutral", "positive", "model_version"]
    types = [pa.string(), *[pa.float64()] * 4, pa.string()]
    empty = (None,) * len(names)
    columns = zip(*(answer or empty for answer in answers), strict=True) if answers else [()] * len(names)
    return pa.StructArray.from_arrays([pa.array(list(c), t) for c, t in zip(columns, types, strict=True)], names)
