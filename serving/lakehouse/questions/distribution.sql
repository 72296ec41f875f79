-- Messages by label.
SELECT count(*) FILTER (label = 'negative') AS negative, count(*) FILTER (label = 'neutral') AS neutral,
       count(*) FILTER (label = 'positive') AS positive, count(*) AS messages,
       if(count(*) = 0, 50, round_even(50 + 50 * sum(g.positive - g.negative) / count(*), 2)) AS points
FROM gold AS g
WHERE event_at >= $first AND event_at < $last AND NOT coalesce(is_share, false)
  AND ($source = '' OR source = $source)
