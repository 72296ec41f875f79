"""A text that was judged before is not judged again: in memory, in a shared store, and while somebody else's is being judged.

The key is made of the cleaned text, the bundle's fingerprint and the version of the cleaning rules: another model never finds the
answers of the one before it.
"""

import asyncio
import hashlib
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cachetools import LRUCache

from data.cleaning import CLEANING_VERSION
from data.labels import LABELS
from serving.classifier import Classification, Window
from serving.service import metrics
from serving.service.stores import AnswerStore

_FORM = struct.Struct("<B3H")
"""Label, and probabilities in ten-thousandths: what they are rounded to."""
_WINDOW = struct.Struct("<2I3H")
_UNWRITTEN = 64
"""Batches of answers that may wait to be written; more are left out."""

Judge = Callable[[Sequence[str]], Awaitable[list[Classification]]]


def pack(answer: Classification) -> bytes:
    """An answer in 7 bytes, and 14 for each window; nothing is lost."""
    whole = _FORM.pack(LABELS.index(answer.label), *_parts(answer.probabilities))
    return whole + b"".join(_WINDOW.pack(part.start, part.end, *_parts(part.probabilities)) for part in answer.windows)


def unpack(value: bytes) -> Classification:
    """The inverse of `pack`."""
    label, *parts = _FORM.unpack_from(value)
    windows = tuple(Window(start, end, _shares(p)) for start, end, *p in _WINDOW.iter_unpack(value[_FORM.size :]))
    return Classification(LABELS[label], parts[label] / 10_000, _shares(parts), windows)


def _parts(probabilities: Sequence[float]) -> list[int]:
    return [round(10_000 * p) for p in probabilities]


def _shares(parts: Sequence[int]) -> tuple[float, float, float]:
    negative, neutral, positive = (part / 10_000 for part in parts)
    return negative, neutral, positive


@dataclass(eq=False)
class _Flight:
    """A text that is being judged, and how many wait for it."""

    answer: "asyncio.Future[Classification]"
    waiters: int = 0
    together: "_Together | None" = None


@dataclass(eq=False)
class _Together:
    """Texts of one request that nobody had asked for."""

    flights: dict[bytes, _Flight] = field(default_factory=dict)
    task: "asyncio.Task[None] | None" = None


class Cache:
    """Answers before a judge. For one event loop."""

    def __init__(self, judge: Judge, fingerprint: str, *, texts: int, store: AnswerStore | None, ttl_s: int) -> None:
        """Make it.

        Args:
            judge: Classifies N cleaned texts; called with texts nobody has an answer to.
            fingerprint: Of the bundle that judges.
            texts: Answers held in memory.
            store: Shared with other processes; it may not fail (`stores.Guarded`).
            ttl_s: How long the store keeps an answer.
        """
        self._judge, self._store, self._ttl_s = judge, store, ttl_s
        self._prefix = f"{fingerprint}\0{CLEANING_VERSION}\0".encode()
        self._memory: LRUCache[bytes, Classification] = LRUCache(texts)
        self._flights: dict[bytes, _Flight] = {}
        self._unwritten: asyncio.Queue[dict[bytes, bytes]] = asyncio.Queue(_UNWRITTEN)
        self._writer: asyncio.Task[None] | None = None

    def key(self, text: str) -> bytes:
        """16 bytes that stand for a cleaned text classified by this bundle."""
        return hashlib.blake2b(self._prefix + text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    async def judge(self, texts: Sequence[str]) -> list[Classification]:
        """N answers in the order of the texts, which are cleaned ones; raises what the judge raises."""
        keys = [self.key(text) for text in texts]
        answers: dict[bytes, Classification] = {}
        waiting: dict[bytes, _Flight] = {}
        new, unknown = _Together(), {}
        for key, text in zip(keys, texts, strict=True):
            if (known := self._memory.get(key)) is not None:
                answers[key] = known
                metrics.CACHED.labels(tier="memory").inc()
            elif (flight := waiting.get(key) or self._flights.get(key)) is not None:
                waiting[key] = flight
                metrics.CACHED.labels(tier="flight").inc()
            else:
                flight = _Flight(asyncio.get_running_loop().create_future(), together=new)
                new.flights[key] = self._flights[key] = waiting[key] = flight
                unknown[key] = text
        if unknown:
            new.task = asyncio.create_task(self._find(unknown, new.flights))
        for flight in waiting.values():
            flight.waiters += 1
        try:
            for key, flight in waiting.items():
                answers[key] = await asyncio.shield(flight.answer)
        finally:
            for flight in waiting.values():
                self._leave(flight)
        return [answers[key] for key in keys]

    async def settle(self) -> None:
        """Wait until the store has what was judged."""
        await self._unwritten.join()

    async def close(self) -> None:
        """Write what is not yet written."""
        if self._writer is not None:
            await self.settle()
            self._writer.cancel()
        if self._store is not None:
            await self._store.close()

    def _leave(self, flight: _Flight) -> None:
        """When the last one who waits is gone, the work is given up."""
        flight.waiters -= 1
        together = flight.together
        if together and together.task and not together.task.done() and not any(f.waiters for f in together.flights.values()):
            together.task.cancel()
            self._forget(together.flights)

    def _forget(self, flights: dict[bytes, _Flight]) -> None:
        for key, flight in flights.items():
            if self._flights.get(key) is flight:
                del self._flights[key]

    async def _find(self, unknown: dict[bytes, str], flights: dict[bytes, _Flight]) -> None:
        try:
            if self._store is not None:
                for key, value in (await self._store.get(list(unknown))).items():
                    del unknown[key]
                    self._land(key, flights[key], unpack(value))
                    metrics.CACHED.labels(tier="store").inc()
            if unknown:
                judged = dict(zip(unknown, await self._judge(list(unknown.values())), strict=True))
                for key, answer in judged.items():
                    self._land(key, flights[key], answer)
                self._write({key: pack(answer) for key, answer in judged.items()})
        except Exception as error:  # told to all who wait, each of them raises it
            for flight in flights.values():
                if not flight.answer.done():
                    flight.answer.set_exception(error)
                    flight.answer.exception()  # nobody may be left to look at it
        finally:
            self._forget(flights)

    def _land(self, key: bytes, flight: _Flight, answer: Classification) -> None:
        self._memory[key] = answer
        if not flight.answer.done():
            flight.answer.set_result(answer)

    def _write(self, values: dict[bytes, bytes]) -> None:
        if self._store is None:
            return
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_forever(self._store))
        with suppress(asyncio.QueueFull):  # it is a cache: left out is judged again
            self._unwritten.put_nowait(values)

    async def _write_forever(self, store: AnswerStore) -> None:
        while True:
            taken = [await self._unwritten.get()]
            while not self._unwritten.empty():
                taken.append(self._unwritten.get_nowait())
            await store.put({key: value for values in taken for key, value in values.items()}, self._ttl_s)
            for _ in taken:
                self._unwritten.task_done()
