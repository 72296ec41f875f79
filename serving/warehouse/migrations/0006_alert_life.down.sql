DROP TABLE IF EXISTS alert_mutes;

DROP TABLE IF EXISTS alert_acknowledgements;

ALTER TABLE alerts DROP COLUMN IF EXISTS muted;

ALTER TABLE alerts DROP COLUMN IF EXISTS usual_volume;

ALTER TABLE alerts DROP COLUMN IF EXISTS words;

DROP TABLE IF EXISTS normal_minute;

ALTER TABLE rollup_second DROP INDEX IF EXISTS changed_range;

ALTER TABLE rollup_second DROP COLUMN IF EXISTS changed_at;
