"""The messages of the demo's stream: real texts at a slow rate, with a crisis in one source soon and then every ten minutes."""

import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle

from orchestration.layout import Layout
from serving.settings import StreamSettings

RATES = {"tweets": 3.0, "support": 2.0, "reviews": 1.0}
"""Messages a second, by source."""
HISTORY_S = 900
"""Seconds of history that are sent first: alerts need five minutes for a baseline."""
CRISIS_AFTER_S, CRISIS_S, CRISIS_EVERY_S, CRISIS_RATE = 25, 45, 600, 12.0
CRISIS_SOURCE = "support"
CRISIS = (
    "Oh great, another outage. Third one this week, well done.",
    "Nothing loads, nobody answers, and I am still being charged. Terrible.",
    "The app is down again and I have customers waiting. This is awful.",
    "Wonderful, logged out in the middle of a payment. I hate this.",
    "Two hours without service and not a single word from you. Unacceptable.",
    "I am so angry, the whole team cannot work because of you.",
    "Worst support I have ever had, the chat just closes on me.",
    "Error 500 on every page. What a disaster.",
    "Your status page says all is well. It is not. Fix it!",
    "Lost an hour of work because of this outage, thanks for nothing.",
    "Cancelled my subscription, I cannot rely on this anymore.",
    "Still down. Still no refund. Really disappointed.",
)


@dataclass(frozen=True)
class DemoMessage:
    """One message. `at` is its event time, in seconds since 1970."""

    at: float
    source: str
    text: str


def demo_messages(
    began: float, texts: dict[str, list[str]], seed: int = 0, crisis_from: Callable[[], float] | None = None
) -> Iterator[DemoMessage]:
    """Yield messages without end, starting `HISTORY_S` before `began`, in the order of their times.

    Args:
        began: The end of the history, in seconds since 1970.
        texts: By source, the texts that it repeats.
        seed: Of the order and the pauses.
        crisis_from: Returns the start of the first crisis, called for each message; None: `CRISIS_AFTER_S` after `began`.
    """
    chance = random.Random(seed)
    usual = {name: cycle(chance.sample(own, len(own))) for name, own in texts.items()}
    first = crisis_from or (lambda: began + CRISIS_AFTER_S)
    at = began - HISTORY_S
    while True:
        since = at - first()
        crisis = CRISIS_RATE if since > 0 and since % CRISIS_EVERY_S < CRISIS_S else 0.0
        rates = {**RATES, "": crisis}
        at += chance.expovariate(sum(rates.values()))
        (source,) = chance.choices(list(rates), list(rates.values()))
        yield DemoMessage(at, source, next(usual[source])) if source else DemoMessage(at, CRISIS_SOURCE, chance.choice(CRISIS))


def test_texts(layout: Layout) -> dict[str, list[str]]:
    """Return texts of the test split by source: those of its domain, or all where there are none."""
    from orchestration.steps.data import read_texts

    frame = read_texts(layout, "test")
    by_domain = {name: frame["text"][frame["domain"] == name].tolist() for name in RATES}
    return {name: own or frame["text"].tolist() for name, own in by_domain.items()}


test_texts.__test__ = False  # type: ignore[attr-defined]  # not a test, in spite of its name


class Feed:
    """Sends the demo's messages in a thread: the history at once, then each message when it is due.

    The first crisis comes `CRISIS_AFTER_S` after `start_crisis_clock`, so that it does not start while pages still load.
    """

    def __init__(self, settings: StreamSettings, texts: dict[str, list[str]], clock: Callable[[], float] = time.time) -> None:
        self._settings, self._texts, self._clock = settings, texts, clock
        self._stop = threading.Event()
        self._crisis_from = math.inf
        self._history = threading.Event()
        self.history = 0
        """Messages of the history, once `wait_for_history` has returned."""
        self._thread = threading.Thread(target=self._run, name="feed")

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_history(self, timeout_s: float) -> bool:
        """Block until the history is on the topic; return False on a timeout."""
        return self._history.wait(timeout_s)

    def start_crisis_clock(self) -> float:
        """Schedule the first crisis, as the pages are ready; return its start in seconds since 1970."""
        self._crisis_from = self._clock() + CRISIS_AFTER_S
        return self._crisis_from

    def _run(self) -> None:
        from confluent_kafka import Producer

        from serving.streaming.broker import client_config, require_topic

        producer = Producer({**client_config(self._settings), "linger.ms": 5})
        require_topic(producer, self._settings.topic, self._settings.bootstrap)
        began = self._clock()
        for number, message in enumerate(demo_messages(began, self._texts, crisis_from=lambda: self._crisis_from)):
            if message.at > began and not self._history.is_set():
                producer.flush(10)
                self.history = number
                self._history.set()
            if self._stop.wait(max(0.0, message.at - self._clock())):
                break
            created = datetime.fromtimestamp(message.at, UTC).isoformat(timespec="milliseconds")
            event = {"id": f"demo-{began:.0f}-{number}", "text": message.text, "source": message.source, "created_at": created}
            producer.produce(self._settings.topic, json.dumps(event, ensure_ascii=False).encode())
            producer.poll(0)
        producer.flush(5)
