CREATE TABLE IF NOT EXISTS alerts
(
    id String,
    source LowCardinality(String),
    direction Enum8('down' = -1, 'up' = 1),
    started_at DateTime64(3, 'UTC'),
    detected_at DateTime64(3, 'UTC'),
    closed_at Nullable(DateTime64(3, 'UTC')),
    z Float64,
    moving_average Float64,
    baseline_mean Float64,
    baseline_std Float64,
    volume UInt32,
    window_s UInt32,
    texts Array(String),
    revision UInt32
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY id;

CREATE TABLE IF NOT EXISTS topics
(
    topic String,
    topic_id String,
    partitions UInt32,
    seen_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(seen_at)
ORDER BY topic;
