"""What the demo's stream says: real texts at a human pace and, soon and then every ten minutes, a crisis nobody announced."""

import json
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
"""So much of the past is told first: an alert needs five minutes to know what is normal."""
CRISIS_AFTER_S, CRISIS_S, CRISIS_EVERY_S, CRISIS_RATE = 25, 45, 600, 6.0
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
class Said:
    """One message. `at` is when it is said, in seconds since 1970."""

    at: float
    source: str
    text: str


def said(began: float, texts: dict[str, list[str]], seed: int = 0) -> Iterator[Said]:
    """Messages without end, from `HISTORY_S` before `began` on, in the order of their times.

    Args:
        began: When somebody begins to watch, in seconds since 1970.
        texts: By source, what it says over and over.
        seed: Of the order and the pauses.
    """
    chance = random.Random(seed)
    usual = {name: cycle(chance.sample(found, len(found))) for name, found in texts.items()}
    at = began - HISTORY_S
    while True:
        since_crisis = (at - began - CRISIS_AFTER_S) % CRISIS_EVERY_S
        crisis = CRISIS_RATE if at > began + CRISIS_AFTER_S and since_crisis < CRISIS_S else 0.0
        rates = {**RATES, "": crisis}
        at += chance.expovariate(sum(rates.values()))
        (source,) = chance.choices(list(rates), list(rates.values()))
        yield Said(at, source, next(usual[source])) if source else Said(at, CRISIS_SOURCE, chance.choice(CRISIS))


def test_texts(layout: Layout) -> dict[str, list[str]]:
    """Texts of the test split by source: those of its domain, or, where there are none, all."""
    from orchestration.steps.data import read_texts

    frame = read_texts(layout, "test")
    found = {name: frame["text"][frame["domain"] == name].tolist() for name in RATES}
    return {name: mine or frame["text"].tolist() for name, mine in found.items()}


test_texts.__test__ = False  # type: ignore[attr-defined]  # no test, whatever pytest makes of its name


def feed(
    settings: StreamSettings, texts: dict[str, list[str]], stop: threading.Event, clock: Callable[[], float] = time.time
) -> int:
    """Send what is said when it is said, and the past at once, until `stop` is set; gives how many messages that were. Blocks."""
    from confluent_kafka import Producer

    from serving.streaming.broker import client_config, need_topic

    producer = Producer({**client_config(settings), "linger.ms": 5})
    need_topic(producer, settings.topic, settings.bootstrap)
    began, sent = clock(), 0
    for one in said(began, texts):
        if stop.wait(max(0.0, one.at - clock())):
            break
        created = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds")
        event = {"id": f"demo-{began:.0f}-{sent}", "text": one.text, "source": one.source, "created_at": created}
        producer.produce(settings.topic, json.dumps(event, ensure_ascii=False).encode())
        producer.poll(0)
        sent += 1
    producer.flush(5)
    return sent
