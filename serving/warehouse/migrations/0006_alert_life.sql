-- The time when the newest message of a rollup's row was written, to find the rows that changed since a time without reading all.
-- Existing rows get an old time first. Only then does the default become now, which they would otherwise be read with.

ALTER TABLE rollup_second ADD COLUMN IF NOT EXISTS changed_at DateTime64(3, 'UTC') DEFAULT toDateTime64(0, 3, 'UTC');

ALTER TABLE rollup_second MATERIALIZE COLUMN changed_at SETTINGS mutations_sync = 1;

ALTER TABLE rollup_second MODIFY COLUMN changed_at DateTime64(3, 'UTC') DEFAULT now64(3);

ALTER TABLE rollup_second ADD INDEX IF NOT EXISTS changed_range changed_at TYPE minmax GRANULARITY 1;

ALTER TABLE rollup_second MATERIALIZE INDEX changed_range SETTINGS mutations_sync = 1;

-- The baseline of a source at each minute when its seconds were evaluated. Kept as long as the minutes themselves.

CREATE TABLE IF NOT EXISTS normal_minute
(
    source LowCardinality(String),
    bucket DateTime('UTC'),
    mean Float64,
    variance Float64,
    drift Float64,
    threshold Float64,
    written_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written_at)
PARTITION BY toYYYYMM(bucket)
ORDER BY (source, bucket)
TTL bucket + INTERVAL 90 DAY;

ALTER TABLE alerts ADD COLUMN IF NOT EXISTS
    words Array(Tuple(word String, messages UInt32, share Float64, usual_share Float64, z Float64)) DEFAULT [];

ALTER TABLE alerts ADD COLUMN IF NOT EXISTS usual_volume Nullable(Float64) DEFAULT NULL;

ALTER TABLE alerts ADD COLUMN IF NOT EXISTS muted Bool DEFAULT false;

CREATE TABLE IF NOT EXISTS alert_acknowledgements
(
    alert_id String,
    acknowledged_by String,
    acknowledged_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY alert_id;

CREATE TABLE IF NOT EXISTS alert_mutes
(
    source String,
    muted_until DateTime64(3, 'UTC'),
    muted_by String,
    muted_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(muted_at)
ORDER BY source;
