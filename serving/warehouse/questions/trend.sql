-- Sentiment a minute: labels, and points from 0 (all negative) to 100 (all positive).
SELECT bucket, source, sum(negative) AS negative, sum(neutral) AS neutral, sum(positive) AS positive, sum(messages) AS messages,
       round(50 + 50 * sum(r.score) / messages, 2) AS points
FROM rollup_minute AS r FINAL
WHERE bucket >= {since:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
  AND ({source:String} = '' OR source = {source:String})
GROUP BY bucket, source
ORDER BY bucket, source
LIMIT {limit:UInt32}
