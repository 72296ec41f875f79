-- The messages that are surest to be negative. Which those are is found without their texts, with some to spare for those that were
-- judged anew. A message is never dated a day after its arrival, so older days need no reading.
SELECT event_at, source, round(p.confidence, 4) AS confidence, text, id
FROM predictions AS p FINAL
WHERE (topic, partition, offset) IN (
    SELECT topic, partition, offset FROM predictions AS n
    WHERE label = 'negative' AND event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
      AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
      AND ({source:String} = '' OR n.source = {source:String})
    ORDER BY n.confidence DESC, event_at DESC, id
    LIMIT {limit:UInt32} * 2 + 100)
  AND label = 'negative' AND event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
ORDER BY p.confidence DESC, event_at DESC, id
LIMIT {limit:UInt32}
SETTINGS use_skip_indexes_if_final_exact_mode = 0
