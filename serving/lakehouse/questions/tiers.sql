-- Messages over time by tier, per second, minute or hour.
SELECT make_timestamp(epoch_us(event_at) // $step_us * $step_us) AS bucket, coalesce(nullif(split_part(model_version, '/', 2), ''), 'base') AS tier, count(*) AS messages
FROM gold
WHERE event_at >= $first AND event_at < $last
  AND ($source = '' OR source = $source)
GROUP BY bucket, tier
ORDER BY bucket, tier
