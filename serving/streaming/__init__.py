"""Classifies messages from Kafka, watches for alerts, and replays files without Kafka; run with `groundswell stream`."""
