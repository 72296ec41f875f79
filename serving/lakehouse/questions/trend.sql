-- Sentiment over time: labels, and points from 0 (all negative) to 100 (all positive), per second, minute or hour; by source: one
-- line for each of the five busiest sources, else one for all. The table is read once, into the rows that a rollup would have.
WITH rollup AS MATERIALIZED (
    SELECT epoch_us(event_at) // $step_us AS step, source, count(*) FILTER (label = 'negative') AS negative,
           count(*) FILTER (label = 'neutral') AS neutral, count(*) FILTER (label = 'positive') AS positive,
           count(*) AS messages, sum(g.positive - g.negative) AS score
    FROM gold AS g
    WHERE event_at >= $first AND event_at < $last AND NOT coalesce(is_share, false)
    GROUP BY step, source)
SELECT make_timestamp(step * $step_us) AS bucket, if($by = 'source', r.source, '') AS source,
       sum(negative) AS negative, sum(neutral) AS neutral, sum(positive) AS positive, sum(messages) AS messages,
       round_even(50 + 50 * sum(score) / sum(r.messages), 2) AS points, NULL AS normal_low, NULL AS normal_high
FROM rollup AS r
WHERE ($source = '' OR r.source = $source)
  AND ($by = '' OR r.source IN (SELECT s.source FROM rollup AS s GROUP BY s.source ORDER BY sum(s.messages) DESC, s.source LIMIT 5))
GROUP BY ALL
ORDER BY 1, 2
