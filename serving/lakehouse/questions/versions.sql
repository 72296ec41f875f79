-- Model versions of the current predictions, and when they predicted.
SELECT split_part(g.model_version, '/', 1) AS model_version,
       coalesce(nullif(split_part(g.model_version, '/', 2), ''), 'base') AS tier, count(*) AS messages,
       make_timestamp(min(epoch_us(predicted_at)) // 1000 * 1000) AS first_at,
       make_timestamp(max(epoch_us(predicted_at)) // 1000 * 1000) AS last_at
FROM gold AS g
WHERE event_at >= $since AND event_at < $until
  AND ($source = '' OR source = $source)
GROUP BY g.model_version
ORDER BY last_at DESC, model_version, tier
LIMIT $limit
