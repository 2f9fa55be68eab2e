-- How far ingest has read: one row a topic and partition; next_offset is the first that is not in.
SELECT topic, source_partition, next_offset, read_to
FROM {ingest_positions}
