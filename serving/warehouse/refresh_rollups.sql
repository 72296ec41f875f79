INSERT INTO rollup_second
SELECT toStartOfSecond(event_at) AS bucket, source, topic, partition, intDiv(offset, 8192) AS chunk,
       countIf(label = 'negative'), countIf(label = 'neutral'), countIf(label = 'positive'), count(), sum(p.score), sum(p.score * p.score)
FROM predictions AS p FINAL
WHERE topic = {topic:String} AND (RANGES)
GROUP BY bucket, source, topic, partition, chunk
