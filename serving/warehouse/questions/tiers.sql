-- Messages over time by the tier whose prediction counts, per second, minute or hour. As in versions, older days are not read.
SELECT toDateTime(intDiv(toUnixTimestamp(event_at), {step_s:UInt32}) * {step_s:UInt32}, 'UTC') AS bucket, tier, count() AS messages
FROM predictions FINAL
WHERE event_at >= {first:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
  AND NOT forgotten AND ({source:String} = '' OR source = {source:String})
GROUP BY bucket, tier
ORDER BY bucket, tier
SETTINGS use_skip_indexes_if_final_exact_mode = 0
