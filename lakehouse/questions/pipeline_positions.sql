-- How far ingest has read: one row a topic and partition.
-- Columns: topic string, source_partition int, next_offset int, read_to timestamp, first_event_at timestamp,
--   updated_at timestamp.
SELECT topic, source_partition, next_offset, read_to, first_event_at, updated_at
FROM {ingest_positions}
ORDER BY topic, source_partition
