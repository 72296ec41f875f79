"""Long work, taken down before it is accepted and judged part by part: what the stores of jobs have in common, and the worker.

A part is claimed for a time, judged, and its results written in one transaction under (job, first): a process that dies loses its
claim, the next one judges the part again, and writing it twice is harmless. Several processes may share a store.
"""

import asyncio
import hashlib
import json
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from serving.service import metrics
from serving.service.batching import Overloaded, cut
from serving.service.schemas import weight

State = Literal["queued", "running", "done", "cancelled"]
Judge = Callable[[Sequence[Any], bool], Awaitable[list[dict[str, Any]]]]
"""Texts and whether detail is wanted, to one entry a text."""

PART_TEXTS = 64
"""Few enough that a caller who waits is not held up, enough to fill two batches."""
CLAIM_S = 20.0
"""A part whose judge says nothing for so long is given to the next."""
MAX_ATTEMPTS = 5
"""A part at which the service fails or dies so often gets errors for answers, so that its job ends."""
KEEP_S = 86_400
"""A job, its texts and its results are forgotten a day after it was made."""
MAX_WAITING_TEXTS = 200_000
_LOOK_S = 5.0
"""How often a process that has nothing to do looks for parts that others left."""

_log = logging.getLogger(__name__)


class TooMany(Exception):
    """The queue of jobs is full."""


class JobsUnavailable(Exception):
    """The store of jobs cannot be read or written now."""


@dataclass(frozen=True)
class Job:
    """Where a job stands."""

    id: str
    state: State
    total: int
    """Texts."""
    done: int
    """Texts judged."""
    created_at: str

    @classmethod
    def of(cls, identity: str, *, total: int, done: int, created: float, cancelled: bool) -> "Job":
        """From what a store keeps; `created` in seconds since 1970."""
        state: State = "done" if done == total else "cancelled" if cancelled else "running" if done else "queued"
        return cls(identity, state, total, done, datetime.fromtimestamp(created, UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        return asdict(self) | {"results": f"/v1/results/{self.id}"}


@dataclass(frozen=True)
class Part:
    """Texts of a job to be judged together."""

    job: str
    first: int
    """Position of its first text in the job."""
    texts: list[Any]
    detail: bool
    attempt: int
    """1 for the first time it is claimed."""
    receipt: str | None = None
    """What a queue wants back."""


class Jobs(Protocol):
    """A store of jobs. Methods are for one event loop and raise `JobsUnavailable`."""

    more: asyncio.Event
    """Set when there may be parts to claim."""
    up: bool
    """Whether the last operation worked."""

    async def add(self, owner: str, texts: Sequence[Any], *, detail: bool, idempotency_key: str | None = None) -> Job:
        """Take a job down; when this returns it survives the death of this process.

        Args:
            owner: The id of the caller's key; nobody else sees the job.
            texts: JSON values, the bad ones too: they get an error in their place.
            detail: Whether the probabilities are wanted.
            idempotency_key: The same key of the same owner gives the same job, whatever the texts.

        Raises:
            TooMany: As many texts wait as may.
        """
        ...

    async def get(self, job: str, owner: str | None) -> Job | None:
        """A job of this owner (None: of anybody), or None."""
        ...

    async def text(self, identity: str, owner: str | None) -> Any:
        """The text that a line of a job's results is about, or None; `identity` is the line's `id`."""
        ...

    async def cancel(self, job: str) -> None:
        """Classify no more of it, and delete its texts. A finished job stays finished."""
        ...

    def results(self, job: str) -> AsyncIterator[bytes]:
        """The answers of a finished job, one JSON line a text, in the order of the texts, part by part."""
        ...

    async def claim(self) -> Part | None:
        """The oldest part that nobody judges, for `CLAIM_S`."""
        ...

    async def finish(self, part: Part, results: Sequence[dict[str, Any]]) -> None:
        """Write a part's results; a part that is finished already stays as it is."""
        ...

    async def give_back(self, part: Part) -> None:
        """Let somebody else judge it; this was no attempt."""
        ...

    async def waiting(self) -> int:
        """Texts of all jobs that are not judged yet."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


def name_job(owner: str, idempotency_key: str | None) -> str:
    """The id of a new job, or of the one that this owner made with this key."""
    if not idempotency_key:
        return secrets.token_hex(12)
    return hashlib.blake2b(f"{owner}\0{idempotency_key}".encode(), digest_size=12).hexdigest()


def parts_of(texts: Sequence[Any]) -> list[tuple[int, list[Any]]]:
    """A job's texts cut into parts, each with the position of its first."""
    parts = cut(range(len(texts)), [weight(text) for text in texts], PART_TEXTS)
    return [(part[0], [texts[i] for i in part]) for part in parts]


def texts_to(texts: Sequence[Any]) -> bytes:
    """Texts as a store keeps them: a JSON list in UTF-8, which takes a third of what escapes would."""
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def texts_from(stored: bytes | str) -> list[Any]:
    """The inverse of `texts_to`."""
    return json.loads(stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else stored)


def result_lines(part: Part, results: Sequence[dict[str, Any]]) -> bytes:
    """A part's results as they are fetched: one JSON line a text, with an id that feedback may name."""
    lines = ({"id": f"{part.job}-{part.first + i}"} | result for i, result in enumerate(results))
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines).encode()


def place_of(identity: str) -> tuple[str, int] | None:
    """The job and the position in it that a result's id names, or None."""
    job, _, position = identity.rpartition("-")
    return (job, int(position)) if job and position.isascii() and position.isdigit() and len(position) < 9 else None


async def judge_part(jobs: Jobs, part: Part, judge: Judge) -> None:
    """Judge a claimed part and write what came out; one that failed too often gets errors.

    Raises:
        Overloaded, JobsUnavailable: It was not judged, or not written.
        Exception: What the judge raises.
    """
    if part.attempt > MAX_ATTEMPTS:
        results = [{"error": f"could not be judged: the service failed {MAX_ATTEMPTS} times"}] * len(part.texts)
    else:
        results = await judge(part.texts, part.detail)
    await jobs.finish(part, results)
    metrics.JOB_TEXTS.inc(len(results))


async def work_forever(jobs: Jobs, judge: Judge) -> None:
    """Judge the parts of all jobs, one after the other, until cancelled; then the part in hand is given back."""
    while True:
        jobs.more.clear()
        try:
            metrics.JOBS_WAITING.set(await jobs.waiting())  # before the claim: one that fails here would be lost for its time
            part = await jobs.claim()
        except JobsUnavailable:
            _log.exception("the store of jobs cannot be read; tried again")
            part = None
            jobs.more.clear()
        if part is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(jobs.more.wait(), _LOOK_S)
            continue
        try:
            await judge_part(jobs, part, judge)
        except Overloaded as full:  # callers who wait come first
            await _give_back(jobs, part)
            await asyncio.sleep(full.retry_after_s)
        except asyncio.CancelledError:
            await _give_back(jobs, part)
            raise
        except Exception:  # its claim runs out, and it is tried again
            _log.exception("a part of job %s could not be judged", part.job)


async def _give_back(jobs: Jobs, part: Part) -> None:
    with suppress(JobsUnavailable):  # then its claim runs out
        await jobs.give_back(part)
