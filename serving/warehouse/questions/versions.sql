-- Which model versions judged, and when.
SELECT model_version, tier, count() AS messages, min(predicted_at) AS first_at, max(predicted_at) AS last_at
FROM predictions FINAL
WHERE event_at >= {since:DateTime('UTC')} AND event_at < {until:DateTime('UTC')}
  AND ({source:String} = '' OR source = {source:String})
GROUP BY model_version, tier
ORDER BY last_at DESC
LIMIT {limit:UInt32}
