-- The model versions that classified, and when. A message is never dated a day after its arrival, so older days are not read.
SELECT model_version, tier, count() AS messages, min(predicted_at) AS first_at, max(predicted_at) AS last_at
FROM predictions FINAL
WHERE event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
  AND NOT forgotten AND ({source:String} = '' OR source = {source:String})
GROUP BY model_version, tier
ORDER BY last_at DESC, model_version, tier
LIMIT {limit:UInt32}
SETTINGS use_skip_indexes_if_final_exact_mode = 0
