-- Delay of the warehouse by partition: the last offset, the seconds since the newest message arrived at the broker, and the seconds
-- from when an author wrote a message until it was written here.
SELECT topic, partition, count() AS messages, max(offset) AS last_offset,
       round(date_diff('millisecond', max(produced_at), now64(3)) / 1000, 3) AS newest_s,
       round(quantile(0.5)(greatest(0, date_diff('millisecond', event_at, written_at)) / 1000), 3) AS p50_s,
       round(quantile(0.95)(greatest(0, date_diff('millisecond', event_at, written_at)) / 1000), 3) AS p95_s,
       round(quantile(0.99)(greatest(0, date_diff('millisecond', event_at, written_at)) / 1000), 3) AS p99_s
FROM predictions FINAL
WHERE produced_at >= {since:DateTime64(3, 'UTC')} AND produced_at < {until:DateTime64(3, 'UTC')}
  AND NOT forgotten AND ({source:String} = '' OR source = {source:String})
GROUP BY topic, partition
ORDER BY topic, partition
LIMIT {limit:UInt32}
SETTINGS use_skip_indexes_if_final_exact_mode = 0
