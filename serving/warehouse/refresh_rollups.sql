-- Recount the chunks. In one block of any size, because the views of minute and hour see one block at a time. Of two rows the one
-- that has seen more is the newer one: a message counts once, and once more when it is forgotten. A share is no opinion: it counts
-- in `shares` alone.
INSERT INTO rollup_second (bucket, source, topic, partition, chunk, negative, neutral, positive, messages, score, score_squared, seen,
                           shares, changed_at)
SELECT toStartOfSecond(event_at) AS bucket, source, topic, partition, intDiv(offset, 8192) AS chunk,
       countIf(label = 'negative' AND ((NOT forgotten AND NOT is_share) AS is_opinion)), countIf(label = 'neutral' AND is_opinion),
       countIf(label = 'positive' AND is_opinion), countIf(is_opinion), sumIf(p.score, is_opinion),
       sumIf(p.score * p.score, is_opinion), count() + countIf(forgotten), countIf(is_share), max(written_at)
FROM predictions AS p FINAL
WHERE topic = {topic:String} AND (RANGES)
GROUP BY bucket, source, topic, partition, chunk
SETTINGS max_partitions_per_insert_block = 0, max_insert_threads = 1, min_insert_block_size_rows = 1000000000,
         min_insert_block_size_bytes = 0
