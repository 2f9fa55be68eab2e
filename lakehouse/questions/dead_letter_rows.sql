-- Dead letters received in [:since, :until), :most of them after :skip, in the order :sorted (a column, then where they
-- stood in the log), with their bytes; :matches is a condition on a row.
-- Columns: topic string, source_partition int, source_offset int, received_at timestamp, reason string,
--   detail string, payload binary.
SELECT topic, source_partition, source_offset, received_at, reason, detail, payload
FROM {dead_letters}
WHERE received_at >= :since AND received_at < :until
  AND topic IN (:topics)
  AND reason IN (:reasons)
  AND :matches
ORDER BY :sorted
LIMIT :most OFFSET :skip
