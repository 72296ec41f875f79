-- Messages over time by tier, per second, minute or hour: the lakehouse classifies with one tier.
SELECT make_timestamp(epoch_us(event_at) // $step_us * $step_us) AS bucket, 'base' AS tier, count(*) AS messages
FROM gold
WHERE event_at >= $first AND event_at < $last
  AND ($source = '' OR source = $source)
GROUP BY bucket
ORDER BY bucket
