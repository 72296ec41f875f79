-- Model versions of the current predictions, and when they predicted.
SELECT model_version, 'base' AS tier, count(*) AS messages,
       make_timestamp(min(epoch_us(predicted_at)) // 1000 * 1000) AS first_at,
       make_timestamp(max(epoch_us(predicted_at)) // 1000 * 1000) AS last_at
FROM gold
WHERE event_at >= $since AND event_at < $until
  AND ($source = '' OR source = $source)
GROUP BY model_version
ORDER BY last_at DESC, model_version
LIMIT $limit
