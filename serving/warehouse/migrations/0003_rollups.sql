-- One row for each bucket, source and chunk of 8,192 offsets. Each written block recounts the chunks that it touches from the
-- messages themselves, so a message that is written twice, late or classified again counts once. Messages never leave a chunk, so
-- of two rows the one with more messages is the newer one. Of rows with the same number the later one counts.

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

-- Count the existing messages. The views come last: they see one block of an INSERT, and an hour's messages may be in several blocks.

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
