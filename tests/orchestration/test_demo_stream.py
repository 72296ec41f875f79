"""The demo's messages: in order, at a slow rate, with a crisis in one source."""

from collections import Counter
from itertools import takewhile

from orchestration.demo.stream import (
    CRISIS,
    CRISIS_AFTER_S,
    CRISIS_EVERY_S,
    CRISIS_S,
    CRISIS_SOURCE,
    HISTORY_S,
    RATES,
    demo_messages,
)

TEXTS = {name: [f"{name} text {k}" for k in range(20)] for name in RATES}
BEGAN = 1_000_000.0


def messages(until):
    return list(takewhile(lambda one: one.at < BEGAN + until, demo_messages(BEGAN, TEXTS)))


def test_messages_start_in_the_past_and_are_in_order():
    sent = messages(10)
    times = [one.at for one in sent]
    assert times == sorted(times) and BEGAN - HISTORY_S < times[0] < BEGAN - HISTORY_S + 5
    rates = Counter(one.source for one in sent)
    for name, rate in RATES.items():
        assert 0.8 * rate < rates[name] / (HISTORY_S + 10) < 1.2 * rate
    assert not {one.text for one in sent} & set(CRISIS)


def test_a_crisis_comes_soon_lasts_a_while_and_comes_again():
    crisis = [one for one in messages(CRISIS_EVERY_S * 2 + CRISIS_AFTER_S) if one.text in CRISIS]
    assert {one.source for one in crisis} == {CRISIS_SOURCE}
    since = [(one.at - BEGAN - CRISIS_AFTER_S) for one in crisis]
    assert min(since) >= 0 and {int(each // CRISIS_EVERY_S) for each in since} == {0, 1}
    assert all(each % CRISIS_EVERY_S < CRISIS_S + 2 for each in since)
    assert len(crisis) > 2 * 0.8 * 6 * CRISIS_S


def test_messages_are_the_same_each_time():
    assert messages(60) == messages(60)
