"""A member of the consumer group: poll → decode, classify, encode → rows to the warehouse → rollups, topics → commit.

**Delivery.** Before its offset is committed, each message has become a row of the warehouse and a message on the predictions
topic, or a dead letter, at least once. A crash of worker, broker or warehouse loses no message. In the warehouse each message
counts exactly once, in rows and rollups, however often it was delivered: `(topic, partition, offset)` is its identity. On the
topics, a message that is classified twice appears twice, unless `transactions` is on: then a consumer that reads committed
messages sees it once.

**Threads.** The caller's thread only polls and commits (`PollLoop`). A pool classifies micro-batches, one thread for each CPU
(`ClassifyPool`, `stream.threads`). One thread is the sink (`SinkLoop`); it takes the batches in the order in which they were
read. At most `stream.max_in_flight` messages are between them: with more, reading is paused. `Membership` knows which partitions
are ours, `Commits` what is not committed yet, and `Signals` what the threads report to each other.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential_jitter,
)
from tenacity.nap import sleep_using_event

from data.errors import GroundswellError
from serving.load_control import LoadControl
from serving.settings import StreamSettings
from serving.streaming.broker import BrokerUnavailable, require_topic
from serving.streaming.worker.classify_pool import ClassifyPool
from serving.streaming.worker.commits import Commits
from serving.streaming.worker.consumer import new_consumer
from serving.streaming.worker.health import WorkerHealth
from serving.streaming.worker.identity import require_same_topic
from serving.streaming.worker.membership import Membership
from serving.streaming.worker.model import StreamModel
from serving.streaming.worker.poll_loop import PollLoop
from serving.streaming.worker.processing import ProcessedBatch, process_batch
from serving.streaming.worker.signals import Signals
from serving.streaming.worker.sink import Sink
from serving.streaming.worker.sink_loop import SinkLoop
from serving.threads import cpu_quota
from serving.tiers import OperatingPoint
from serving.warehouse.connect import WarehouseUnavailable
from serving.warehouse.keys import ForgottenKeys

START_TIMEOUT_S = 60.0
"""At the start the worker waits this long for broker and warehouse; then it fails with what it waited for."""


class Worker:
    """One worker. `run` may be called once."""

    def __init__(
        self,
        settings: StreamSettings,
        var: Path,
        model: Callable[[], StreamModel],
        *,
        name: str = "worker",
        port: int | None = None,
        identified: bool = True,
        domains: Mapping[str, str] | None = None,
        reject_languages: bool = False,
    ) -> None:
        """Make a worker; it contacts nothing before `run`.

        Args:
            settings: Of the stream.
            var: Folder with the address of the warehouse server and the heartbeats.
            model: Returns the model for the next batch.
            name: Unique among the workers on this machine; names the heartbeat's file.
            port: Of `/metrics`, reported in the heartbeat.
            identified: Whether the broker gives topics ids, to compare with the warehouse's; the in-process one does not.
            domains: The domain of each source, for messages that do not name theirs.
            reject_languages: Whether messages in a language that the model was not measured on are dead letters.
        """
        self._settings, self._var, self._name, self._identified = settings, var, name, identified
        self._signals = Signals()
        self._forgotten = ForgottenKeys()
        self._membership = Membership(settings.topic, self._new_consumer)
        self._commits = Commits(settings.topic, self._membership, self._signals.changed, transactions=settings.transactions)
        self._model, self._domains, self._reject_languages = model, domains, reject_languages
        threads, deadline_s = settings.threads or cpu_quota(), settings.deadline_ms / 1000
        self._control = None if settings.floor is None else LoadControl(settings.tier, settings.floor, threads, deadline_s)
        self._pool = ClassifyPool(threads, self._process, self._signals)
        self._health = WorkerHealth(
            var, name, port, lambda: (model().name, self._point(model()), list(self._membership.owned), self.waiting)
        )
        self._loop = PollLoop(
            settings, self._membership, self._pool, self._commits, self._health, self._signals, control=self._control
        )

    @property
    def committed(self) -> int:
        """Messages committed so far, dead letters included."""
        return self._health.messages

    @property
    def dead(self) -> int:
        """Those of them that became dead letters."""
        return self._health.dead

    @property
    def waiting(self) -> int:
        """Messages read and not yet committed."""
        return self._commits.in_flight()

    @property
    def first_read_at(self) -> float | None:
        """When the first message was read, on the monotonic clock."""
        return self._loop.first_read_at

    def _point(self, model: StreamModel) -> OperatingPoint:
        return self._control.point_for(model) if self._control else model.point(self._settings.tier)

    def _process(self, batch: list[Any]) -> ProcessedBatch:
        model, began = self._model(), time.perf_counter()
        point = self._point(model)
        processed = process_batch(
            batch,
            model,
            self._settings,
            self._forgotten,
            point=point,
            domains=self._domains,
            reject_languages=self._reject_languages,
        )
        if self._control:
            self._control.record(point, len(batch), time.perf_counter() - began)
        return processed

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then finish what was read, for at most `drain_s`, commit, and leave the group. Blocks.

        Raises:
            TooManyDeadLetters: Their share is over the limit; the batch that exceeded it is not committed.
            StreamError: The broker does not respond at the start, or refuses a request.
            WarehouseError: The warehouse is of another version.
        """
        self._health.start()
        try:
            self._run(stop)
            self._health.set_state("stopped")
        except BaseException as error:
            self._health.set_state("failed", (str(error) or type(error).__name__).splitlines()[0])
            raise
        finally:
            self._health.stop()

    def _run(self, stop: threading.Event) -> None:
        sink: Sink | None = None
        self._membership.open()
        try:
            self._wait_until_ready(stop)
            if stop.is_set():
                return
            sink = Sink(self._settings, self._var, self._name, self._signals.give_up, self._on_sink_wait, self._forgotten)
            self._work(sink, stop)
        finally:
            self._membership.close()
            if sink is not None:
                sink.close()

    def _work(self, sink: Sink, stop: threading.Event) -> None:
        def insert(part: ProcessedBatch) -> None:
            sink.insert(part)
            self._health.record_latencies(message.timestamp()[1] / 1000 for message in part.origins)

        def finish(block: ProcessedBatch) -> None:
            sink.finish(block, lambda: self._membership.ours(block), lambda: self._commits.group)

        loop = SinkLoop(self._settings, self._pool, insert, finish, self._commits, self._signals)
        sinking = threading.Thread(target=loop.run, name="sink")
        sinking.start()
        try:
            self._membership.subscribe(self._loop.drain)
            self._health.begin("running")
            self._loop.run(stop)
            if self._signals.failure is None:
                self._health.begin("draining")
                self._loop.drain(None)
        finally:
            self._signals.give_up.set()
            self._pool.close()
            sinking.join()
        if self._signals.failure is not None:
            raise self._signals.failure

    def _new_consumer(self) -> Any:
        return new_consumer(self._settings, lambda error: self._health.wait_for("the broker", error))

    def _wait_until_ready(self, stop: threading.Event) -> None:
        """Wait for broker and warehouse, and check that the topic is the one that the warehouse knows."""
        consumer, settings = self._membership.consumer, self._settings
        partitions = self._wait_for(
            stop, "the broker", BrokerUnavailable, lambda: require_topic(consumer, settings.topic, settings.bootstrap)
        )
        if self._identified:
            self._wait_for(
                stop, "the warehouse", WarehouseUnavailable, lambda: require_same_topic(settings, self._var, partitions)
            )

    def _wait_for(self, stop: threading.Event, what: str, unavailable: type[GroundswellError], call: Callable[[], Any]) -> Any:
        """Return the result of `call`, which is repeated while it raises `unavailable`, for at most `START_TIMEOUT_S`."""

        def waiting(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self._health.wait_for(what, getattr(error, "message", ""))

        return Retrying(
            retry=retry_if_exception_type(unavailable),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=stop_after_delay(START_TIMEOUT_S) | stop_when_event_set(stop),
            sleep=sleep_using_event(stop),
            before_sleep=waiting,
            reraise=True,
        )(call)

    def _on_sink_wait(self, what: str) -> None:
        if what:
            self._health.wait_for(what)
        else:
            self._health.end_wait()
