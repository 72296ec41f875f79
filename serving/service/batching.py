"""Dynamic batching: texts of concurrent requests are classified together, one worker thread per CPU. Jobs come after requests.

docs/decisions/0003-own-batcher.md: why not BentoML's batcher, and why each batch has one thread.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_NEWEST = 0.2
"""Weight of the newest batch in the running estimate of seconds per text, 0 to 1."""
_MOST_AT_ONCE = 4
"""Upper bound of one batch's time in that estimate, as a multiple of the estimate."""


JOB_TEXTS, FEW_JOB_TEXTS = 8, 2
"""Largest weight of a batch for a job, and of one while requests come: a request that arrives meanwhile waits for no more."""
QUIET_S = 1.0
"""Jobs get all threads once no request has come for this time; before, one thread is left for requests, if there are several."""
JOB_TURN_S = 1.0
"""However many requests come, a batch for a job runs after this time without one."""
JOB_WAIT_S = 10.0
"""Texts of jobs that have waited for this time are next, so that a part of a job ends well before its claim does."""


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

    `submit` is for one event loop. A lone caller is run at once; only after a batch of several callers does the next batch wait
    `window_s` for more. A caller that is cancelled (it disconnected) frees its slot.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        *,
        workers: int,
        max_texts: int,
        window_s: float,
        deadline_s: float,
        on_start: Callable[[float], None] = lambda seconds: None,
        weigh: Callable[[Item], int] = lambda text: 1,
        size: Callable[[Item], int] = len,  # type: ignore[assignment]
    ) -> None:
        """Make it; the first `submit` starts it.

        Args:
            run: Classifies N texts and returns N results in order; blocking, thread-safe.
            workers: Batches that run at the same time.
            max_texts: Largest weight of a batch; a single heavier text is a batch of its own.
            window_s: How long a batch waits for other callers, if the batch before had several.
            deadline_s: A request that would take longer is refused.
            on_start: Called when texts of a caller begin to run, with the seconds that they waited.
            weigh: Weight of a text, at least 1.
            size: Characters of a text.
        """
        self._run, self._workers, self._max_texts = run, workers, max_texts
        self._window_s, self._deadline_s, self._on_start = window_s, deadline_s, on_start
        self._weigh, self._size = weigh, size
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._jobs: deque[_Waiting[Item, Result]] = deque()
        self._running: set[_Waiting[Item, Result]] = set()
        self._queued_texts = self._running_texts = self._busy = self._busy_for_jobs = 0
        self._request_came = self._job_ran = -math.inf
        self._more = asyncio.Condition()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="batch")
        self._loops: list[asyncio.Task[None]] = []
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

    def _max_wait_s(self) -> float:
        """Longest wait for a batch that leaves time for the batch itself within the deadline."""
        return max(self._deadline_s - self._text_s * self._max_texts, self._deadline_s / 2)

    async def submit(self, texts: Sequence[Item], *, for_job: bool = False) -> list[Result]:
        """Queue texts and wait for their results, in the order of the texts.

        Args:
            texts: Of one request, or of a part of a job.
            for_job: They are classified after those of requests, in small batches, but at least one each `JOB_TURN_S`. They have
                no deadline.

        Raises:
            Overloaded: The queue is longer than the deadline, or the deadline passed while waiting.
        """
        if not for_job and (seconds := self.full()):
            raise Overloaded(seconds, "queue")
        if not self._loops:
            self._loops = [asyncio.create_task(self._forever()) for _ in range(self._workers)]
        weights = [self._weigh(text) for text in texts]
        most = min(self._max_texts, FEW_JOB_TEXTS) if for_job else self._max_texts
        # Texts of similar length share a batch: padding determines the cost of a batch.
        order = range(len(texts)) if sum(weights) <= most else sorted(range(len(texts)), key=lambda i: self._size(texts[i]))
        parts = cut(order, weights, most)
        loop = asyncio.get_running_loop()
        mine: list[_Waiting[Item, Result]] = [
            _Waiting([texts[i] for i in part], sum(weights[i] for i in part), loop.create_future(), for_job) for part in parts
        ]
        if for_job:
            if not self._jobs:
                self._job_ran = time.monotonic()
            self._jobs.extend(mine)
        else:
            self._queue.extend(mine)
            self._queued_texts += sum(weights)
            self._request_came = time.monotonic()
        async with self._more:
            self._more.notify_all()
        try:
            results = [result for one in mine for result in await one.results]
        finally:
            for one in mine:
                self._leave(one)
        positions = (i for part in parts for i in part)
        return [result for _, result in sorted(zip(positions, results, strict=True), key=lambda pair: pair[0])]

    async def close(self) -> None:
        """Run all batches that wait, then stop. Nothing may be submitted afterwards."""
        if pending := [one.results for one in (*self._queue, *self._jobs, *self._running)]:
            await asyncio.wait(pending)
        for loop in self._loops:
            loop.cancel()
        self._threads.shutdown(wait=True)

    def _leave(self, one: "_Waiting[Item, Result]") -> None:
        one.results.cancel()
        if one in self._jobs:
            self._jobs.remove(one)
        elif one in self._queue:
            self._queue.remove(one)
            self._queued_texts -= one.weight

    async def _forever(self) -> None:
        shared = False
        while True:
            async with self._more:
                await self._wait_for_work()
                if shared and self._window_s and self._queue:
                    await self._gather()
            if batch := self._next_batch():
                await self._run_batch(batch)
                shared = len(batch) > 1 and not batch[0].for_job

    async def _wait_for_work(self) -> None:
        while not self._queue and not self._job_may_run():
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIET_S if self._jobs else None):  # it may be quiet then
                    await self._more.wait()

    async def _gather(self) -> None:
        """Wait until a batch is full or the window ends."""
        try:
            async with asyncio.timeout(self._window_s):
                await self._more.wait_for(lambda: self._queued_texts >= self._max_texts)
        except TimeoutError:
            pass

    def _job_may_run(self) -> bool:
        """Whether a batch for a job may run now, if no request waits."""
        return bool(self._jobs) and (self._is_quiet() or self._busy_for_jobs < max(1, self._workers - 1))

    def _is_quiet(self) -> bool:
        return time.monotonic() - self._request_came > QUIET_S

    def _next_batch(self) -> "list[_Waiting[Item, Result]]":
        now = time.monotonic()
        if self._jobs and self._job_may_run():
            is_late = now - self._jobs[0].since > JOB_WAIT_S
            its_turn = is_late or not self._queue or now - self._job_ran > JOB_TURN_S
            most = JOB_TEXTS if is_late or self._is_quiet() else FEW_JOB_TEXTS
            if its_turn and (batch := self._next_for_job(now, most)):
                return batch
        return self._next_of_requests(now)

    def _next_for_job(self, now: float, most: int) -> "list[_Waiting[Item, Result]]":
        batch: list[_Waiting[Item, Result]] = []
        size = 0
        while self._jobs and (not batch or size + self._jobs[0].weight <= min(most, self._max_texts)):
            one = self._jobs.popleft()
            if not one.results.done():
                self._job_ran = now
                batch.append(one)
                size += one.weight
        return batch

    def _next_of_requests(self, now: float) -> "list[_Waiting[Item, Result]]":
        batch: list[_Waiting[Item, Result]] = []
        size = 0
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

    async def _run_batch(self, batch: "list[_Waiting[Item, Result]]") -> None:
        texts = [text for one in batch for text in one.texts]
        weight = sum(one.weight for one in batch)
        self._running.update(batch)
        self._running_texts += weight
        self._busy += 1
        self._busy_for_jobs += batch[0].for_job
        started = time.monotonic()
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._threads, self._run, texts)
        except Exception as error:  # the model failed: its callers get the error, the next batch is run
            for one in batch:
                if not one.results.done():
                    one.results.set_exception(error)
            return
        finally:
            self._running.difference_update(batch)
            self._running_texts -= weight
            self._busy -= 1
            self._busy_for_jobs -= batch[0].for_job
        per_text = (time.monotonic() - started) / weight
        known = self._text_s or per_text
        # Without the bound, a process paused for seconds (a snapshot, a debugger) would overestimate the time of a text.
        self._text_s = (1 - _NEWEST) * known + _NEWEST * min(per_text, _MOST_AT_ONCE * known)
        start = 0
        for one in batch:
            if not one.results.done():
                one.results.set_result(list(results[start : start + len(one.texts)]))
            start += len(one.texts)


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
