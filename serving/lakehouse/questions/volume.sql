-- Messages over time, per second, minute or hour.
SELECT make_timestamp(epoch_us(event_at) // $step_us * $step_us) AS bucket, count(*) AS messages
FROM gold
WHERE event_at >= $first AND event_at < $last
  AND ($source = '' OR source = $source)
GROUP BY bucket
ORDER BY bucket
