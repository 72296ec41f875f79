-- Seconds from the broker's timestamp to the write in the warehouse, by topic. `newest_s`: seconds since the newest message arrived.
SELECT topic, count() AS messages,
       round(quantile(0.5)(greatest(0, date_diff('millisecond', produced_at, written_at)) / 1000), 3) AS p50_s,
       round(quantile(0.95)(greatest(0, date_diff('millisecond', produced_at, written_at)) / 1000), 3) AS p95_s,
       round(quantile(0.99)(greatest(0, date_diff('millisecond', produced_at, written_at)) / 1000), 3) AS p99_s,
       round(date_diff('millisecond', max(produced_at), now64(3)) / 1000, 3) AS newest_s
FROM predictions FINAL
WHERE produced_at >= {since:DateTime64(3, 'UTC')} AND produced_at < {until:DateTime64(3, 'UTC')}
  AND NOT forgotten AND ({source:String} = '' OR source = {source:String})
GROUP BY topic
ORDER BY messages DESC, topic
LIMIT {limit:UInt32}
SETTINGS use_skip_indexes_if_final_exact_mode = 0
