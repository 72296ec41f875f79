"""A cache of predictions in front of a worker's classifier: a text that was classified lately is not classified again.

Reposts, templates and bots repeat texts. Keys are those of the API's caches: the cleaned text, the bundle with its engine, the
operating point, the head that the domain asks for, and the version of the cleaning rules. It holds hashes and predictions.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from cachetools import LRUCache

from data.cleaning import clean
from data.fingerprint import text_key
from serving.classifier import Classification, Classifier, Domains, Timings
from serving.engines.engine import on_engine
from serving.prediction_keys import cache_name, cache_prefix
from serving.streaming.worker import metrics
from serving.tiers import BASE, OperatingPoint


class CachingModel:
    """A classifier with the predictions of its last texts. Thread-safe; a text that two threads classify at once is no hit."""

    def __init__(self, classifier: Classifier, texts: int) -> None:
        """Make it, empty.

        Args:
            classifier: Of one bundle; another bundle gets a cache of its own.
            texts: Most predictions held, about 450 bytes each.
        """
        self.name, self.languages, self.points = classifier.name, classifier.languages, classifier.points
        self._classifier = classifier
        self._bundle = classifier.bundle
        self._fingerprint = on_engine(self._bundle.fingerprint, classifier.engine.name)
        self._known: LRUCache[bytes, Classification] = LRUCache(texts)
        self._lock = threading.Lock()

    def point(self, tier: str) -> OperatingPoint:
        """As `Classifier.point`."""
        return self._classifier.point(tier)

    def classify_timed(
        self, texts: Sequence[str], tier: str = BASE, *, domains: Domains = None
    ) -> tuple[list[Classification], Timings]:
        """As `Classifier.classify_timed`; the timings count the texts that were classified."""
        started = time.perf_counter()
        cleaned = [clean(text) for text in texts]
        heads = [self._bundle.head_for(domain) for domain in domains or [None] * len(texts)]
        prefixes = {head: cache_prefix(cache_name(self._fingerprint, tier, head)) for head in set(heads)}
        keys = [text_key(text, prefixes[head]) for text, head in zip(cleaned, heads, strict=True)]
        with self._lock:
            found = {key: known for key in set(keys) if (known := self._known.get(key)) is not None}
        new = {key: index for index, key in enumerate(keys) if key not in found}
        metrics.CACHED.inc(len(keys) - len(new))
        looked_up_s = time.perf_counter() - started
        places = list(new.values())
        predictions, timings = self._classifier.classify_cleaned(
            [cleaned[place] for place in places], tier, domains=[heads[place] for place in places]
        )
        # Rows have no windows, which would take most of the memory.
        found |= zip(new, (replace(one, windows=()) if one.windows else one for one in predictions), strict=True)
        with self._lock:
            self._known.update((key, found[key]) for key in new)
        return [found[key] for key in keys], replace(timings, tokenize_s=timings.tokenize_s + looked_up_s)
