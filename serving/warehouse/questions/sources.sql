-- Which sources write most, and what they feel.
SELECT source, sum(messages) AS messages, sum(negative) AS negative, sum(neutral) AS neutral, sum(positive) AS positive,
       round(50 + 50 * sum(r.score) / messages, 2) AS points
FROM rollup_minute AS r FINAL
WHERE bucket >= {since:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
  AND ({source:String} = '' OR source = {source:String})
GROUP BY source
ORDER BY messages DESC, source
LIMIT {limit:UInt32}
