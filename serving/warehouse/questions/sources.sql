-- The sources with the most messages, and their sentiment.
SELECT source, sum(negative) AS negative, sum(neutral) AS neutral, sum(positive) AS positive, sum(messages) AS messages,
       round(50 + 50 * sum(r.score) / messages, 2) AS points
FROM {rollup:Identifier} AS r FINAL
WHERE bucket >= {first:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
  AND ({source:String} = '' OR source = {source:String})
GROUP BY source
HAVING messages > 0
ORDER BY messages DESC, source
LIMIT {limit:UInt32}
