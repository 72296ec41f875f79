"""`make bench-stream`: the stream on a real Kafka, compared with a naive worker, bulk classify and other ways to scale."""
