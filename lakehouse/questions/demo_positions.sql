-- How far ingest has read: one row a topic and partition; next_offset is the first that is not in.
-- Columns: topic string, source_partition int, next_offset int, read_to timestamp.
SELECT topic, source_partition, next_offset, read_to
FROM {ingest_positions}
