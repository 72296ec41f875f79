-- Granules of 1,024 rows: every block reads its chunks again for the rollups, and larger granules hold more of their neighbors.
-- Kept for 90 days from the write, not from the arrival: an old topic that is read today must stay while its chunks fill.

DROP TABLE IF EXISTS predictions_2;

CREATE TABLE predictions_2
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    id String,
    source LowCardinality(String),
    text String CODEC(ZSTD(1)),
    created_at Nullable(DateTime64(3, 'UTC')),
    produced_at DateTime64(3, 'UTC'),
    event_at DateTime64(3, 'UTC') DEFAULT ifNull(created_at, produced_at),
    predicted_at DateTime64(3, 'UTC'),
    label Enum8('negative' = 0, 'neutral' = 1, 'positive' = 2),
    confidence Float32,
    probabilities Array(Float32),
    score Float32 DEFAULT probabilities[3] - probabilities[1],
    sarcasm Nullable(Float32),
    tier LowCardinality(String),
    model_version LowCardinality(String),
    written_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(predicted_at)
PARTITION BY toYYYYMMDD(produced_at)
ORDER BY (topic, partition, offset)
TTL toDateTime(written_at) + INTERVAL 90 DAY
SETTINGS index_granularity = 1024;

INSERT INTO predictions_2 (topic, partition, offset, id, source, created_at, produced_at, predicted_at, label, confidence,
                           probabilities, sarcasm, tier, model_version)
SELECT topic, partition, offset, id, source, created_at, predicted_at, predicted_at, label, confidence, probabilities, sarcasm,
       tier, model_version
FROM predictions FINAL
SETTINGS max_partitions_per_insert_block = 0;

EXCHANGE TABLES predictions_2 AND predictions;

DROP TABLE predictions_2;
