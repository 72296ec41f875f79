-- The normal range by minute of the twenty sources with the most messages in the last hour: the mean of n messages is within
-- mean ± threshold · sqrt(variance / n + drift).
SELECT source, toUnixTimestamp(bucket) AS at, mean, variance, drift, threshold
FROM normal_minute AS n FINAL
WHERE bucket >= {since:DateTime64(3, 'UTC')} AND bucket < {until:DateTime64(3, 'UTC')}
  AND ({source:String} = '' OR source = {source:String})
  AND source IN (
      SELECT s.source FROM rollup_minute AS s
      WHERE s.bucket >= now() - INTERVAL 1 HOUR
      GROUP BY s.source ORDER BY sum(s.messages) DESC, s.source LIMIT 20)
ORDER BY source, at
