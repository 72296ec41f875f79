-- Labels and sum of scores per second and source; all but the twenty busiest sources of the last hour are grouped as ''.
WITH busiest AS (
    SELECT b.source FROM gold AS b
    WHERE b.event_at >= $hour AND NOT coalesce(is_share, false)
    GROUP BY b.source ORDER BY count(*) DESC, b.source LIMIT 20)
SELECT epoch_us(event_at) // 1000000 AS second, if(g.source IN (FROM busiest), g.source, '') AS source,
       count(*) FILTER (label = 'negative') AS negative, count(*) FILTER (label = 'neutral') AS neutral,
       count(*) FILTER (label = 'positive') AS positive, round_even(sum(g.positive - g.negative), 4) AS score
FROM gold AS g
WHERE event_at >= $first AND event_at < $last AND NOT coalesce(is_share, false)
GROUP BY ALL
ORDER BY 1, 2
