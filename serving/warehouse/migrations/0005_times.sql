-- Within a partition of the topic, arrivals rise with the offset, and event times nearly do. With the smallest and largest time of
-- each granule, a query of one hour skips the other granules. Both times stay the same when a message is classified again, so a query
-- may skip granules before FINAL (use_skip_indexes_if_final_exact_mode = 0: otherwise all rows that could replace a row are read).

ALTER TABLE predictions ADD INDEX IF NOT EXISTS produced_range produced_at TYPE minmax GRANULARITY 1;

ALTER TABLE predictions ADD INDEX IF NOT EXISTS event_range event_at TYPE minmax GRANULARITY 1;

ALTER TABLE predictions MATERIALIZE INDEX produced_range, MATERIALIZE INDEX event_range;
