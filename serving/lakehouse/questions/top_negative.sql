-- The messages that are surest to be negative.
SELECT make_timestamp(epoch_us(g.event_at) // 1000 * 1000) AS event_at, source, round_even(g.confidence, 4) AS confidence, text, id
FROM gold AS g
WHERE label = 'negative' AND g.event_at >= $since AND g.event_at < $until
  AND ($source = '' OR source = $source)
ORDER BY g.confidence DESC, epoch_us(g.event_at) // 1000 DESC, id
LIMIT $limit
