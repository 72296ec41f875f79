-- The most negative messages; newer ones weigh more: the confidence counts half after each quarter of the time. Duplicate texts are
-- shown once. The messages are selected without their texts, with some extra rows for duplicates and for messages that were
-- classified again. A message is never dated a day after its arrival, so older days are not read.
WITH round(round(toFloat64(p.confidence), 4)
           * exp2(date_diff('millisecond', {since:DateTime64(3, 'UTC')}, event_at) / 1000 / {half_life_s:Float64}), 6) AS weight
SELECT event_at, source, round(p.confidence, 4) AS confidence, text, id
FROM predictions AS p FINAL
WHERE (topic, partition, offset) IN (
    SELECT topic, partition, offset FROM predictions AS n
    WHERE label = 'negative' AND event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
      AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
      AND NOT forgotten AND ({source:String} = '' OR n.source = {source:String})
    ORDER BY n.confidence
        * exp2(date_diff('millisecond', {since:DateTime64(3, 'UTC')}, event_at) / 1000 / {half_life_s:Float64}) DESC
    LIMIT {limit:UInt32} * 20 + 200)
  AND label = 'negative' AND event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY AND NOT forgotten
ORDER BY weight DESC, event_at DESC, id
LIMIT 1 BY text
LIMIT {limit:UInt32}
SETTINGS use_skip_indexes_if_final_exact_mode = 0
