"""Ask a large model for the label of each text: within its budget, several requests at a time, resumed where it was interrupted.

It is a peer in the leaderboard only: it has no checkpoint, is never trained, exported or served.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from data.errors import ModelError
from data.labels import LABELS
from training.candidates import LargeModel
from training.llm_client import ChatClient, NoReplyYet
from training.llm_log import Request, RequestLog
from training.llm_prompt import MAX_REPLY_TOKENS, Messages, Prompt, read_label, text_digest

NO_LABEL = len(LABELS)
"""The class id of a text whose replies had no label: no class, so it is wrong whatever the true one is."""
MAX_RETRY_AFTER_S = 120.0
"""An endpoint that asks for a longer pause ends the run, which can be resumed later."""
_MAX_FAILED_IN_A_ROW = 5
_MESSAGE_TOKENS = 16
"""Upper bound of the tokens with which an endpoint frames one message."""
_BACKOFF = wait_exponential_jitter(initial=1, max=60)


@dataclass(frozen=True)
class Predictions:
    """What a large model predicted for N texts."""

    predicted: np.ndarray
    """Class ids or `NO_LABEL`, int64, shape (N,)."""
    usd_per_million: float | None
    """Price of a million such texts, second requests included; None without prices, or if `usage` was not reported."""
    latency_p50_ms: float
    """Of one request, with the candidate's number of requests at the same time."""
    latency_p95_ms: float

    @property
    def without_label(self) -> int:
        """Number of texts whose replies had no label."""
        return int((self.predicted == NO_LABEL).sum())


class _BudgetReached(Exception):
    """The next request might exceed the budget."""


class _Peer:
    """One run: the state that the concurrent requests share."""

    def __init__(
        self, peer: LargeModel, prompt: Prompt, log: RequestLog, client: ChatClient, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._peer, self._prompt, self._log, self._client, self._sleep = peer, prompt, log, client, sleep
        self._reserved_usd = 0.0
        self._running = 0
        self._released = asyncio.Event()
        self._failed_in_a_row = 0
        self.failed: list[str] = []
        """Reason for each text without a reply."""
        self.stopped_by: Exception | None = None

    async def work(self, texts: Iterator[str], done: Callable[[], None]) -> None:
        """Take texts until there are none or the run is stopped."""
        for text in texts:
            if self.stopped_by:
                return
            try:
                await self._ask(text)
            except NoReplyYet as error:
                self.failed.append(error.reason)
                self._failed_in_a_row += 1
                too_long = (error.retry_after_s or 0) > MAX_RETRY_AFTER_S
                if too_long or self._failed_in_a_row >= _MAX_FAILED_IN_A_ROW:
                    self.stopped_by = error
            except (ModelError, _BudgetReached) as error:
                self.stopped_by = error
            else:
                self._failed_in_a_row = 0
                done()

    async def _ask(self, text: str) -> None:
        key = text_digest(text)
        while not self._log.is_done(key):
            messages = self._prompt.messages(text, again=bool(self._log.replies(key)))
            retrying = AsyncRetrying(
                stop=self._stops,
                wait=_wait_s,
                retry=retry_if_exception_type(NoReplyYet),
                sleep=self._sleep,
                reraise=True,
            )
            await retrying(self._send, key, messages)

    def _stops(self, state: RetryCallState) -> bool:
        """Return whether a text is not asked for again in this run."""
        return state.attempt_number > self._peer.retries or _asks_for_too_long(state) or self.stopped_by is not None

    async def _send(self, key: str, messages: Messages) -> None:
        """Send one request and log it; what may have been charged without a reply is logged with its upper bound."""
        bound = sum(len(each["content"].encode("utf-8", "replace")) + _MESSAGE_TOKENS for each in messages), MAX_REPLY_TOKENS
        reserved = await self._reserve(bound)
        lost = Request(key, None, *bound, measured=False, latency_ms=None)
        try:
            reply = await self._client.send(messages)
        except NoReplyYet as error:
            if error.may_be_charged:
                self._log.add(lost)
            raise
        except asyncio.CancelledError:
            self._log.add(lost)
            raise
        else:
            tokens = reply.tokens or bound
            label = read_label(reply.content)
            self._log.add(Request(key, label, *tokens, measured=bool(reply.tokens), latency_ms=round(reply.latency_ms, 2)))
        finally:
            self._running -= 1
            self._reserved_usd = self._reserved_usd - reserved if self._running else 0.0
            self._released.set()

    async def _reserve(self, tokens: tuple[int, int]) -> float:
        """Reserve the cost of a request until its reply is there; wait for running requests where they take up the budget.

        A token is at least one byte, so that the reservation is an upper bound and the budget is never exceeded.

        Raises:
            _BudgetReached: The request could exceed the budget, and no other one is running.
        """
        budget = self._peer.budget_usd or math.inf
        usd = _usd(self._peer.usd_per_token or (0.0, 0.0), *tokens)
        while spent_usd(self._peer, self._log) + self._reserved_usd + usd > budget:
            if not self._running:
                raise _BudgetReached
            self._released.clear()
            await self._released.wait()
        self._running += 1
        self._reserved_usd += usd
        return usd


def ask_peer(
    peer: LargeModel,
    prompt: Prompt,
    texts: Sequence[str],
    log: RequestLog,
    key: str,
    *,
    progress: Callable[[str, float | None], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Ask for every text that the log has no prediction for. Blocks until all are there or the run has to stop.

    Args:
        peer: The model and its limits.
        prompt: What it is asked.
        texts: The texts.
        log: What was asked before; every reply is added as soon as it comes.
        key: The API key.
        progress: Called with a message and the share that is done.
        sleep: Waits the given seconds between two requests for the same text.

    Raises:
        ModelError: The endpoint refused, did not respond, or the budget is reached. The log keeps every reply, and the next
            run asks only for the rest.
    """
    pending = list(dict.fromkeys(text for text in texts if not log.is_done(text_digest(text))))
    left = len(pending)

    def done() -> None:
        nonlocal left
        left -= 1
        progress(f"{len(pending) - left:,} of {len(pending):,} texts", 1 - left / len(pending))

    async def run() -> _Peer:
        async with ChatClient(peer, key) as client:
            shared = _Peer(peer, prompt, log, client, sleep)
            queue = iter(pending)
            await asyncio.gather(*(shared.work(queue, done) for _ in range(peer.concurrency)))
            return shared

    if not pending:
        return
    ended = asyncio.run(run())
    if left:
        raise _incomplete(peer, log, ended, left=left, of=len(texts))


def predictions(peer: LargeModel, log: RequestLog, texts: Sequence[str]) -> Predictions:
    """Return the predictions of texts, all of which are in the log.

    Args:
        peer: The model; its present prices are used.
        log: The requests.
        texts: N texts.
    """
    replies = [log.replies(text_digest(text)) for text in texts]
    labels = [next((reply.label for reply in of if reply.label), None) for of in replies]
    asked = [reply for of in replies for reply in of]
    latencies = np.array([reply.latency_ms for reply in asked])
    prices, usd = peer.usd_per_token, None
    if prices is not None and all(reply.measured for reply in asked):
        usd = 1e6 * sum(_usd(prices, reply.input_tokens, reply.output_tokens) for reply in asked) / len(texts)
    return Predictions(
        np.array([LABELS.index(label) if label else NO_LABEL for label in labels], dtype=np.int64),
        usd,
        float(np.percentile(latencies, 50)),
        float(np.percentile(latencies, 95)),
    )


def spent_usd(peer: LargeModel, log: RequestLog) -> float:
    """Return the cost of all requests in USD at the present prices, at most that where there was no reply; 0 without prices."""
    return _usd(peer.usd_per_token, log.input_tokens, log.output_tokens) if peer.usd_per_token else 0.0


def _usd(prices: tuple[float, float], input_tokens: int, output_tokens: int) -> float:
    return prices[0] * input_tokens + prices[1] * output_tokens


def _incomplete(peer: LargeModel, log: RequestLog, ended: _Peer, *, left: int, of: int) -> ModelError:
    """Return the error of a run that stopped: what is there, what is missing, what to do."""
    if isinstance(ended.stopped_by, ModelError):
        return ended.stopped_by
    found = f"predictions of {of - left:,} of {of:,} texts, which are kept"
    if isinstance(ended.stopped_by, _BudgetReached):
        return ModelError(
            f"The budget of {peer.model} is reached: another request could exceed it.",
            found=f"{found}; {spent_usd(peer, log):.4f} USD of {peer.budget_usd:g} USD spent",
            expected=f"predictions of {left:,} more texts",
            remedy="Raise budget_usd or lower rows of the candidate in configs/candidates.yaml, and run the command again.",
        )
    return ModelError(
        f"{peer.model} did not reply for {left:,} texts.",
        found=f"{found}; last reason: {ended.failed[-1]}",
        expected=f"a reply within {1 + peer.retries} requests",
        remedy="Run the command again later: only the missing texts are asked for. Lower concurrency if the rate is limited.",
    )


def _asks_for_too_long(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, NoReplyYet) and (error.retry_after_s or 0) > MAX_RETRY_AFTER_S


def _wait_s(state: RetryCallState) -> float:
    """Return what the endpoint asks for, else 1 s, doubled with each request, with a random part, at most 60 s."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, NoReplyYet) and error.retry_after_s is not None:
        return error.retry_after_s
    return _BACKOFF(state)
