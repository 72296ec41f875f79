"""A real Kafka on this machine: one broker in Java, for trying out, for tests and for measurements."""

from orchestration.kafka.server import LocalKafka, run_local_kafka

__all__ = ["LocalKafka", "run_local_kafka"]
