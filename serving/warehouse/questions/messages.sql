-- The newest messages. The rollup knows which chunks of the topic hold them, so that not all of a day is read.
SELECT event_at, source, label, round(p.confidence, 4) AS confidence, sarcasm, tier, model_version, text, id,
       topic, partition, offset
FROM predictions AS p FINAL
WHERE (topic, partition, intDiv(offset, 8192)) IN (
    SELECT topic, partition, chunk FROM {rollup:Identifier} AS r
    WHERE bucket >= {first:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
      AND ({source:String} = '' OR r.source = {source:String}))
  AND event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
  AND ({source:String} = '' OR p.source = {source:String})
  AND ({label:String} = '' OR label = {label:String})
ORDER BY event_at DESC, topic, partition, offset DESC
LIMIT {limit:UInt32}
