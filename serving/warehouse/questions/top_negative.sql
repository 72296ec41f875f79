-- The messages that are surest to be negative. One is never dated a day after its arrival, so older days need no reading.
SELECT event_at, source, round(p.confidence, 4) AS confidence, text, id
FROM predictions AS p FINAL
WHERE label = 'negative' AND event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
  AND ({source:String} = '' OR source = {source:String})
ORDER BY p.confidence DESC, event_at DESC, id
LIMIT {limit:UInt32}
