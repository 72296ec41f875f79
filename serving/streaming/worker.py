"""A member of the consumer group: poll → decode, classify, encode → one block to the warehouse → topics → commit.

**What is guaranteed.** Each message of the topic ends, at least once, as a row of the warehouse and a message on the predictions
topic, or as a dead letter, before its offset is committed: no crash of worker, broker or warehouse loses one. In the warehouse
each counts exactly once, in rows and rollups, however often it was delivered, since `(topic, partition, offset)` is its identity.
On the topics a message judged twice is there twice, unless `transactions` is on: then readers of committed messages see it once.

**Threads.** The caller's thread polls and commits, and nothing else, so that the group hears of the worker in time whatever the
model does; it alone touches the consumer, whose other callers would wait behind each poll. A pool classifies micro-batches, one
thread for each CPU (`stream.threads`). One thread is the sink; it takes the batches in the order in which they were read. Between
them are at most `stream.max_in_flight` messages: with more, reading is paused.
"""

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential_jitter,
)
from tenacity.nap import sleep_using_event

from data.errors import GroundswellError, StreamError
from serving.settings import StreamSettings
from serving.streaming import metrics
from serving.streaming.broker import BrokerAway, client_config, need_topic
from serving.streaming.identity import need_same_topic
from serving.streaming.judging import Judged, cut, judge
from serving.streaming.model import Judge
from serving.streaming.sink import Sink, next_offsets, places
from serving.streaming.vitals import Vitals
from serving.threads import cpu_quota
from serving.warehouse.connect import WarehouseAway

SESSION_MS = 6_000
"""A worker that dies hands its partitions on after this; the least that brokers allow by default."""
JOIN_S = 30.0
"""Beyond `drain_s`: so long the group waits for a member that does not poll, and the member for the answer when it asks to join.

librdkafka's default is five minutes. It alone is no remedy for a worker that a group does not take back: see `BACK_S`.
"""
BACK_S = 20.0
"""A worker that lost all partitions and gets none for so long, though the broker answers, joins as a new member.

After a broker that was frozen, librdkafka (2.16.0) now and then stays outside of the group.
"""
START_S = 60.0
"""Broker and warehouse may take so long to be there; then the worker ends with what it waited for."""
LOOK_S = 0.1
"""How soon the sink notices that it should hurry, and what is refused is tried again."""
AHEAD = 4
"""Micro-batches read for each judge, so that none waits for the broker; more would only be finished when told to stop."""
PATIENCE_S = 1.0
"""With no room for more, polling waits for so long before it pauses the partitions."""
LETTERS_OF = 1_000
"""The share of dead letters is that of the last so many messages, once there are a fifth of them."""
_log = structlog.get_logger()


class TooManyDeadLetters(StreamError):
    """So many messages are none that something else must be wrong."""


class Worker:
    """One worker. `run` may be called once."""

    def __init__(
        self,
        settings: StreamSettings,
        var: Path,
        model: Callable[[], Judge],
        *,
        name: str = "worker",
        port: int | None = None,
        identified: bool = True,
    ) -> None:
        """Make a worker; nothing is contacted before `run`.

        Args:
            settings: Of the stream.
            var: Where the warehouse's owner is found and the heartbeat is written.
            model: Gives the judge of the next batch.
            name: Unique among the workers on this machine; of the heartbeat's file.
            port: Of `/metrics`, said in the heartbeat.
            identified: Whether the broker gives topics ids, to compare with the warehouse's; the in-process one does not.
        """
        self._identified = identified
        self._settings, self._var, self._model, self._name = settings, var, model, name
        self._threads = settings.threads or cpu_quota()
        self._judged: queue.Queue[Future[Judged] | None] = queue.Queue()
        self._head: Future[Judged] | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._written: list[Judged] = []
        """In warehouse and topics, and not yet committed."""
        self._member: Any = None
        """The consumer."""
        self._group: Any = None
        self._in_flight: Counter[int] = Counter()
        self._unjudged = 0
        self._owned: set[int] = set()
        self._era = 0
        """How often partitions have gone; a batch carries the count of when it was read."""
        self._went: dict[int, int] = {}
        """By partition: the era that began when it last went. What was read of it before is somebody else's to commit."""
        self._lost_at: float | None = None
        """When all partitions were lost, until some come."""
        self._doing = "running"
        """The state that is said where nothing is waited for."""
        self._hurry = threading.Event()
        """Write what is judged now, whatever its age."""
        self._give_up = threading.Event()
        self._failure: BaseException | None = None
        self._paused: set[int] = set()
        self._recent: deque[tuple[int, int]] = deque()
        self.first_read_at: float | None = None
        """When the first message came, on the monotonic clock."""
        self._vitals = Vitals(var, name, port, lambda: (getattr(model(), "name", ""), list(self._owned), self.waiting))

    @property
    def committed(self) -> int:
        """Messages committed so far, dead letters included."""
        return self._vitals.messages

    @property
    def dead(self) -> int:
        """Those of them that became dead letters."""
        return self._vitals.dead

    @property
    def waiting(self) -> int:
        """Messages read and not yet committed."""
        return self._in_flight.total()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then finish what was read, for at most `drain_s`, commit, and leave the group. Blocks.

        Raises:
            TooManyDeadLetters: Their share is over the limit; the batch that made it so is not committed.
            StreamError: The broker does not answer at the start, or refuses.
            WarehouseError: The warehouse is of another version.
        """
        self._vitals.start()
        try:
            self._run(stop)
            self._vitals.say("stopped")
        except BaseException as error:
            self._vitals.say("failed", (str(error) or type(error).__name__).splitlines()[0])
            raise
        finally:
            self._vitals.stop()

    def _run(self, stop: threading.Event) -> None:
        consumer = self._member = self._new_member()
        sink: Sink | None = None
        try:
            partitions = self._until_there(
                stop, "the broker", BrokerAway, lambda: need_topic(consumer, self._settings.topic, self._settings.bootstrap)
            )
            if self._identified:
                self._until_there(
                    stop, "the warehouse", WarehouseAway, lambda: need_same_topic(self._settings, self._var, partitions)
                )
            if stop.is_set():
                return
            sink = Sink(self._settings, self._var, self._name, self._give_up, self._sink_waits)
            pool = ThreadPoolExecutor(self._threads, thread_name_prefix="judge")
            sinking = threading.Thread(target=self._sink_batches, args=(sink,), name="sink")
            sinking.start()
            try:
                self._subscribe()
                self._vitals.say(self._doing)
                self._poll(pool, stop)
                if self._failure is None:
                    self._doing = "draining"
                    self._vitals.say(self._doing)
                    self._drained(self._member, None)
            finally:
                self._give_up.set()
                pool.shutdown(cancel_futures=True)
                self._judged.put(None)
                sinking.join()
            if self._failure is not None:
                raise self._failure
        finally:
            self._owned.clear()
            self._member.close()
            if sink is not None:
                sink.close()

    def _new_member(self) -> Any:
        from confluent_kafka import Consumer

        return Consumer(
            {
                **client_config(self._settings),
                "group.id": self._settings.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": SESSION_MS,
                "max.poll.interval.ms": int(1000 * (JOIN_S + self._settings.drain_s)),
                "queued.max.messages.kbytes": 32_768,
                "fetch.message.max.bytes": 8 * 1024 * 1024,
                "error_cb": self._broker_says,
            }
        )

    def _subscribe(self) -> None:
        self._member.subscribe([self._settings.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _forgotten(self) -> bool:
        """Whether the group answers and yet has not taken this worker back since it lost everything. Told once for each loss."""
        from confluent_kafka import KafkaException

        if self._lost_at is None or time.monotonic() - self._lost_at < BACK_S:
            return False
        try:
            self._member.list_topics(self._settings.topic, timeout=1.0)
        except KafkaException:
            self._lost_at = time.monotonic()  # the broker is away: the wait begins when it is there
            return False
        self._lost_at = None
        return True

    def _until_there(self, stop: threading.Event, what: str, away: type[GroundswellError], ask: Callable[[], Any]) -> Any:
        """What `ask` gives, asked again while it is away, for at most `START_S`."""

        def waiting(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self._vitals.say(f"waiting for {what}", getattr(error, "message", ""))

        return Retrying(
            retry=retry_if_exception_type(away),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=stop_after_delay(START_S) | stop_when_event_set(stop),
            sleep=sleep_using_event(stop),
            before_sleep=waiting,
            reraise=True,
        )(ask)

    def _poll(self, pool: ThreadPoolExecutor, stop: threading.Event) -> None:
        while not stop.is_set() and self._failure is None:
            if self._forgotten():
                _log.warning("the group has not taken this worker back: it joins anew")
                self._member.close()
                self._member = self._new_member()
                self._subscribe()
            consumer = self._member
            self._pace(consumer)
            self._commit(consumer)
            found = consumer.consume(self._settings.batch_messages, self._settings.batch_age_ms / 1000)
            if found and self.first_read_at is None:
                self.first_read_at = time.monotonic()
            if found and self._vitals.state == "waiting for the broker":
                self._vitals.say(self._doing)
            for batch in cut(self._messages(found), self._settings.batch_tokens):
                self._in_flight.update(message.partition() for message in batch)
                with self._changed:
                    self._unjudged += 1
                self._judged.put(pool.submit(self._judge, batch, self._era))

    def _judge(self, batch: list[Any], era: int) -> Judged:
        try:
            judged = judge(batch, self._model(), self._settings)
            judged.era = era
            return judged
        finally:
            with self._changed:
                self._unjudged -= 1
                self._changed.notify_all()

    def _full(self) -> bool:
        return self._in_flight.total() >= self._settings.max_in_flight or self._unjudged >= AHEAD * self._threads

    def _pace(self, consumer: Any) -> None:
        """Wait for room, committing what gets through. Before the group could miss us, reading is paused, and polling goes on."""
        end = time.monotonic() + PATIENCE_S
        while self._full() and self._failure is None and (left := end - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._written or not self._full() or self._failure is not None, left)
            self._commit(consumer)
        places = consumer.assignment() if self._full() or self._paused else []
        if self._full():
            # Each partition once, also one that came since the last time; what librdkafka had fetched of it is fetched again.
            consumer.pause([place for place in places if place.partition not in self._paused])
            self._paused |= {place.partition for place in places}
        elif self._paused:
            consumer.resume([place for place in places if place.partition in self._paused])
            self._paused.clear()
        metrics.PAUSED.set(bool(self._paused))
        metrics.IN_FLIGHT.set(self._in_flight.total())

    def _messages(self, found: list[Any]) -> Iterator[Any]:
        from confluent_kafka import KafkaError

        for message in found:
            error = message.error()
            if error is None:
                # What was fetched before a partition went may come after: it is no longer ours, and read again by who has it.
                if message.partition() in self._owned:
                    yield message
            elif error.code() in {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}:
                raise StreamError(
                    f"The broker lets this user not read {self._settings.topic} as group {self._settings.group}.",
                    found=error.str(),
                    remedy="Grant READ on the topic and on the group.",
                )
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise StreamError(f"The topic {self._settings.topic} is gone.", found=error.str(), remedy="Was it deleted?")
            elif error.fatal():
                raise StreamError("The broker ended this member.", found=error.str())
            else:
                _log.warning("the broker reports an error", error=error.str())

    # The group moves partitions, in calls from within `consume`.

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        # librdkafka remembers a pause beyond a partition's going: unless resumed, one that comes back would never be read.
        consumer.resume(partitions)
        self._owned |= {partition.partition for partition in partitions}
        self._lost_at = None
        metrics.REBALANCES.inc()
        _log.info("partitions came", partitions=sorted(p.partition for p in partitions), owned=len(self._owned))

    def _revoked(self, consumer: Any, partitions: list[Any]) -> None:
        going = {partition.partition for partition in partitions}
        metrics.REBALANCES.inc()
        finished = self._drained(consumer, going)
        self._gone(going)
        _log.info("partitions went", partitions=sorted(going), finished=finished)

    def _lost(self, _: Any, partitions: list[Any]) -> None:
        """Taken without asking, as this member was not heard of: its offsets would be refused."""
        self._gone({partition.partition for partition in partitions})
        if not self._owned:
            self._lost_at = time.monotonic()
        metrics.REBALANCES.inc()
        _log.warning(
            "partitions were lost; what was read of them will be read again", partitions=[p.partition for p in partitions]
        )

    def _gone(self, going: set[int]) -> None:
        self._era += 1
        self._went |= dict.fromkeys(going, self._era)
        self._owned -= going
        self._paused -= going

    def _ours(self, block: Judged) -> set[int]:
        """Partitions of a block that have not gone since it was read."""
        found = {message.partition() for message in block.messages}
        return {each for each in found if each in self._owned and block.era >= self._went.get(each, 0)}

    def _drained(self, consumer: Any, going: set[int] | None) -> bool:
        """Wait until what was read of these partitions, or of all, is committed; at most `drain_s`."""

        def through() -> bool:
            left = self._in_flight.total() if going is None else sum(self._in_flight[p] for p in going)
            return left == 0 or self._failure is not None

        end = time.monotonic() + self._settings.drain_s
        self._hurry.set()
        while not through() and time.monotonic() < end:
            with self._changed:  # not for longer: a transaction in the sink may wait for the group's new generation
                self._changed.wait_for(lambda: self._written or self._failure is not None, min(LOOK_S, end - time.monotonic()))
            self._commit(consumer)
        self._hurry.clear()
        return through()

    def _commit(self, consumer: Any) -> None:
        """Commit what the sink has written, of partitions still ours; what the broker does not take now, at the next call.

        So too where it says that our generation is over: the group may only be between two, and partitions that we keep are not
        given to us anew. Those that have gone are told (`_revoked`, `_lost`), and are left out from then on.
        """
        self._group = consumer.consumer_group_metadata() if self._settings.transactions else None
        with self._changed:
            blocks, self._written = self._written, []
        if not blocks:
            return
        began = time.thread_time()
        offsets: dict[int, int] = {}
        for block in blocks:
            offsets |= next_offsets(block, self._ours(block))
        if offsets and not self._settings.transactions and (error := self._refused(consumer, offsets)):
            self._vitals.say("waiting for the broker", error.str())
            metrics.RETRIES.labels("the broker").inc()
            with self._changed:
                self._written = blocks + self._written
            self._give_up.wait(LOOK_S)
            return
        if self._vitals.state == "waiting for the broker":
            self._vitals.say(self._doing)
        metrics.STAGE_CPU.labels("commit").inc(time.thread_time() - began)
        for block in blocks:
            self._count(block)

    def _refused(self, consumer: Any, offsets: dict[int, int]) -> Any:
        """Commit; gives why the broker does not take it, all or one."""
        from confluent_kafka import KafkaException

        try:
            taken = consumer.commit(offsets=places(self._settings.topic, offsets), asynchronous=False)
        except KafkaException as error:
            return error.args[0]
        return next((place.error for place in taken if place.error), None)

    def _count(self, block: Judged) -> None:
        self._in_flight.subtract(message.partition() for message in block.messages)
        self._vitals.committed(len(block.messages), len(block.letters))

    # The sink's thread.

    def _sink_batches(self, sink: Sink) -> None:
        try:
            for block in self._blocks():
                self._write(sink, block)
        except BaseException as error:
            with self._changed:
                if not self._give_up.is_set():
                    self._failure = error
                    _log.error("the worker stops", error=str(error))
                self._changed.notify_all()

    def _blocks(self) -> Iterator[Judged]:
        """What is judged, in the order of reading, cut by rows and by the age of a block's first batch."""
        block, due = Judged(), None
        while not self._ended:
            patience = LOOK_S if due is None else max(0.0, min(LOOK_S, due - time.monotonic()))
            batch = self._next_batch(patience)
            if batch is not None:
                if block.messages and batch.era != block.era:
                    yield block
                    block, due = Judged(), None
                block.add(batch)
                due = due or time.monotonic() + self._settings.block_age_ms / 1000
            full = len(block.messages) >= self._settings.block_rows
            if due is not None and (full or self._hurry.is_set() or time.monotonic() >= due):
                yield block
                block, due = Judged(), None

    def _next_batch(self, patience_s: float) -> Judged | None:
        """The batch that was read next, or none if it is not judged in time."""
        if self._head is None:
            try:
                self._head = self._judged.get(timeout=patience_s)
            except queue.Empty:
                return None
            if self._head is None:
                self._ended = True  # what is left was not finished in time: it is not committed, and is read again
                return None
        wait([self._head], patience_s)
        if not self._head.done():
            return None
        head, self._head = self._head, None
        return head.result()

    def _write(self, sink: Sink, block: Judged) -> None:
        self._watch_letters(block)
        sink.write(block, lambda: self._ours(block), lambda: self._group)
        self._vitals.wrote(message.timestamp()[1] / 1000 for message in block.origins)
        with self._changed:
            self._written.append(block)
            self._changed.notify_all()

    def _watch_letters(self, block: Judged) -> None:
        self._recent.append((len(block.messages), len(block.letters)))
        while sum(read for read, _ in self._recent) - self._recent[0][0] >= LETTERS_OF:
            self._recent.popleft()
        read, dead = (sum(column) for column in zip(*self._recent, strict=True))
        if read >= LETTERS_OF // 5 and dead / read > self._settings.dead_letter_limit:
            raise TooManyDeadLetters(
                "Too many messages are none.",
                found=f"{dead:,} of the last {read:,}; such as: {block.letters[-1][1] if block.letters else '(before)'}",
                expected=f"at most {self._settings.dead_letter_limit:.0%}",
                remedy="Is it the right topic, and does its producer write the contract's events? They are not committed. To let "
                "them through as dead letters, raise GROUNDSWELL_STREAM__DEAD_LETTER_LIMIT.",
            )

    # What is waited for.

    def _sink_waits(self, what: str) -> None:
        if what:
            self._vitals.say(f"waiting for {what}")
        elif self._vitals.state.startswith("waiting"):
            self._vitals.say(self._doing)

    def _broker_says(self, error: Any) -> None:
        from confluent_kafka import KafkaError

        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._vitals.say("waiting for the broker", error.str())
