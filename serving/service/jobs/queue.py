"""Batch jobs, stored before they are accepted and classified part by part: the store interface, and the worker.

A part is claimed for a time, classified, and its results are written in one transaction under (job, first). A process that dies
loses its claim, another one classifies the part again, and writing it twice changes nothing. Several processes may share a store.
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
from typing import Any, Literal, NamedTuple, Protocol

from serving.service import metrics
from serving.service.batching import Overloaded, cut
from serving.service.schemas import weight
from serving.tiers import BASE

State = Literal["queued", "running", "done", "cancelled"]

PART_TEXTS = 64
"""Small enough that little is lost with a process, large enough that claiming and storing cost little."""
CLAIM_S = 60.0
"""A claim expires after this time; then another process may claim the part. Under load a part takes 10 s or more: it gets a tenth
of a CPU (`batching.JOB_NICE`)."""
MAX_ATTEMPTS = 5
"""After this many failed attempts the texts of a part get errors, so that its job ends."""
KEEP_S = 86_400
"""A job, its texts and its results are deleted a day after it was made."""
MAX_WAITING_TEXTS = 200_000
_POLL_S, _RETRY_S = 1.0, 5.0
"""How often an idle process looks for parts that another one stored, or whose claims expired; and how often, in a store that
cannot be read."""

_log = logging.getLogger(__name__)


class TooMany(Exception):
    """The queue of jobs is full."""


class JobsUnavailable(Exception):
    """The job store cannot be read or written now."""


class Options(NamedTuple):
    """How the texts of a job are classified."""

    detail: bool = False
    """Whether results have the probabilities."""
    tier: str = BASE
    """The tier that classifies, or `auto`."""
    domain: str | None = None
    """What kind of texts these are."""
    document: str | None = None
    """JSON of a document, whose windows are the texts; None: they are texts (see `documents`)."""


@dataclass(frozen=True)
class Job:
    """State and progress of a job."""

    id: str
    state: State
    total: int
    """Texts, or windows of a document."""
    done: int
    """Those classified."""
    created_at: str
    options: Options

    @classmethod
    def of(cls, identity: str, *, total: int, done: int, created: float, cancelled: bool, options: Options) -> "Job":
        """Make a job from stored values; `created` in seconds since 1970."""
        state: State = "done" if done == total else "cancelled" if cancelled else "running" if done else "queued"
        return cls(identity, state, total, done, datetime.fromtimestamp(created, UTC).isoformat(timespec="seconds"), options)

    def to_dict(self) -> dict[str, Any]:
        """Return the job as the API shows it."""
        shown = asdict(self) | {"results": f"/v1/results/{self.id}"}
        del shown["options"]
        return shown


PLAIN = Options()
Classify = Callable[[Sequence[Any], Options], Awaitable[list[dict[str, Any]]]]
"""Returns one entry per text."""


@dataclass(frozen=True)
class Part:
    """Texts of a job that are classified together."""

    job: str
    first: int
    """Position of its first text in the job."""
    texts: list[Any]
    options: Options
    attempt: int
    """1 for the first time it is claimed."""
    receipt: str | None = None
    """Handle with which a queue deletes the message of this part."""


class Jobs(Protocol):
    """A store of jobs. Methods are for one event loop and raise `JobsUnavailable`."""

    more: asyncio.Event
    """Set when there may be parts to claim."""
    up: bool
    """Whether the last operation worked."""

    async def add(self, owner: str, texts: Sequence[Any], options: Options = PLAIN, *, idempotency_key: str | None = None) -> Job:
        """Store a job; once this returns, the job survives the death of this process.

        Args:
            owner: The id of the caller's key; other keys cannot see the job.
            texts: JSON values, invalid ones too: they get an error in their place.
            options: How they are classified.
            idempotency_key: The same key of the same owner returns the same job, even with other texts.

        Raises:
            TooMany: The queue is full.
        """
        ...

    async def get(self, job: str, owner: str | None) -> Job | None:
        """Return a job of this owner (None: of any owner), or None."""
        ...

    async def text(self, identity: str, owner: str | None) -> Any:
        """Return the text of a line of a job's results, a window of a document, or None; `identity` is the line's `id`."""
        ...

    async def cancel(self, job: str) -> None:
        """Stop classifying a job and delete its texts. A finished job stays finished."""
        ...

    def results(self, job: str) -> AsyncIterator[bytes]:
        """Yield the results of a finished job, part by part: one JSON line per text, in the order of the texts."""
        ...

    async def claim(self) -> Part | None:
        """Claim the oldest unclaimed part for `CLAIM_S`; None: there is none."""
        ...

    async def finish(self, part: Part, results: Sequence[dict[str, Any]]) -> None:
        """Write a part's results; a part that is finished already stays as it is."""
        ...

    async def give_back(self, part: Part) -> None:
        """Release a claimed part; this does not count as an attempt."""
        ...

    async def waiting(self) -> int:
        """Count the texts of all jobs that are not classified yet."""
        ...

    async def close(self) -> None:
        """Close the store."""
        ...


def name_job(owner: str, idempotency_key: str | None) -> str:
    """Make the id of a job; the same owner and idempotency key always give the same id."""
    if not idempotency_key:
        return secrets.token_hex(12)
    return hashlib.blake2b(f"{owner}\0{idempotency_key}".encode(), digest_size=12).hexdigest()


def parts_of(texts: Sequence[Any]) -> list[tuple[int, list[Any]]]:
    """Cut a job's texts into parts, each with the position of its first text."""
    parts = cut(range(len(texts)), [weight(text) for text in texts], PART_TEXTS)
    return [(part[0], [texts[i] for i in part]) for part in parts]


def texts_to(texts: Sequence[Any]) -> bytes:
    """Encode texts for a store: a JSON list in UTF-8, a third of the size that it has with escapes."""
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def texts_from(stored: bytes | str) -> list[Any]:
    """Decode what `texts_to` encoded."""
    return json.loads(stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else stored)


def result_lines(part: Part, results: Sequence[dict[str, Any]]) -> bytes:
    """Encode a part's results as the API returns them: one JSON line per text, with an id for feedback."""
    lines = ({"id": f"{part.job}-{part.first + i}"} | result for i, result in enumerate(results))
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines).encode()


def place_of(identity: str) -> tuple[str, int] | None:
    """Split a result's id into the job and the position in it; None if it is not such an id."""
    job, _, position = identity.rpartition("-")
    return (job, int(position)) if job and position.isascii() and position.isdigit() and len(position) < 9 else None


async def classify_part(jobs: Jobs, part: Part, classify: Classify) -> None:
    """Classify a claimed part and write its results; after `MAX_ATTEMPTS` failures write errors.

    Raises:
        Overloaded, JobsUnavailable: It was not classified, or not written.
        Exception: What `classify` raises.
    """
    if part.attempt > MAX_ATTEMPTS:
        results = [{"error": f"could not be classified: the service failed {MAX_ATTEMPTS} times"}] * len(part.texts)
    else:
        results = await classify(part.texts, part.options)
    await jobs.finish(part, results)
    metrics.JOB_TEXTS.inc(len(results))


async def work_forever(jobs: Jobs, classify: Classify, may_claim: Callable[[], bool] = lambda: True) -> None:
    """Classify the parts of all jobs, one after the other, until cancelled; then release the claimed part.

    Args:
        jobs: The store.
        classify: Classifies texts.
        may_claim: Whether this process may claim a part now.
    """
    while True:
        jobs.more.clear()
        try:
            wait_s = _POLL_S
            metrics.JOBS_WAITING.set(await jobs.waiting())  # before the claim, which a failure here would hold until it expires
            part = await jobs.claim() if may_claim() else None
        except JobsUnavailable:
            _log.exception("job store cannot be read; retrying")
            part, wait_s = None, _RETRY_S
            jobs.more.clear()
        if part is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(jobs.more.wait(), wait_s)
            continue
        try:
            await classify_part(jobs, part, classify)
        except Overloaded as full:  # requests that wait come first
            await _give_back(jobs, part)
            await asyncio.sleep(full.retry_after_s)
        except asyncio.CancelledError:
            await _give_back(jobs, part)
            raise
        except Exception:  # its claim expires, and it is retried
            _log.exception("part of job %s could not be classified", part.job)


async def _give_back(jobs: Jobs, part: Part) -> None:
    with suppress(JobsUnavailable):  # then its claim expires
        await jobs.give_back(part)
