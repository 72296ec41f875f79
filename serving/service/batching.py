"""Dynamic batching: texts of concurrent requests are classified together, each batch by one thread. Jobs come after requests.

docs/decisions/0012-when-batching-pays.md: why not BentoML's batcher, why each batch has one thread, and why none waits for more.
"""

import asyncio
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_NEWEST = 0.2
"""Weight of the newest batch in the running estimate of seconds per text, 0 to 1."""
_MOST_AT_ONCE = 4
"""Upper bound of one batch's time in that estimate, as a multiple of the estimate."""


JOB_TEXTS = 8
"""Largest weight of a batch for a job."""
QUIET_S = 1.0
"""Jobs get as many threads as requests once no request has come for this time; before, one."""
JOB_NICE = 10
"""Niceness of the threads for jobs: next to a busy thread of requests, one gets a tenth of a CPU, by the weights of the scheduler
(sched_prio_to_weight in Linux). So a job never stops, and a request does not wait for it."""


class Overloaded(Exception):
    """The wait would be longer than the deadline.

    Args:
        retry_after_s: Seconds after which a caller may retry, at least 1.
        cause: `queue` (refused at once) or `deadline` (the deadline passed while it waited).
    """

    def __init__(self, retry_after_s: int, cause: str) -> None:
        super().__init__(cause)
        self.retry_after_s, self.cause = retry_after_s, cause


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    """Texts of one caller, at most one batch."""

    texts: Sequence[Item]
    weight: int
    results: "asyncio.Future[list[Result]]"
    for_job: bool = False
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Item, Result]):
    """Collect texts of concurrent callers into batches and run them in threads, off the event loop.

    `submit` is for one event loop. A thread that is idle runs what waits at once; a batch has what arrived while all threads were
    busy. A caller that is cancelled (it disconnected) frees its slot.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        *,
        workers: int,
        max_texts: int,
        deadline_s: float,
        on_start: Callable[[float], None] = lambda seconds: None,
        weigh: Callable[[Item], int] = lambda text: 1,
        size: Callable[[Item], int] = len,  # type: ignore[assignment]
    ) -> None:
        """Make it.

        Args:
            run: Classifies N texts and returns N results in order; blocking, thread-safe.
            workers: Batches that run at the same time.
            max_texts: Largest weight of a batch; a single heavier text is a batch of its own.
            deadline_s: A request that would take longer is refused.
            on_start: Called when texts of a caller begin to run, with the seconds that they waited.
            weigh: Weight of a text, at least 1.
            size: Characters of a text.
        """
        self._run, self._workers, self._max_texts = run, workers, max_texts
        self._deadline_s, self._on_start = deadline_s, on_start
        self._weigh, self._size = weigh, size
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._jobs: deque[_Waiting[Item, Result]] = deque()
        self._running: set[_Waiting[Item, Result]] = set()
        self._queued_texts = self._running_texts = self._busy = self._busy_for_jobs = 0
        self._request_came = -math.inf
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="batch")
        self._job_threads = ThreadPoolExecutor(workers, thread_name_prefix="job", initializer=_lower_priority)
        self._soon = False
        self._when_quiet: asyncio.TimerHandle | None = None
        self._text_s = 0.0

    @property
    def waiting_texts(self) -> int:
        """Texts of requests in the queue, without those that run."""
        return self._queued_texts

    def expected_wait_s(self) -> float:
        """Estimated wait of a request that arrives now, in seconds, from the time of the last batches; jobs wait longer."""
        return self._text_s * (self._queued_texts + self._running_texts) / self._workers

    def full(self) -> int | None:
        """Seconds after which a caller may retry if a request would be refused now; None if it would be accepted."""
        late = self.expected_wait_s() - self._max_wait_s()
        return max(1, math.ceil(late)) if late > 0 else None

    def is_quiet(self) -> bool:
        """Whether no request has come for `QUIET_S`."""
        return not self._busy and time.monotonic() - self._request_came > QUIET_S

    def _max_wait_s(self) -> float:
        """Longest wait for a batch that leaves time for the batch itself within the deadline."""
        return max(self._deadline_s - self._text_s * self._max_texts, self._deadline_s / 2)

    async def submit(self, texts: Sequence[Item], *, for_job: bool = False) -> list[Result]:
        """Queue texts and wait for their results, in the order of the texts.

        Args:
            texts: Of one request, or of a part of a job.
            for_job: They are classified by threads of their own, with a low priority. They have no deadline.

        Raises:
            Overloaded: The queue is longer than the deadline, or the deadline passed while waiting.
        """
        if not for_job and (seconds := self.full()):
            raise Overloaded(seconds, "queue")
        loop = asyncio.get_running_loop()
        weights = [self._weigh(text) for text in texts]
        most = min(self._max_texts, JOB_TEXTS) if for_job else self._max_texts
        # Texts of similar length share a batch: padding determines the cost of a batch.
        order = range(len(texts)) if sum(weights) <= most else sorted(range(len(texts)), key=lambda i: self._size(texts[i]))
        parts = cut(order, weights, most)
        mine: list[_Waiting[Item, Result]] = [
            _Waiting([texts[i] for i in part], sum(weights[i] for i in part), loop.create_future(), for_job) for part in parts
        ]
        if for_job:
            self._jobs.extend(mine)
        else:
            self._queue.extend(mine)
            self._queued_texts += sum(weights)
            self._request_came = time.monotonic()
        self._start_soon(loop)
        try:
            results = [result for one in mine for result in await one.results]
        finally:
            for one in mine:
                self._leave(one)
        if len(parts) == 1:
            return results
        positions = (i for part in parts for i in part)
        return [result for _, result in sorted(zip(positions, results, strict=True), key=lambda pair: pair[0])]

    async def close(self) -> None:
        """Run all batches that wait, then stop. Nothing may be submitted afterwards."""
        if pending := [one.results for one in (*self._queue, *self._jobs, *self._running)]:
            await asyncio.wait(pending)
        if self._when_quiet is not None:
            self._when_quiet.cancel()
        for threads in (self._threads, self._job_threads):
            threads.shutdown(wait=True)

    def _leave(self, one: "_Waiting[Item, Result]") -> None:
        one.results.cancel()
        if not one.results.cancelled() or one in self._running:
            return  # it has left the queue, which is not searched then
        if one in self._jobs:
            self._jobs.remove(one)
        elif one in self._queue:
            self._queue.remove(one)
            self._queued_texts -= one.weight

    def _start_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start batches when all callers have submitted that the event loop handles at this moment."""
        if not self._soon:
            self._soon = True
            loop.call_soon(self._start_batches, loop)

    def _start_batches(self, loop: asyncio.AbstractEventLoop) -> None:
        self._soon = False
        while self._busy < self._workers and (batch := self._next_of_requests()):
            self._start(batch, loop)
        while self._jobs and self._busy_for_jobs < (self._workers if self.is_quiet() else 1) and (batch := self._next_for_job()):
            self._start(batch, loop)
        if self._jobs and self._busy_for_jobs < self._workers and self._when_quiet is None:
            self._when_quiet = loop.call_later(QUIET_S, self._wake, loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again: it may be quiet now."""
        self._when_quiet = None
        self._start_batches(loop)

    def _start(self, batch: "list[_Waiting[Item, Result]]", loop: asyncio.AbstractEventLoop) -> None:
        texts, for_job = [text for one in batch for text in one.texts], batch[0].for_job
        self._running.update(batch)
        if for_job:
            self._busy_for_jobs += 1
        else:
            self._busy += 1
            self._running_texts += sum(one.weight for one in batch)
        finish = partial(self._finish, batch, time.monotonic(), loop)
        try:
            running = (self._job_threads if for_job else self._threads).submit(self._run, texts)
        except RuntimeError as error:  # the system gives no more threads
            running = Future[Sequence[Result]]()
            running.set_exception(error)
        running.add_done_callback(lambda done: loop.call_soon_threadsafe(finish, done))

    def _next_for_job(self) -> "list[_Waiting[Item, Result]]":
        batch: list[_Waiting[Item, Result]] = []
        size = 0
        while self._jobs and (not batch or size + self._jobs[0].weight <= min(JOB_TEXTS, self._max_texts)):
            one = self._jobs.popleft()
            if not one.results.done():
                batch.append(one)
                size += one.weight
        return batch

    def _next_of_requests(self) -> "list[_Waiting[Item, Result]]":
        batch: list[_Waiting[Item, Result]] = []
        size, now = 0, time.monotonic()
        # Split among idle workers: else all callers end up in one batch and the other CPUs idle.
        most = min(self._max_texts, math.ceil(self._queued_texts / (self._workers - self._busy)))
        while self._queue and (not batch or size + self._queue[0].weight <= most):
            one = self._queue.popleft()
            self._queued_texts -= one.weight
            if one.results.done():
                continue
            if now - one.since > self._max_wait_s():
                one.results.set_exception(Overloaded(max(1, math.ceil(self.expected_wait_s())), "deadline"))
                continue
            self._on_start(now - one.since)
            batch.append(one)
            size += one.weight
        return batch

    def _finish(
        self,
        batch: "list[_Waiting[Item, Result]]",
        started: float,
        loop: asyncio.AbstractEventLoop,
        running: "Future[Sequence[Result]]",
    ) -> None:
        """Pass on the results of a batch, and start the next one."""
        self._running.difference_update(batch)
        weight, for_job = sum(one.weight for one in batch), batch[0].for_job
        if for_job:
            self._busy_for_jobs -= 1
        else:
            self._busy -= 1
            self._running_texts -= weight
        if error := running.exception():  # the model failed: its callers get the error, the next batch is run
            for one in batch:
                if not one.results.done():
                    one.results.set_exception(error)
        else:
            if not for_job:
                self._learn((time.monotonic() - started) / weight)
            start, results = 0, running.result()
            for one in batch:
                if not one.results.done():
                    one.results.set_result(list(results[start : start + len(one.texts)]))
                start += len(one.texts)
        self._start_batches(loop)

    def _learn(self, per_text: float) -> None:
        """Correct the estimate of the seconds per text by those of a batch."""
        known = self._text_s or per_text
        # Without the bound, a process paused for seconds (a snapshot, a debugger) would overestimate the time of a text.
        self._text_s = (1 - _NEWEST) * known + _NEWEST * min(per_text, _MOST_AT_ONCE * known)


def _lower_priority() -> None:
    """Let the scheduler prefer other threads to this one; only Linux has a priority for each thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it; then jobs have a fair share
            os.setpriority(os.PRIO_PROCESS, thread, max(JOB_NICE, os.getpriority(os.PRIO_PROCESS, thread)))


def cut(positions: Sequence[int], weights: Sequence[int], most: int) -> list[list[int]]:
    """Cut positions, in order, into parts that weigh at most `most`; a single heavier position is a part of its own."""
    parts: list[list[int]] = []
    size = 0
    for position in positions:
        if not parts or size + weights[position] > most:
            parts.append([])
            size = 0
        parts[-1].append(position)
        size += weights[position]
    return parts
