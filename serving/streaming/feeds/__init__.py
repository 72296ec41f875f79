"""Connectors that bring texts from feeds and social networks to the topic of messages: `groundswell stream ingest`."""
