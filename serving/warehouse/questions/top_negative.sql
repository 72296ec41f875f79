-- The messages that are surest to be negative.
SELECT event_at, source, round(confidence, 4) AS confidence, text, id
FROM predictions FINAL
WHERE label = 'negative' AND event_at >= {since:DateTime('UTC')} AND event_at < {until:DateTime('UTC')}
  AND ({source:String} = '' OR source = {source:String})
ORDER BY confidence DESC, event_at DESC
LIMIT {limit:UInt32}
