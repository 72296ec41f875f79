"""Kafka in, judged messages out, alerts beside; a replay that needs no Kafka. What runs it: `groundswell stream`."""
