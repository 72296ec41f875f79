-- One row a bucket, source and chunk of 8,192 offsets: a block written recomputes the chunks it touches from the messages themselves,
-- so a message written twice, late or judged anew is counted once. Messages never leave a chunk, so of two rows the one with more
-- of them saw more; of equals the later one holds.

CREATE TABLE IF NOT EXISTS rollup_second
(
    bucket DateTime('UTC'),
    source LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    chunk Int64,
    negative UInt32,
    neutral UInt32,
    positive UInt32,
    messages UInt32,
    score Float64,
    score_squared Float64
)
ENGINE = ReplacingMergeTree(messages)
PARTITION BY toYYYYMMDD(bucket)
ORDER BY (bucket, source, topic, partition, chunk)
TTL bucket + INTERVAL 7 DAY;

CREATE TABLE IF NOT EXISTS rollup_minute
(
    bucket DateTime('UTC'),
    source LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    chunk Int64,
    negative UInt32,
    neutral UInt32,
    positive UInt32,
    messages UInt32,
    score Float64,
    score_squared Float64
)
ENGINE = ReplacingMergeTree(messages)
PARTITION BY toYYYYMM(bucket)
ORDER BY (bucket, source, topic, partition, chunk)
TTL bucket + INTERVAL 90 DAY;

CREATE TABLE IF NOT EXISTS rollup_hour
(
    bucket DateTime('UTC'),
    source LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    chunk Int64,
    negative UInt32,
    neutral UInt32,
    positive UInt32,
    messages UInt32,
    score Float64,
    score_squared Float64
)
ENGINE = ReplacingMergeTree(messages)
PARTITION BY toYYYYMM(bucket)
ORDER BY (bucket, source, topic, partition, chunk)
TTL bucket + INTERVAL 730 DAY;

-- What is there already. The views come last: they see one block of an INSERT at a time, and the messages of an hour may be in several.

INSERT INTO rollup_second
SELECT toStartOfSecond(event_at) AS bucket, source, topic, partition, intDiv(offset, 8192) AS chunk,
       countIf(label = 'negative'), countIf(label = 'neutral'), countIf(label = 'positive'), count(), sum(p.score), sum(p.score * p.score)
FROM predictions AS p FINAL
GROUP BY bucket, source, topic, partition, chunk
SETTINGS max_partitions_per_insert_block = 0;

INSERT INTO rollup_minute
SELECT toStartOfMinute(event_at) AS bucket, source, topic, partition, intDiv(offset, 8192) AS chunk,
       countIf(label = 'negative'), countIf(label = 'neutral'), countIf(label = 'positive'), count(), sum(p.score), sum(p.score * p.score)
FROM predictions AS p FINAL
GROUP BY bucket, source, topic, partition, chunk
SETTINGS max_partitions_per_insert_block = 0;

INSERT INTO rollup_hour
SELECT toStartOfHour(event_at) AS bucket, source, topic, partition, intDiv(offset, 8192) AS chunk,
       countIf(label = 'negative'), countIf(label = 'neutral'), countIf(label = 'positive'), count(), sum(p.score), sum(p.score * p.score)
FROM predictions AS p FINAL
GROUP BY bucket, source, topic, partition, chunk
SETTINGS max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_minute_view TO rollup_minute AS
SELECT toStartOfMinute(r.bucket) AS bucket, source, topic, partition, chunk,
       sum(r.negative) AS negative, sum(r.neutral) AS neutral, sum(r.positive) AS positive, sum(r.messages) AS messages,
       sum(r.score) AS score, sum(r.score_squared) AS score_squared
FROM rollup_second AS r
GROUP BY bucket, source, topic, partition, chunk;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_hour_view TO rollup_hour AS
SELECT toStartOfHour(r.bucket) AS bucket, source, topic, partition, chunk,
       sum(r.negative) AS negative, sum(r.neutral) AS neutral, sum(r.positive) AS positive, sum(r.messages) AS messages,
       sum(r.score) AS score, sum(r.score_squared) AS score_squared
FROM rollup_second AS r
GROUP BY bucket, source, topic, partition, chunk;
