"""`make bench-stream`: the stream on a real Kafka, beside a naive worker, bulk classify and other ways to scale."""
