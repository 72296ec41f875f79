-- Labels and sum of scores of each second by source: the twenty with the most messages in the last hour, and all others together as ''.
SELECT toUnixTimestamp(bucket) AS second,
       if(r.source IN (
           SELECT s.source FROM rollup_minute AS s
           WHERE bucket >= now() - INTERVAL 1 HOUR
           GROUP BY s.source ORDER BY sum(s.messages) DESC, s.source LIMIT 20), r.source, '') AS source,
       sum(negative) AS negative, sum(neutral) AS neutral, sum(positive) AS positive, round(sum(r.score), 4) AS score
FROM rollup_second AS r FINAL
WHERE bucket >= {since:DateTime64(3, 'UTC')} AND bucket < {until:DateTime64(3, 'UTC')}
GROUP BY second, source
HAVING negative + neutral + positive > 0
ORDER BY second, source
