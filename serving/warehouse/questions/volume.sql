-- Messages an hour.
SELECT bucket, sum(messages) AS messages
FROM rollup_hour FINAL
WHERE bucket >= toStartOfHour({since:DateTime('UTC')}) AND bucket < {until:DateTime('UTC')}
  AND ({source:String} = '' OR source = {source:String})
GROUP BY bucket
ORDER BY bucket
LIMIT {limit:UInt32}
