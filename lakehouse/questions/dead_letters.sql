-- Dead letters received in [:since, :until), newest first, at most :most, with their bytes.
SELECT topic, source_partition, source_offset, received_at, reason, detail, payload
FROM {dead_letters}
WHERE received_at >= :since AND received_at < :until
  AND topic IN (:topics)
  AND reason IN (:reasons)
ORDER BY received_at DESC, topic, source_partition, source_offset DESC
LIMIT :most
