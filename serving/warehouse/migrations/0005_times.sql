-- Within a partition of the topic, arrivals rise with the offset and event times nearly do: the least and largest of each granule tell
-- a question about an hour where not to read. Both are the same however often a message is judged, so a question may
-- leave granules out before FINAL (use_skip_indexes_if_final_exact_mode = 0: without it all that could replace a row is read).

ALTER TABLE predictions ADD INDEX IF NOT EXISTS produced_range produced_at TYPE minmax GRANULARITY 1;

ALTER TABLE predictions ADD INDEX IF NOT EXISTS event_range event_at TYPE minmax GRANULARITY 1;

ALTER TABLE predictions MATERIALIZE INDEX produced_range, MATERIALIZE INDEX event_range;
