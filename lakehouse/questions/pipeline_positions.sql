-- How far ingest has read: one row a topic and partition.
SELECT topic, source_partition, next_offset, read_to, first_event_at, updated_at
FROM {ingest_positions}
ORDER BY topic, source_partition
