-- Sentiment over time: labels, and points from 0 (all negative) to 100 (all positive), a second, minute or hour; by source: a line
-- each of the five that wrote most, else of all together.
SELECT bucket, if({by:String} = 'source', r.source, '') AS source,
       sum(negative) AS negative, sum(neutral) AS neutral, sum(positive) AS positive, sum(messages) AS messages,
       round(50 + 50 * sum(r.score) / messages, 2) AS points
FROM {rollup:Identifier} AS r FINAL
WHERE bucket >= {first:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
  AND ({source:String} = '' OR r.source = {source:String})
  AND ({by:String} = '' OR r.source IN (
      SELECT s.source FROM {rollup:Identifier} AS s
      WHERE {by:String} = 'source' AND bucket >= {first:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
      GROUP BY s.source ORDER BY sum(s.messages) DESC, s.source LIMIT 5))
GROUP BY bucket, source
ORDER BY bucket, source
