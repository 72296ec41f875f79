"""The model that classifies the stream: the production bundle, reloaded when it changes while the worker runs."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog

from data.errors import GroundswellError
from data.labels import LABELS
from data.language import ENGLISH
from serving.bundle import BUNDLE_ENV, Bundle, served_bundle
from serving.classifier import Classification, Classifier, Domains, Timings
from serving.engines.choice import choose_engine, engine_cache
from serving.engines.engine import DEFAULT_ENGINE
from serving.ledger import ledger_path
from serving.load_control import HasPoints
from serving.settings import EngineSetting
from serving.streaming.worker import metrics
from serving.streaming.worker.cache import CachingModel
from serving.tiers import BASE, OperatingPoint

LEDGER_POLL_INTERVAL_S = 1.0
"""How often the registry's ledger is checked."""
_log = structlog.get_logger()


class StreamModel(HasPoints, Protocol):
    """A model that classifies texts."""

    name: str
    languages: tuple[str, ...]
    """Languages that it was measured on."""

    def classify_timed(
        self, texts: Sequence[str], tier: str = BASE, *, domains: Domains = None
    ) -> tuple[list[Classification], Timings]:
        """As `Classifier.classify_timed`."""
        ...


class StubModel:
    """Predictions at no cost, to measure the stream without the model."""

    name = "stub"
    languages: tuple[str, ...] = ENGLISH
    points: Sequence[OperatingPoint] = ()

    def point(self, tier: str) -> OperatingPoint:
        """It has no tiers."""
        return OperatingPoint(tier=tier, threshold=0.0)

    def classify_timed(
        self, texts: Sequence[str], tier: str = BASE, *, domains: Domains = None
    ) -> tuple[list[Classification], Timings]:
        """Label each text by its length."""
        return [_FIXED[len(text) % 3] for text in texts], Timings(len(texts), 0.0, 0.0, 1, 0, 0)


_FIXED = [Classification(LABELS[k], 0.8, tuple(0.8 if i == k else 0.1 for i in range(3))) for k in range(3)]  # type: ignore[arg-type]


class ReloadingModel:
    """The production model. `current` may change between two batches; one batch is classified by one model."""

    def __init__(self, var: Path, engine: EngineSetting = DEFAULT_ENGINE, tier: str = BASE, *, cache_texts: int = 0) -> None:
        """Load the bundle that is served now.

        Args:
            var: The folder of ledger, bundles and measurements of engines.
            engine: `serving.engine`.
            tier: The tier that classifies; every bundle must have it.
            cache_texts: Predictions that each bundle remembers; 0: none.

        Raises:
            BundleError: No bundle is served, or it is damaged or lacks the tier.
            SettingsError: The engine is not installed.
        """
        self._setting: EngineSetting = engine
        self._engines, self._tier, self._cache_texts = engine_cache(var), tier, cache_texts
        self._ledger = None if os.environ.get(BUNDLE_ENV) else ledger_path(var)
        self._seen = self._stamp()
        bundle = served_bundle()
        self._version = bundle.manifest.version
        self.current: StreamModel = self._load(bundle)
        metrics.MODEL.labels(self.current.name).set(1)

    def follow(self, stop: threading.Event) -> None:
        """Load each new production bundle while the old one still classifies, then swap, until `stop`. Blocks.

        An error while loading is logged, and the old bundle stays in use.
        """
        while not stop.wait(LEDGER_POLL_INTERVAL_S):
            stamp = self._stamp()
            if stamp == self._seen:
                continue
            self._seen = stamp
            try:
                bundle = served_bundle()
                if bundle.manifest.version == self._version:
                    continue
                new = self._load(bundle)
            except (GroundswellError, OSError) as error:
                _log.error(
                    "the new production bundle cannot be loaded; the old one stays in use",
                    version=self.current.name,
                    error=str(error),
                )
                continue
            metrics.MODEL.clear()
            metrics.MODEL.labels(new.name).set(1)
            _log.info("model changed", before=self.current.name, now=new.name)
            self.current, self._version = new, bundle.manifest.version

    def _load(self, bundle: Bundle) -> StreamModel:
        choice = choose_engine(bundle, self._setting, threads=1, cache=self._engines)
        classifier = Classifier(bundle, threads=1, engine=choice.engine)
        classifier.point(self._tier)  # raises where the bundle lacks it: a worker must not fail message by message
        metrics.ENGINE.clear()
        metrics.ENGINE.labels(choice.engine.name, choice.engine.version, choice.chosen).set(1)
        _log.info("engine", version=bundle.manifest.version, engine=choice.engine.name, reason=choice.reason)
        return CachingModel(classifier, self._cache_texts) if self._cache_texts else classifier

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._ledger.stat() if self._ledger else None
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size) if status else None
