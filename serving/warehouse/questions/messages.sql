-- The newest messages. They are selected without their texts, with some extra rows for messages that were classified again.
SELECT event_at, source, label, round(p.confidence, 4) AS confidence, round(p.sarcasm, 4) AS sarcasm, domain, tier, model_version, text, id,
       topic, partition, offset
FROM predictions AS p FINAL
WHERE (topic, partition, offset) IN (
    SELECT topic, partition, offset FROM predictions AS n
    WHERE event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
      AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
      AND NOT forgotten AND ({source:String} = '' OR n.source = {source:String})
      AND ({label:String} = '' OR label = {label:String})
      AND ({domain:String} = '' OR domain = {domain:String}) AND (NOT {sarcastic:Bool} OR n.sarcasm >= 0.5)
    ORDER BY event_at DESC, topic, partition, offset DESC
    LIMIT {limit:UInt32} * 2 + 100)
  AND event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY AND NOT forgotten
  AND ({label:String} = '' OR label = {label:String})
  AND ({domain:String} = '' OR domain = {domain:String}) AND (NOT {sarcastic:Bool} OR p.sarcasm >= 0.5)
ORDER BY event_at DESC, topic, partition, offset DESC
LIMIT {limit:UInt32}
SETTINGS use_skip_indexes_if_final_exact_mode = 0
