-- Pure retweets and reposts: another author's text. The rollups count them as shares; labels, messages and scores are of opinions.

ALTER TABLE predictions ADD COLUMN IF NOT EXISTS is_share Bool DEFAULT false;

ALTER TABLE rollup_second ADD COLUMN IF NOT EXISTS shares UInt32 DEFAULT 0;

ALTER TABLE rollup_minute ADD COLUMN IF NOT EXISTS shares UInt32 DEFAULT 0;

ALTER TABLE rollup_hour ADD COLUMN IF NOT EXISTS shares UInt32 DEFAULT 0;

DROP TABLE IF EXISTS rollup_minute_view, rollup_hour_view;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_minute_view TO rollup_minute AS
SELECT toStartOfMinute(r.bucket) AS bucket, source, topic, partition, chunk,
       sum(r.negative) AS negative, sum(r.neutral) AS neutral, sum(r.positive) AS positive, sum(r.messages) AS messages,
       sum(r.score) AS score, sum(r.score_squared) AS score_squared, sum(r.seen) AS seen, sum(r.shares) AS shares
FROM rollup_second AS r
GROUP BY bucket, source, topic, partition, chunk;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_hour_view TO rollup_hour AS
SELECT toStartOfHour(r.bucket) AS bucket, source, topic, partition, chunk,
       sum(r.negative) AS negative, sum(r.neutral) AS neutral, sum(r.positive) AS positive, sum(r.messages) AS messages,
       sum(r.score) AS score, sum(r.score_squared) AS score_squared, sum(r.seen) AS seen, sum(r.shares) AS shares
FROM rollup_second AS r
GROUP BY bucket, source, topic, partition, chunk;
