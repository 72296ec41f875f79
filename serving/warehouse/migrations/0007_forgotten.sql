-- Messages that their author deleted. A forgotten message keeps its row without id, text and author, with a date that no later
-- prediction has, so a message that is delivered again does not come back. The rollups are then counted without it.

ALTER TABLE predictions
    ADD COLUMN IF NOT EXISTS author_id String DEFAULT '',
    ADD COLUMN IF NOT EXISTS forgotten Bool DEFAULT false,
    ADD INDEX IF NOT EXISTS id_filter id TYPE bloom_filter(0.01) GRANULARITY 8;

ALTER TABLE predictions MATERIALIZE INDEX id_filter;

-- Hashes of the ids and authors that writers leave out. An author's messages up to `until`; null: at any time.

CREATE TABLE IF NOT EXISTS forgotten
(
    kind Enum8('message' = 0, 'author' = 1, 'edit' = 2),
    key String,
    until Nullable(DateTime64(3, 'UTC')),
    forgotten_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(forgotten_at)
ORDER BY (kind, key);

-- Notices of the topic, each once: deletions, edits and the like, by kind.

CREATE TABLE IF NOT EXISTS notices
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    kind LowCardinality(String),
    noticed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset);

-- A rollup's row now counts how many messages it has seen, forgotten ones twice. Of two rows the one that has seen more is the newer
-- one, also where it has fewer messages.

DROP TABLE IF EXISTS rollup_minute_view, rollup_hour_view;

CREATE OR REPLACE TABLE rollup_second_seen
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
    score_squared Float64,
    seen UInt32 DEFAULT messages,
    changed_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX changed_range changed_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(seen)
PARTITION BY toYYYYMMDD(bucket)
ORDER BY (bucket, source, topic, partition, chunk)
TTL bucket + INTERVAL 7 DAY;

INSERT INTO rollup_second_seen (bucket, source, topic, partition, chunk, negative, neutral, positive, messages, score, score_squared, changed_at)
SELECT bucket, source, topic, partition, chunk, negative, neutral, positive, messages, score, score_squared, changed_at FROM rollup_second FINAL
SETTINGS max_partitions_per_insert_block = 0;

EXCHANGE TABLES rollup_second_seen AND rollup_second;

CREATE OR REPLACE TABLE rollup_minute_seen
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
    score_squared Float64,
    seen UInt32 DEFAULT messages
)
ENGINE = ReplacingMergeTree(seen)
PARTITION BY toYYYYMM(bucket)
ORDER BY (bucket, source, topic, partition, chunk)
TTL bucket + INTERVAL 90 DAY;

INSERT INTO rollup_minute_seen (bucket, source, topic, partition, chunk, negative, neutral, positive, messages, score, score_squared)
SELECT bucket, source, topic, partition, chunk, negative, neutral, positive, messages, score, score_squared FROM rollup_minute FINAL
SETTINGS max_partitions_per_insert_block = 0;

EXCHANGE TABLES rollup_minute_seen AND rollup_minute;

CREATE OR REPLACE TABLE rollup_hour_seen
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
    score_squared Float64,
    seen UInt32 DEFAULT messages
)
ENGINE = ReplacingMergeTree(seen)
PARTITION BY toYYYYMM(bucket)
ORDER BY (bucket, source, topic, partition, chunk)
TTL bucket + INTERVAL 730 DAY;

INSERT INTO rollup_hour_seen (bucket, source, topic, partition, chunk, negative, neutral, positive, messages, score, score_squared)
SELECT bucket, source, topic, partition, chunk, negative, neutral, positive, messages, score, score_squared FROM rollup_hour FINAL
SETTINGS max_partitions_per_insert_block = 0;

EXCHANGE TABLES rollup_hour_seen AND rollup_hour;

DROP TABLE IF EXISTS rollup_second_seen, rollup_minute_seen, rollup_hour_seen;

-- The views come last, or the copies above would be counted again.

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_minute_view TO rollup_minute AS
SELECT toStartOfMinute(r.bucket) AS bucket, source, topic, partition, chunk,
       sum(r.negative) AS negative, sum(r.neutral) AS neutral, sum(r.positive) AS positive, sum(r.messages) AS messages,
       sum(r.score) AS score, sum(r.score_squared) AS score_squared, sum(r.seen) AS seen
FROM rollup_second AS r
GROUP BY bucket, source, topic, partition, chunk;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_hour_view TO rollup_hour AS
SELECT toStartOfHour(r.bucket) AS bucket, source, topic, partition, chunk,
       sum(r.negative) AS negative, sum(r.neutral) AS neutral, sum(r.positive) AS positive, sum(r.messages) AS messages,
       sum(r.score) AS score, sum(r.score_squared) AS score_squared, sum(r.seen) AS seen
FROM rollup_second AS r
GROUP BY bucket, source, topic, partition, chunk;
