-- The most negative messages, newer ones first: confidence halves per quarter of the time range. Duplicate texts appear once.
SELECT event_at, source, confidence, text, id
FROM (
    SELECT make_timestamp(epoch_us(g.event_at) // 1000 * 1000) AS event_at, source, round_even(g.confidence, 4) AS confidence, text, id,
           round(round(g.confidence, 4) * pow(2, (epoch_us(g.event_at) - epoch_us($since)) // 1000 / 1000 / $half_life_s), 6) AS weight
    FROM gold AS g
    WHERE label = 'negative' AND g.event_at >= $since AND g.event_at < $until
      AND ($source = '' OR source = $source)
)
QUALIFY row_number() OVER (PARTITION BY text ORDER BY weight DESC, event_at DESC, id) = 1
ORDER BY weight DESC, event_at DESC, id
LIMIT $limit
