"""ClickHouse: the schema as numbered migrations, writes in blocks, reads that never count a message twice."""
