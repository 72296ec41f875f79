"""A real Kafka broker on this machine, in Java, for trials, tests and benchmarks."""

from orchestration.kafka.server import LocalKafka, run_local_kafka

__all__ = ["LocalKafka", "run_local_kafka"]
