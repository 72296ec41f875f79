-- Shares stay out of the rollups until their chunks are recounted.

DROP TABLE IF EXISTS rollup_minute_view, rollup_hour_view;

ALTER TABLE rollup_second DROP COLUMN IF EXISTS shares;

ALTER TABLE rollup_minute DROP COLUMN IF EXISTS shares;

ALTER TABLE rollup_hour DROP COLUMN IF EXISTS shares;

ALTER TABLE predictions DROP COLUMN IF EXISTS is_share;

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
