"""A cache of predictions: in memory, of this process and of the others, in a store, and across requests for the same text that
run at the same time.

The key is a hash of the cleaned text, the bundle's fingerprint, the tier and the head that were asked for and the version of the
cleaning rules, so a new model never gets predictions of the model before it.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cachetools import LRUCache

from data.domains import GENERAL
from data.fingerprint import text_key
from data.labels import LABELS
from serving.classifier import Classification, Window
from serving.prediction_keys import cache_name, cache_prefix
from serving.service import metrics
from serving.service.cache.shared import SharedPredictions
from serving.service.cache.stores import PredictionStore
from serving.tiers import BASE

_FORM = struct.Struct("<B3H")
"""Label, tier and head in one number, and probabilities in ten-thousandths, to which they are rounded."""
_WINDOW = struct.Struct("<2I3H")
_SARCASM = struct.Struct("<H")
"""Last, and only where it is predicted."""
_UNWRITTEN = 64
"""Batches of predictions that may wait to be written; beyond that they are not stored."""

Classify = Callable[[Sequence[str], str, str, bool], Awaitable[list[Classification]]]
"""Takes cleaned texts, the tier and the head that were asked for, and whether it is for a job."""


def pack(prediction: Classification, tiers: Sequence[str] = (BASE,), heads: Sequence[str] = (GENERAL,)) -> bytes:
    """Encode a prediction in 7 bytes, 14 for each window, and 2 for sarcasm, without loss.

    Args:
        prediction: By one of the tiers and heads.
        tiers: Those of the bundle, always in the same order.
        heads: Those of the bundle, always in the same order.
    """
    by = heads.index(prediction.head) * len(tiers) + tiers.index(prediction.tier)
    which = LABELS.index(prediction.label) + len(LABELS) * by
    whole = _FORM.pack(which, *_parts(prediction.probabilities))
    windows = b"".join(_WINDOW.pack(part.start, part.end, *_parts(part.probabilities)) for part in prediction.windows)
    sarcasm = b"" if prediction.sarcasm is None else _SARCASM.pack(*_parts([prediction.sarcasm]))
    return whole + windows + sarcasm


def unpack(value: bytes, tiers: Sequence[str] = (BASE,), heads: Sequence[str] = (GENERAL,)) -> Classification:
    """Decode what `pack` encoded with the same tiers and heads."""
    which, *parts = _FORM.unpack_from(value)
    by, label = divmod(int(which), len(LABELS))
    head, tier = divmod(by, len(tiers))
    rest = value[_FORM.size :]
    has_sarcasm = len(rest) % _WINDOW.size == _SARCASM.size
    sarcasm = _SARCASM.unpack(rest[-_SARCASM.size :])[0] / 10_000 if has_sarcasm else None
    windows = tuple(
        Window(start, end, _shares(p)) for start, end, *p in _WINDOW.iter_unpack(rest[: -_SARCASM.size] if has_sarcasm else rest)
    )
    return Classification(LABELS[label], parts[label] / 10_000, _shares(parts), windows, tiers[tier], heads[head], sarcasm)


def _parts(probabilities: Sequence[float]) -> list[int]:
    return [round(10_000 * p) for p in probabilities]


def _shares(parts: Sequence[int]) -> tuple[float, float, float]:
    negative, neutral, positive = (part / 10_000 for part in parts)
    return negative, neutral, positive


@dataclass(eq=False)
class _Flight:
    """A text that is being classified, and how many requests wait for it."""

    prediction: "asyncio.Future[Classification]"
    waiters: int = 0
    group: "_Group | None" = None
    for_job: bool = False


@dataclass(eq=False)
class _Group:
    """New texts of one request, classified together."""

    flights: dict[bytes, _Flight] = field(default_factory=dict)
    task: "asyncio.Task[None] | None" = None


class Cache:
    """Predictions in front of a classifier. For one event loop."""

    def __init__(
        self,
        classify: Classify,
        fingerprint: str,
        *,
        texts: int,
        store: PredictionStore | None,
        ttl_s: int,
        tiers: Sequence[str] = (BASE,),
        points: Sequence[str] = (BASE,),
        heads: Sequence[str] = (GENERAL,),
        shared: SharedPredictions | None = None,
    ) -> None:
        """Make it.

        Args:
            classify: Classifies N cleaned texts; called with the texts that are not cached.
            fingerprint: Of the bundle that classifies.
            texts: Most predictions held in memory.
            store: Shared with other processes; must not raise (`stores.Guarded`).
            ttl_s: How long the store keeps a prediction.
            tiers: Of the bundle, `base` first.
            points: What a text may be classified by: its tiers and operating points.
            heads: Those of the bundle, `general` first.
            shared: With other processes of the service.
        """
        self._shared = shared
        self._classify, self._store, self._ttl_s = classify, store, ttl_s
        self._tiers, self._heads = tuple(tiers), tuple(heads)
        self._prefixes = {(one, head): cache_prefix(cache_name(fingerprint, one, head)) for one in points for head in heads}
        self._memory: LRUCache[bytes, Classification] = LRUCache(texts)
        self._flights: dict[bytes, _Flight] = {}
        self._unwritten: asyncio.Queue[dict[bytes, bytes]] = asyncio.Queue(_UNWRITTEN)
        self._writer: asyncio.Task[None] | None = None

    def key(self, text: str, tier: str = BASE, head: str = GENERAL) -> bytes:
        """Cache key of a cleaned text classified by a tier and a head of this bundle, 16 bytes."""
        return text_key(text, self._prefixes[tier, head])

    async def classify(
        self, texts: Sequence[str], tier: str = BASE, head: str = GENERAL, *, or_base: bool = False, for_job: bool = False
    ) -> list[Classification]:
        """Return N predictions for N cleaned texts, in order; raises what the classifier raises.

        Args:
            texts: Cleaned.
            tier: That classifies what is not cached.
            head: That its domain asks for.
            or_base: Whether a prediction of `base` in memory is taken too: it is better, and costs nothing.
            for_job: Passed on to the classifier.
        """
        keys = [self.key(text, tier, head) for text in texts]
        predictions: dict[bytes, Classification] = {}
        waiting: dict[bytes, _Flight] = {}
        new, unknown = _Group(), {}
        for key, text in zip(keys, texts, strict=True):
            known = self._known(key)
            if known is None and or_base and tier != BASE:
                known = self._known(self.key(text, BASE, head))
            if known is not None:
                predictions[key] = known
                metrics.CACHED.labels(tier="memory").inc()
            elif (flight := waiting.get(key) or self._flights.get(key)) and flight.for_job <= for_job:
                waiting[key] = flight  # a request does not wait for a job
                metrics.CACHED.labels(tier="flight").inc()
            else:
                flight = _Flight(asyncio.get_running_loop().create_future(), group=new, for_job=for_job)
                new.flights[key] = self._flights[key] = waiting[key] = flight
                unknown[key] = text
        if unknown:
            new.task = asyncio.create_task(self._find(unknown, new.flights, tier, head, for_job))
        for flight in waiting.values():
            flight.waiters += 1
        try:
            for key, flight in waiting.items():
                predictions[key] = await asyncio.shield(flight.prediction)
        finally:
            for flight in waiting.values():
                self._leave(flight)
        return [predictions[key] for key in keys]

    def _known(self, key: bytes) -> Classification | None:
        """Return a prediction of this process, or of another one."""
        known = self._memory.get(key)
        if known is None and self._shared is not None and (value := self._shared.get(key)) is not None:
            known = self._memory[key] = unpack(value, self._tiers, self._heads)
        return known

    async def settle(self) -> None:
        """Wait until all predictions are written to the store."""
        await self._unwritten.join()

    async def close(self) -> None:
        """Write what is not yet written, then close the store."""
        if self._writer is not None:
            await self.settle()
            self._writer.cancel()
        if self._store is not None:
            await self._store.close()

    def _leave(self, flight: _Flight) -> None:
        """Cancel the classification when the last request that waits for it is gone."""
        flight.waiters -= 1
        group = flight.group
        if group and group.task and not group.task.done() and not any(f.waiters for f in group.flights.values()):
            group.task.cancel()
            self._forget(group.flights)

    def _forget(self, flights: dict[bytes, _Flight]) -> None:
        for key, flight in flights.items():
            if self._flights.get(key) is flight:
                del self._flights[key]

    async def _find(self, unknown: dict[bytes, str], flights: dict[bytes, _Flight], tier: str, head: str, for_job: bool) -> None:
        try:
            if self._store is not None:
                for key, value in (await self._store.get(list(unknown))).items():
                    del unknown[key]
                    self._land(key, flights[key], unpack(value, self._tiers, self._heads))
                    metrics.CACHED.labels(tier="store").inc()
            if unknown:
                classified = dict(zip(unknown, await self._classify(list(unknown.values()), tier, head, for_job), strict=True))
                for key, prediction in classified.items():
                    self._land(key, flights[key], prediction)
                if self._store is not None or self._shared is not None:
                    self._keep({key: pack(prediction, self._tiers, self._heads) for key, prediction in classified.items()})
        except Exception as error:  # raised in every request that waits
            for flight in flights.values():
                if not flight.prediction.done():
                    flight.prediction.set_exception(error)
                    flight.prediction.exception()  # retrieved, or asyncio would log it where no request is left
        finally:
            self._forget(flights)

    def _land(self, key: bytes, flight: _Flight, prediction: Classification) -> None:
        self._memory[key] = prediction
        if not flight.prediction.done():
            flight.prediction.set_result(prediction)

    def _keep(self, values: dict[bytes, bytes]) -> None:
        """Pass new predictions on to the other processes and to the store."""
        if self._shared is not None:
            for key, value in values.items():
                self._shared.put(key, value)
        if self._store is None:
            return
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_forever(self._store))
        with suppress(asyncio.QueueFull):  # it is a cache: what is not stored is classified again
            self._unwritten.put_nowait(values)

    async def _write_forever(self, store: PredictionStore) -> None:
        while True:
            taken = [await self._unwritten.get()]
            while not self._unwritten.empty():
                taken.append(self._unwritten.get_nowait())
            await store.put({key: value for values in taken for key, value in values.items()}, self._ttl_s)
            for _ in taken:
                self._unwritten.task_done()
