ALTER TABLE predictions DROP INDEX IF EXISTS produced_range;

ALTER TABLE predictions DROP INDEX IF EXISTS event_range;
