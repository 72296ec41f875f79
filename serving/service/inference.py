"""The inference service behind the routes: one model, a batcher in front of it, and a cache in front of both."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from data.cleaning import clean
from data.domains import GENERAL
from data.errors import SettingsError
from data.feedback import open_feedback
from data.labels import LABELS
from data.language import SAMPLE, Languages, language_label, language_of
from data.readable import MAX_DOCUMENT_CHARS, explain, unreadable
from data.settings import CostSettings, LanguageSettings, PathSettings
from data.targets import TARGET_DOMAIN
from serving.bundle import Bundle, read_card
from serving.classifier import Classification, Classifier
from serving.engines.choice import EngineChoice, choose_engine, engine_cache
from serving.engines.engine import on_engine
from serving.ledger import current_moves
from serving.load_control import LoadControl
from serving.service import metrics
from serving.service.batching import Batcher
from serving.service.cache.predictions import Cache
from serving.service.cache.shared import SharedPredictions
from serving.service.cache.stores import open_store
from serving.service.disk import Disk
from serving.service.jobs.documents import classify_windows
from serving.service.jobs.queue import Jobs, Options
from serving.service.jobs.sqlite import SQLiteJobs
from serving.service.logs import log
from serving.service.middleware.observing import tracer
from serving.service.off_loop import off_loop
from serving.service.schemas import (
    MAX_BODY_BYTES,
    MAX_JOB_BYTES,
    MAX_JOB_TEXTS,
    MAX_TEXTS,
    MAX_WEIGHT,
    WEIGHT_CHARS,
    weight,
)
from serving.settings import ServingSettings
from serving.targets import Marked, mark, score_target
from serving.threads import cpu_quota
from serving.tiers import AUTO, BASE

PROOF_TEXT = "a text that proves that texts are classified"
PROOF_S = 10.0
"""A text classified in the last `PROOF_S` seconds proves readiness, so under load no extra text is classified."""
_PROOF_WAIT_S = 1.5
"""Below the time-out of a readiness probe."""
_ALIASES = ("production", "staging", "previous")
_ABOUT = {
    *("name", "version", "labels", "languages", "max_length", "quantization", "data_fingerprint", "metrics", "training"),
    *("heads", "sarcasm", "targets", "temperature", "tiers", "points"),
}


_LIMITS = {
    "texts": MAX_TEXTS,
    "characters": MAX_DOCUMENT_CHARS,
    "characters_together": MAX_WEIGHT * WEIGHT_CHARS,
    "body_bytes": MAX_BODY_BYTES,
    "job_texts": MAX_JOB_TEXTS,
    "job_bytes": MAX_JOB_BYTES,
}


class _Asked(NamedTuple):
    """A cleaned text, and the tier and the head that the request asks for."""

    text: str
    tier: str
    head: str
    for_job: bool


class InferenceService:
    """Classify texts with one bundle, batched and cached."""

    def __init__(
        self, bundle: Bundle, settings: ServingSettings, processes: int = 1, number: int = 1, folder: Path | None = None
    ) -> None:
        """Load the model and open the stores.

        Args:
            bundle: A verified bundle.
            settings: Of the service.
            processes: That share the CPUs, this one included.
            number: Of this process; the first one takes jobs while it gets requests too.
            folder: That the processes share; None: each keeps its predictions for itself.
        """
        # One thread per batch and one batch per CPU: threads that share a batch wait for each other.
        threads = -(-cpu_quota() // processes)
        var = PathSettings.load().var
        self.bundle, self._is_first = bundle, number == 1
        self._engine = choose_engine(bundle, settings.engine, threads=1, cache=engine_cache(var))
        self._classifier = Classifier(bundle, threads=1, engine=self._engine.engine)
        self._classifier.classify([PROOF_TEXT])  # warm-up: the first caller does not pay for loading
        language_of(PROOF_TEXT)
        self._requests = itertools.count()
        self.languages = Languages(bundle.manifest.languages, reject=LanguageSettings.load().reject)
        self._classified_at = time.monotonic()
        self._batcher: Batcher[_Asked, Classification] = Batcher(
            partial(_run_by_tier, self._run_tier),
            workers=threads,
            max_texts=settings.max_batch_texts,
            deadline_s=settings.deadline_ms / 1000,
            on_start=self._on_batch_start,
            weigh=lambda one: weight(one.text),
            size=lambda one: len(one.text),
        )
        self._store = open_store(settings, var)
        self._cache = Cache(
            self._submit,
            on_engine(bundle.fingerprint, self._engine.engine.name),
            texts=settings.cache_texts,
            store=self._store,
            ttl_s=settings.prediction_ttl_s,
            tiers=bundle.tiers,
            points=bundle.points,
            heads=bundle.heads,
            shared=_share_predictions(folder, settings) if folder is not None and processes > 1 else None,
        )
        # Texts are to wait at most a tenth of the time after which requests are refused.
        self._control: LoadControl | None = None
        if settings.floor is not None:
            self._control = LoadControl(BASE, settings.floor, threads, settings.deadline_ms / 10_000)
        self._arrived, self._point_shown = 0, ""
        metrics.OVERLOADED.set_function(self._is_overloaded)  # read by scrapes: without requests nothing else would reset it
        self.tiers = (*bundle.tiers, AUTO)
        """What a request may name."""
        self.disk = Disk(var, settings.min_free_disk)
        """The disk that stores jobs and feedback."""
        self.jobs = open_jobs(settings, var, self.disk)
        self.feedback = open_feedback(var)
        for gauge in (metrics.STORE_UP, metrics.JOBS_UP):
            gauge.set(1)
        metrics.MODEL.labels(version=bundle.manifest.version).set(1)
        _show_engine(self._engine)
        self.version = bundle.manifest.version
        self.card = read_card(bundle)
        """Markdown."""
        self._about: dict[str, Any] = bundle.manifest.model_dump(mode="json", include=_ABOUT)
        self._cost, self._deadline_ms = CostSettings.load(), settings.deadline_ms
        self._counting = Lock()
        self._cpu_s, self._texts = 0.0, 0

    async def classify(
        self, texts: Sequence[str], tier: str | None = None, domain: str | None = None, *, for_job: bool = False
    ) -> list[Classification]:
        """Classify N cleaned texts of a domain; N predictions in the same order.

        Without a tier: `base`, or what load control chooses. A domain without a head, or none: `general`. Texts of a job come
        after those of requests.

        Raises:
            Overloaded: The wait would be longer than the deadline.
        """
        or_base, tier, head = tier is None, tier or self.choose_point(), self.bundle.head_for(domain)
        if (spans := tracer()) is None:
            return await self._cache.classify(texts, tier, head, or_base=or_base, for_job=for_job)
        with spans.start_as_current_span("classify", attributes={"groundswell.texts": len(texts), "groundswell.tier": tier}):
            return await self._cache.classify(texts, tier, head, or_base=or_base, for_job=for_job)

    def choose_point(self) -> str:
        """Return the operating point of a request that names no tier, now, and show it in the metrics."""
        if self._control is None:
            return BASE
        if self._control.due():
            self._control.update(self._batcher.waiting_texts, self._arrived)
        point = self._control.point_for(self._classifier)
        if point.name != self._point_shown:
            self._point_shown = point.name
            metrics.POINT.clear()
            metrics.POINT.labels(point.name).set(1)
            metrics.EXPECTED.set(point.macro_recall or 0.0)
        return point.name

    def _is_overloaded(self) -> float:
        self.choose_point()
        return float(bool(self._control and self._control.overloaded))

    async def _submit(self, texts: Sequence[str], tier: str, head: str, for_job: bool = False) -> list[Classification]:
        if not for_job:
            self._arrived += len(texts)
        return await self._batcher.submit([_Asked(text, tier, head, for_job) for text in texts], for_job=for_job)

    async def entries(self, texts: Sequence[Any], options: Options) -> list[dict[str, Any]]:
        """As `predictions`, for texts of a job that are not cleaned yet; by `base` where the bundle has no such tier (any more).

        Of a document: the results of `classify_windows`.
        """
        if options.document is not None:
            return await classify_windows(self, texts, options)
        detail, tier = options.detail, options.tier if options.tier in self.tiers else BASE
        size = sum(len(text) for text in texts if isinstance(text, str))
        return await self.predictions(
            await off_loop(size, read_texts, texts, self.needs_languages(detail)), detail, tier, options.domain, for_job=True
        )

    def needs_languages(self, detail: bool) -> bool:
        """Return whether the languages of a request's texts are detected: for its response, or for the metrics."""
        return detail or self.languages.reject or next(self._requests) % SAMPLE == 0

    async def predictions(
        self, reading: "Reading", detail: bool, tier: str | None = None, domain: str | None = None, *, for_job: bool = False
    ) -> list[dict[str, Any]]:
        """Return the API's entries for N texts, in order: a prediction each, or an error for a text that cannot be classified.

        Raises:
            Overloaded: The wait would be longer than the deadline.
        """
        languages = self.languages
        errors = [
            error or (languages.rejection(language) and languages.explain(language))
            for error, language in zip(reading.errors, reading.languages, strict=True)
        ]
        good = [text for text, error in zip(reading.cleaned, errors, strict=True) if not error]
        predictions = iter(await self.classify(good, tier, domain, for_job=for_job) if good else [])
        marked = [one for row, error in zip(reading.marked, errors, strict=True) if not error for one in row]
        found = iter(await self.classify([one.text for one in marked], BASE, TARGET_DOMAIN) if marked else [])
        if reading.has_languages:
            _count(reading)
        entries: list[dict[str, Any]] = []
        for text, error, language, row in zip(reading.cleaned, errors, reading.languages, reading.marked, strict=True):
            entry: dict[str, Any] = {"error": error} if error else _entry(text, next(predictions), detail)
            if row and not error:
                entry["targets"] = [asdict(score_target(one, next(found))) for one in row]
            if detail and not error:
                entry |= {"language": language}
                if warning := languages.warning(language):
                    entry["warning"] = warning
            entries.append(entry)
        return entries

    def describe(self, of_all: tuple[float, int] | None = None) -> dict[str, Any]:
        """Describe the served model: version, metrics, limits, and its cost since the service started.

        Args:
            of_all: CPU time in seconds and texts of all processes; None: this one is alone.
        """
        metrics_of = dict(self._about["metrics"])
        slices = metrics_of.pop("slices", {})
        return self._about | {
            "alias": _alias_of(self.version),
            "engine": self._engine.describe(),
            "point": self.choose_point(),
            "metrics": metrics_of,
            "slices": slices,
            "limits": _LIMITS | {"deadline_ms": self._deadline_ms},
            "cost": _cost_of(*(of_all or (self._cpu_s, self._texts)), self._cost),
        }

    def takes_jobs(self) -> bool:
        """Whether this process classifies jobs now: while requests come only the first one does, so that it is slow for few."""
        return self._is_first or self._batcher.is_quiet()

    def full(self) -> int | None:
        """Seconds after which a caller may retry; None while the queue has room."""
        return self._batcher.full()

    def stores(self) -> dict[str, str]:
        """Each store by name: `up` or `down`, by the result of its last operation."""
        known = {"jobs": self.jobs.up} | ({"answers": self._store.up} if self._store else {})
        return {name: "up" if up else "down" for name, up in known.items()}

    def disk_status(self) -> dict[str, Any]:
        """Free share of the disk that stores jobs and feedback (None: unknown), and whether new ones are accepted."""
        share = self.disk.free_share()
        return {"free": None if share is None else round(share, 3), "accepts_jobs": self.disk.has_space()}

    async def prove(self) -> None:
        """Check that texts are classified: return if one was in the last `PROOF_S`, else classify one through the batcher.

        Raises:
            Overloaded, TimeoutError: Other texts wait, and no batch has finished.
            Exception: What the model raises.
        """
        if time.monotonic() - self._classified_at > PROOF_S:
            async with asyncio.timeout(_PROOF_WAIT_S):
                await self._submit([PROOF_TEXT], BASE, GENERAL)

    async def settle(self) -> None:
        """Wait until all predictions are written to the prediction store."""
        await self._cache.settle()

    async def close(self) -> None:
        """Classify the texts that wait, then stop."""
        await self._batcher.close()
        await self._cache.close()
        await self.jobs.close()

    def _on_batch_start(self, waited_s: float) -> None:
        metrics.QUEUE.observe(waited_s)
        metrics.WAITING.set(self._batcher.waiting_texts)

    def _run_tier(self, batch: list[_Asked], tier: str) -> list[Classification]:
        texts = [one.text for one in batch]
        started, begun_ns = time.thread_time(), time.time_ns()
        predictions, timings = self._classifier.classify_cleaned(texts, tier, domains=[one.head for one in batch])
        self._classified_at = time.monotonic()
        if texts == [PROOF_TEXT]:
            return predictions
        cpu_s = time.thread_time() - started
        with self._counting:
            self._cpu_s, self._texts = self._cpu_s + cpu_s, self._texts + len(texts)
        if self._control and not batch[0].for_job:  # threads for jobs are slower
            self._control.record(self._classifier.point(tier), len(texts), (time.time_ns() - begun_ns) / 1e9)
        metrics.CPU_SECONDS.inc(cpu_s)
        metrics.TOKENIZE.observe(timings.tokenize_s)
        metrics.INFERENCE.observe(timings.inference_s)
        metrics.BATCH_TEXTS.observe(len(texts))
        metrics.BATCH_TOKENS.observe(timings.tokens)
        if spans := tracer():  # a batch serves many requests, so it has its own trace
            counts = {"texts": len(texts), "tokens": timings.tokens, "cpu_s": cpu_s}
            counts |= {"tokenize_s": timings.tokenize_s, "inference_s": timings.inference_s}
            attributes = {f"groundswell.{name}": count for name, count in counts.items()}
            spans.start_span("batch", attributes=attributes, start_time=begun_ns).end()
        for prediction in predictions:
            metrics.TEXTS.labels(label=prediction.label).inc()
            metrics.TIERS.labels(tier=prediction.tier).inc()
        return predictions


def _run_by_tier(run: Callable[[list[_Asked], str], list[Classification]], batch: list[_Asked]) -> list[Classification]:
    """Classify a batch; texts of different tiers run one tier after the other."""
    if len(tiers := {one.tier for one in batch}) == 1:
        return run(batch, tiers.pop())
    predictions: dict[int, Classification] = {}
    for tier in sorted(tiers):
        places = [place for place, one in enumerate(batch) if one.tier == tier]
        predictions |= zip(places, run([batch[place] for place in places], tier), strict=True)
    return [predictions[place] for place in range(len(batch))]


def _share_predictions(folder: Path, settings: ServingSettings) -> SharedPredictions | None:
    try:
        return SharedPredictions(folder, settings.cache_texts)
    except OSError as error:  # the service works without
        log().error("each process keeps its predictions for itself", error=str(error))
        return None


def _cost_of(cpu_s: float, texts: int, settings: CostSettings) -> dict[str, Any]:
    """Describe what classifying these texts has cost."""
    cpu_us = cpu_s / texts * 1e6 if texts else None
    return {
        "texts": texts,
        "cpu_us_per_text": cpu_us and round(cpu_us, 1),
        "cpu_hour_usd": settings.cpu_hour_usd,
        "usd_per_million_texts": cpu_us and round(settings.per_million(cpu_us), 4),
    }


def _show_engine(choice: EngineChoice) -> None:
    metrics.ENGINE.labels(choice.engine.name, choice.engine.version, choice.chosen).set(1)
    for name, figures in choice.measured.items():
        if figures["cpu_us"] is not None:
            metrics.ENGINE_CPU.labels(name).set(figures["cpu_us"] / 1e6)


def _alias_of(version: str) -> str | None:
    """Alias that points to this version now, by the ledger; None: none does."""
    moves = current_moves(PathSettings.load().var)
    return next((a for a in _ALIASES if a in moves and str(moves[a].get("bundle", "")).endswith(f"/{version}")), None)


def open_jobs(settings: ServingSettings, var: Path, disk: Disk) -> Jobs:
    """Open the job store that the settings name.

    Raises:
        SettingsError: `serving.jobs` is sqs and the queue URL is missing.
    """
    if settings.jobs == "sqlite":
        return SQLiteJobs(var / "service" / "jobs-2.db", disk=disk)  # 2: the layout changed after the first version
    from serving.service.jobs.sqs import SQSJobs

    if settings.sqs_queue_url is None:
        raise SettingsError("Queue URL missing: serving.jobs is sqs.", remedy="Set GROUNDSWELL_SERVING__SQS_QUEUE_URL.")
    return SQSJobs(settings.dynamodb_table, settings.sqs_queue_url)


@dataclass(frozen=True)
class Reading:
    """N texts, cleaned once: cache keys, model input and the windows in the response all use the cleaned text."""

    cleaned: list[str]
    errors: list[str | None]
    """Why each cannot be classified, or None."""
    languages: list[str | None]
    """Of each text; None where it is not known, or the text cannot be classified."""
    has_languages: bool
    """Whether languages were detected; if not, all are None."""
    marked: list[list[Marked]]
    """Of each text, for each company that the request names; empty for a text that cannot be classified."""


def read_texts(texts: Sequence[Any], languages_too: bool, targets: Sequence[str] = ()) -> Reading:
    """Clean N texts and return the reason for each that cannot be classified. A text that is too long is not cleaned."""
    cleaned, errors, languages, marked = [], [], [], []
    for text in texts:
        whole = clean(text) if isinstance(text, str) and len(text) <= MAX_DOCUMENT_CHARS else ""
        reason = unreadable(text, MAX_DOCUMENT_CHARS, cleaned=whole)
        cleaned.append(whole)
        errors.append(explain(reason, text, MAX_DOCUMENT_CHARS) if reason else None)
        languages.append(language_of(text) if languages_too and not reason else None)
        marked.append([] if reason else mark(text, targets))
    return Reading(cleaned, errors, languages, languages_too, marked)


def _count(reading: Reading) -> None:
    """Count the texts that can be read by their language."""
    read = (language_label(language) for language, error in zip(reading.languages, reading.errors, strict=True) if not error)
    for language, texts in Counter(read).items():
        metrics.LANGUAGES.labels(language=language).inc(texts)


def _entry(cleaned: str, prediction: Classification, detail: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"label": prediction.label, "confidence": prediction.confidence}
    if prediction.tier != BASE:
        entry["tier"] = prediction.tier
    if detail:
        entry |= {"tier": prediction.tier, "domain": prediction.head}
        if prediction.sarcasm is not None:
            entry["sarcasm"] = prediction.sarcasm
        entry["probabilities"] = dict(zip(LABELS, prediction.probabilities, strict=True))
        if prediction.windows:
            entry["windows"] = [
                {"text": cleaned[one.start : one.end], "probabilities": dict(zip(LABELS, one.probabilities, strict=True))}
                for one in prediction.windows
            ]
    return entry
