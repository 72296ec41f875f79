-- Seconds from the broker's or the file's timestamp to the prediction, by topic or file; `newest_s`: age of the newest arrival.
WITH arrived AS (
    SELECT copy.origin AS topic, epoch_us(copy.arrived_at) // 1000 AS at_ms,
           greatest(0, epoch_us(predicted_at) // 1000 - epoch_us(copy.arrived_at) // 1000) / 1000 AS waited_s
    FROM gold
    WHERE copy.arrived_at >= $since AND copy.arrived_at < $until
      AND ($source = '' OR source = $source))
SELECT topic, count(*) AS messages,
       round_even(quantile_cont(waited_s, 0.5), 3) AS p50_s,
       round_even(quantile_cont(waited_s, 0.95), 3) AS p95_s,
       round_even(quantile_cont(waited_s, 0.99), 3) AS p99_s,
       round_even((epoch_us($now) // 1000 - max(at_ms)) / 1000, 3) AS newest_s
FROM arrived
GROUP BY topic
ORDER BY messages DESC, topic
LIMIT $limit
