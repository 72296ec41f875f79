"""The lag of the group as the supervisor measures it: the test gives the clock and the broker."""

from concurrent.futures import Future
from itertools import pairwise

import pytest

from data.errors import StreamError
from serving.streaming.lag import PartitionLag
from serving.streaming.supervisor.backlog import BROKER_BACK_OFF_MOST_S, MEASURE_S, Backlog
from serving.streaming.supervisor.scaling import WINDOW_S


class Thread:
    """Runs a measurement when the test calls `run`."""

    def __init__(self):
        self.submitted = []

    def submit(self, call):
        self.submitted.append((call, Future()))
        return self.submitted[-1][1]

    def run(self):
        call, future = self.submitted[-1]
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)


class Broker:
    def __init__(self):
        self.error, self.partitions, self.reports, self.thread = None, [], [], Thread()
        self.backlog = Backlog(self.measure, lambda text, bad: self.reports.append((text, bad)))

    def measure(self):
        if self.error:
            raise self.error
        return self.partitions

    def round(self, now):
        """Start a measurement if one is due, and let it end; return whether there was a new one."""
        before = len(self.thread.submitted)
        assert not self.backlog.measured(now, self.thread), "a started measurement is not waited for"
        if len(self.thread.submitted) == before:
            return None
        assert not self.backlog.measured(now, self.thread)
        self.thread.run()
        return self.backlog.measured(now, self.thread)


@pytest.fixture
def broker():
    return Broker()


def lags(committed, end):
    return [PartitionLag(0, committed, end), PartitionLag(1, 2 * committed, 3 * end)]


def test_each_second_there_is_a_measurement(broker):
    broker.partitions = lags(10, 30)
    assert broker.round(100.0) is True and broker.round(100.5) is None and broker.round(100.0 + MEASURE_S) is True
    assert (broker.backlog.lag, broker.backlog.committed) == (90, 30)
    assert broker.backlog.partitions == lags(10, 30) and not broker.reports


def test_rates_are_those_of_the_window(broker):
    assert broker.backlog.rates() == (0.0, 0.0)
    for second in range(100):
        broker.partitions = lags(10 * second if second > 50 else 0, 100 * second)
        assert broker.round(float(second)) is True
    assert WINDOW_S < 49
    assert broker.backlog.rates() == (pytest.approx(30), pytest.approx(400))


def test_unavailable_broker_is_reported_once_and_measured_less_and_less_often(broker):
    broker.partitions = lags(1, 1)
    broker.round(0.0)
    broker.error = StreamError("The broker does not respond.")
    tries = [second / 2 for second in range(2, 200) if broker.round(second / 2) is False]
    pauses = [after - before for before, after in pairwise(tries)]
    assert pauses == sorted(pauses) and pauses[0] == MEASURE_S and pauses[-1] == BROKER_BACK_OFF_MOST_S
    assert broker.reports == [("The lag of the group cannot be read: The broker does not respond.", True)]
    assert broker.backlog.broker_error == "The broker does not respond." and broker.backlog.partitions == lags(1, 1)
    broker.error = ValueError("another")
    assert [broker.round(200.0 + second) for second in range(10)].count(False) == 1
    broker.error = None
    assert [broker.round(220.0 + second) for second in range(3)].count(True) == 3
    assert [text for text, _ in broker.reports[1:]] == [
        "The lag of the group cannot be read: another",
        "The broker responds again",
    ]
    assert broker.reports[-1][1] is False and broker.backlog.broker_error == ""
