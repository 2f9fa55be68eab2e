-- Dead letters at the given offsets of one partition, with their bytes; of a topic made anew there may be two at one.
-- Columns: topic string, source_partition int, source_offset int, received_at timestamp, reason string,
--   detail string, payload binary.
SELECT topic, source_partition, source_offset, received_at, reason, detail, payload
FROM {dead_letters}
WHERE topic = :topic AND source_partition = :partition AND source_offset IN (:offsets)
ORDER BY source_offset, received_at
