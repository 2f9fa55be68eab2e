-- Dead letters received in [:since, :until), newest first, at most :most, with their bytes.
-- Columns: topic string, source_partition int, source_offset int, received_at timestamp, reason string,
--   detail string, payload binary.
SELECT topic, source_partition, source_offset, received_at, reason, detail, payload
FROM {dead_letters}
WHERE received_at >= :since AND received_at < :until
  AND topic IN (:topics)
  AND reason IN (:reasons)
ORDER BY received_at DESC, topic, source_partition, source_offset DESC
LIMIT :most
