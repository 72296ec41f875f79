"""One consumer: poll, classify in micro-batches, write, publish, commit."""
