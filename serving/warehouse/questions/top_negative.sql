-- The messages that are surest to be negative. The rollup knows which chunks of the topic hold such messages, and one is never dated
-- a day after its arrival, so the rest needs no reading.
SELECT event_at, source, round(p.confidence, 4) AS confidence, text, id
FROM predictions AS p FINAL
WHERE (topic, partition, intDiv(offset, 8192)) IN (
    SELECT topic, partition, chunk FROM {rollup:Identifier} AS r
    WHERE bucket >= {first:DateTime('UTC')} AND bucket < {until:DateTime('UTC')} AND negative > 0
      AND ({source:String} = '' OR r.source = {source:String}))
  AND label = 'negative' AND event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
  AND ({source:String} = '' OR p.source = {source:String})
ORDER BY p.confidence DESC, event_at DESC, id
LIMIT {limit:UInt32}
