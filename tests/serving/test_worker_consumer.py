"""The consumer of a stream worker reports an unavailable broker, and nothing else."""

import confluent_kafka
from confluent_kafka import KafkaError

from serving.settings import StreamSettings
from serving.streaming.worker.consumer import JOIN_TIMEOUT_S, new_consumer


def test_consumer_reports_that_no_broker_is_reachable(monkeypatch):
    monkeypatch.setattr(confluent_kafka, "Consumer", lambda config: config)
    reported = []
    config = new_consumer(StreamSettings.load(group="g", drain_s=5), reported.append)
    config["error_cb"](KafkaError(KafkaError._TRANSPORT, "one connection was reset"))
    config["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN, "all are down"))
    assert reported == ["all are down"]
    assert config["group.id"] == "g" and config["enable.auto.commit"] is False
    assert config["max.poll.interval.ms"] == 1000 * (JOIN_TIMEOUT_S + 5)
