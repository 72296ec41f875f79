"""Texts of many callers that wait together are judged together, by as many threads as there are processors.

Why not BentoML's batcher, and why each batch has one thread: docs/decisions/0003-own-batcher.md.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

_NEWEST = 0.2
"""Share of the newest batch in the running estimate of seconds per text."""
_MOST_AT_ONCE = 4
"""How many times the estimate one batch may count for at most."""


class Overloaded(Exception):
    """The wait would be longer than the deadline.

    Args:
        retry_after_s: When a caller may come back, at least 1.
        cause: `queue` (refused at once) or `deadline` (waited, and was not reached).
    """

    def __init__(self, retry_after_s: int, cause: str) -> None:
        super().__init__(cause)
        self.retry_after_s, self.cause = retry_after_s, cause


@dataclass(eq=False)
class _Waiting(Generic[Answer]):
    """At most a batch of one caller's texts."""

    texts: Sequence[str]
    weight: int
    answers: "asyncio.Future[list[Answer]]"
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Answer]):
    """Gathers texts of many callers and runs them in threads beside the event loop.

    `submit` is for one event loop. A caller alone is run at once; only after a batch of several callers does the next one wait
    the window for company. A caller that is cancelled (it hung up) frees its place.
    """

    def __init__(
        self,
        run: Callable[[list[str]], Sequence[Answer]],
        *,
        workers: int,
        max_texts: int,
        window_s: float,
        deadline_s: float,
        waited: Callable[[float], None] = lambda seconds: None,
        weigh: Callable[[str], int] = lambda text: 1,
    ) -> None:
        """Make it; the first `submit` starts it.

        Args:
            run: Judges N texts, blocking, thread-safe; N answers in their order.
            workers: Batches that run at the same time.
            max_texts: A batch weighs no more, unless it is one text.
            window_s: How long to wait for company when there was company before.
            deadline_s: A request whose answer would take longer is refused.
            waited: Told how long a caller's texts waited before they ran, in seconds.
            weigh: How many texts a text counts for.
        """
        self._run, self._workers, self._max_texts = run, workers, max_texts
        self._window_s, self._deadline_s, self._waited, self._weigh = window_s, deadline_s, waited, weigh
        self._queue: deque[_Waiting[Answer]] = deque()
        self._running: set[_Waiting[Answer]] = set()
        self._queued_texts = self._running_texts = self._busy = 0
        self._more = asyncio.Condition()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="batch")
        self._loops: list[asyncio.Task[None]] = []
        self._text_s = 0.0

    @property
    def waiting_texts(self) -> int:
        """Texts that wait, those that run left out."""
        return self._queued_texts

    def expected_wait_s(self) -> float:
        """How long a request that came now would wait, by what the last batches took."""
        return self._text_s * (self._queued_texts + self._running_texts) / self._workers

    def full(self) -> int | None:
        """Seconds after which a caller who would be refused now may come back; None while nobody would be."""
        late = self.expected_wait_s() - self._patience_s()
        return max(1, math.ceil(late)) if late > 0 else None

    def _patience_s(self) -> float:
        """How long texts may wait for their batch, so that its own time fits into the deadline too."""
        return max(self._deadline_s - self._text_s * self._max_texts, self._deadline_s / 2)

    async def submit(self, texts: Sequence[str]) -> list[Answer]:
        """Wait for the answers, in the order of the texts.

        Raises:
            Overloaded: The queue is longer than the deadline, or the deadline passed while waiting.
        """
        if seconds := self.full():
            raise Overloaded(seconds, "queue")
        if not self._loops:
            self._loops = [asyncio.create_task(self._forever()) for _ in range(self._workers)]
        weights = [self._weigh(text) for text in texts]
        # Neighbors of like length share a batch: padding is what a batch costs.
        order = range(len(texts)) if sum(weights) <= self._max_texts else sorted(range(len(texts)), key=lambda i: len(texts[i]))
        parts = cut(order, weights, self._max_texts)
        loop = asyncio.get_running_loop()
        mine: list[_Waiting[Answer]] = [
            _Waiting([texts[i] for i in part], sum(weights[i] for i in part), loop.create_future()) for part in parts
        ]
        self._queue.extend(mine)
        self._queued_texts += sum(weights)
        async with self._more:
            self._more.notify_all()
        try:
            answers = [answer for one in mine for answer in await one.answers]
        finally:
            for one in mine:
                self._leave(one)
        return [
            answer for _, answer in sorted(zip((i for part in parts for i in part), answers, strict=True), key=lambda x: x[0])
        ]

    async def close(self) -> None:
        """Judge what waits, then stop. Nothing may be submitted afterwards."""
        if unanswered := [one.answers for one in (*self._queue, *self._running)]:
            await asyncio.wait(unanswered)
        for loop in self._loops:
            loop.cancel()
        self._threads.shutdown(wait=True)

    def _leave(self, one: "_Waiting[Answer]") -> None:
        one.answers.cancel()
        if one in self._queue:
            self._queue.remove(one)
            self._queued_texts -= one.weight

    async def _forever(self) -> None:
        company = False
        while True:
            async with self._more:
                await self._more.wait_for(lambda: self._queue)
                if company and self._window_s:
                    await self._gather()
            if batch := self._next_batch():
                await self._judge(batch)
                company = len(batch) > 1

    async def _gather(self) -> None:
        """Wait until a batch is full, or the window is over."""
        try:
            async with asyncio.timeout(self._window_s):
                await self._more.wait_for(lambda: self._queued_texts >= self._max_texts)
        except TimeoutError:
            pass

    def _next_batch(self) -> "list[_Waiting[Answer]]":
        batch: list[_Waiting[Answer]] = []
        size, now = 0, time.monotonic()
        # Shared with the workers that have nothing to do: else all callers end up in one batch, and a processor idles.
        most = min(self._max_texts, math.ceil(self._queued_texts / (self._workers - self._busy)))
        while self._queue and (not batch or size + self._queue[0].weight <= most):
            one = self._queue.popleft()
            self._queued_texts -= one.weight
            if one.answers.done():
                continue
            if now - one.since > self._patience_s():
                one.answers.set_exception(Overloaded(max(1, math.ceil(self.expected_wait_s())), "deadline"))
                continue
            self._waited(now - one.since)
            batch.append(one)
            size += one.weight
        return batch

    async def _judge(self, batch: "list[_Waiting[Answer]]") -> None:
        texts = [text for one in batch for text in one.texts]
        weight = sum(one.weight for one in batch)
        self._running.update(batch)
        self._running_texts += weight
        self._busy += 1
        started = time.monotonic()
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._threads, self._run, texts)
        except Exception as error:  # the model failed: its callers are told, the next batch is tried
            for one in batch:
                if not one.answers.done():
                    one.answers.set_exception(error)
            return
        finally:
            self._running.difference_update(batch)
            self._running_texts -= weight
            self._busy -= 1
        per_text = (time.monotonic() - started) / weight
        known = self._text_s or per_text
        # A process that was held for seconds (a snapshot, a debugger) would else believe that texts take so long.
        self._text_s = (1 - _NEWEST) * known + _NEWEST * min(per_text, _MOST_AT_ONCE * known)
        start = 0
        for one in batch:
            if not one.answers.done():
                one.answers.set_result(list(answers[start : start + len(one.texts)]))
            start += len(one.texts)


def cut(positions: Sequence[int], weights: Sequence[int], most: int) -> list[list[int]]:
    """Cut positions, in their order, into parts that weigh at most so much, or hold one."""
    parts: list[list[int]] = []
    size = 0
    for position in positions:
        if not parts or size + weights[position] > most:
            parts.append([])
            size = 0
        parts[-1].append(position)
        size += weights[position]
    return parts
