-- The newest messages.
SELECT make_timestamp(epoch_us(g.event_at) // 1000 * 1000) AS event_at, source, label, round_even(g.confidence, 4) AS confidence,
       round_even(g.sarcasm, 4) AS sarcasm, coalesce(nullif(split_part(model_version, '/', 2), ''), 'base') AS tier,
       split_part(model_version, '/', 1) AS model_version, text, id,
       copy.origin AS topic, copy.block AS "partition", copy.line AS "offset"
FROM gold AS g
WHERE g.event_at >= $since AND g.event_at < $until
  AND ($source = '' OR source = $source)
  AND ($label = '' OR label = $label)
ORDER BY epoch_us(g.event_at) // 1000 DESC, copy.origin, copy.block, copy.line DESC
LIMIT $limit
