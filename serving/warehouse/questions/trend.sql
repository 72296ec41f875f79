-- Sentiment by second, minute or hour: labels, and points from 0 (all negative) to 100 (all positive). By source: a line for each of
-- the five sources with the most messages; else one line of all. For one source also the normal range of points for that many messages.
SELECT t.bucket AS bucket, t.source AS source, negative, neutral, positive, messages, points,
       if(n.variance > 0, round(greatest(0, 50 + 50 * (n.mean - n.threshold * sqrt(n.variance / messages + n.drift))), 2), NULL) AS normal_low,
       if(n.variance > 0, round(least(100, 50 + 50 * (n.mean + n.threshold * sqrt(n.variance / messages + n.drift))), 2), NULL) AS normal_high
FROM (
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
    HAVING messages > 0) AS t
LEFT JOIN (
    SELECT intDiv(toUnixTimestamp(bucket), {normal_s:UInt32}) AS at, argMax(m.mean, bucket) AS mean, argMax(m.variance, bucket) AS variance,
           argMax(m.drift, bucket) AS drift, argMax(m.threshold, bucket) AS threshold
    FROM normal_minute AS m FINAL
    WHERE m.source = {source:String} AND bucket >= {first:DateTime('UTC')} - INTERVAL 1 MINUTE AND bucket < {until:DateTime('UTC')}
    GROUP BY at) AS n ON n.at = intDiv(toUnixTimestamp(t.bucket), {normal_s:UInt32})
ORDER BY bucket, source
