"""Kafka in, judged messages out. In this first form the broker is librdkafka's own, in this process."""
