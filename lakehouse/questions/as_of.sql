-- The moment a commit speaks of (all events up to it are in; null while a partition was not read yet), and each topic's
-- first event time. One row.
-- Columns: as_of timestamp, first_order_at timestamp, first_click_at timestamp, first_error_at timestamp.
SELECT
  CASE WHEN COUNT(read_to) = COUNT(*) THEN MIN(read_to) END AS as_of,
  MIN(CASE WHEN topic = 'orders_topic' THEN first_event_at END) AS first_order_at,
  MIN(CASE WHEN topic = 'clicks_topic' THEN first_event_at END) AS first_click_at,
  MIN(CASE WHEN topic = 'errors_topic' THEN first_event_at END) AS first_error_at
FROM {ingest_positions}
