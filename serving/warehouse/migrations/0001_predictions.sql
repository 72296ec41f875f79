CREATE TABLE IF NOT EXISTS predictions
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
ORDER BY (topic, partition, offset)
