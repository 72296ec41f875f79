DROP TABLE IF EXISTS predictions_1;

CREATE TABLE predictions_1
(
    topic String,
    partition Int32,
    offset Int64,
    id String,
    source LowCardinality(String),
    created_at Nullable(DateTime64(3, 'UTC')),
    predicted_at DateTime64(3, 'UTC'),
    label LowCardinality(String),
    confidence Float32,
    probabilities Array(Float32),
    sarcasm Nullable(Float32),
    tier LowCardinality(String),
    model_version LowCardinality(String)
)
ENGINE = ReplacingMergeTree(predicted_at)
ORDER BY (topic, partition, offset);

INSERT INTO predictions_1
SELECT topic, partition, offset, id, source, created_at, predicted_at, label, confidence, probabilities, sarcasm, tier, model_version
FROM predictions FINAL
SETTINGS max_partitions_per_insert_block = 0;

EXCHANGE TABLES predictions_1 AND predictions;

DROP TABLE predictions_1;
