"""The HTTP API: BentoML batches, the classifier answers."""
