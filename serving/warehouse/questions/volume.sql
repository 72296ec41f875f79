-- Number of messages by second, minute or hour, with shares.
SELECT bucket, sum(r.messages) + sum(r.shares) AS messages
FROM {rollup:Identifier} AS r FINAL
WHERE bucket >= {first:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
  AND ({source:String} = '' OR source = {source:String})
GROUP BY bucket
HAVING messages > 0
ORDER BY bucket
