-- From the broker's timestamp, or the file's, to judged, in seconds, a topic or file; `newest_s`: how long ago the newest arrived.
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
