-- Number of messages of each label.
SELECT sum(negative) AS negative, sum(neutral) AS neutral, sum(positive) AS positive, sum(messages) AS messages,
       if(messages = 0, 50, round(50 + 50 * sum(r.score) / messages, 2)) AS points
FROM {rollup:Identifier} AS r FINAL
WHERE bucket >= {first:DateTime('UTC')} AND bucket < {until:DateTime('UTC')}
  AND ({source:String} = '' OR source = {source:String})
