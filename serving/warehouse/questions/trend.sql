-- Sentiment over time: labels, and points from 0 (all negative) to 100 (all positive), a second, minute or hour.
SELECT bucket, source, sum(negative) AS negative, sum(neutral) AS neutral, sum(positive) AS positive, sum(messages) AS messages,
       round(50 + 50 * sum(r.score) / messages, 2) AS points
FROM {rollup:Identifier} AS r FINAL
WHERE bucket >= {first:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
  AND ({source:String} = '' OR source = {source:String})
GROUP BY bucket, source
ORDER BY bucket, source
