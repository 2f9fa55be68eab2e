-- A figure minute by minute, over minutes that have any row of its table (:rows, by lakehouse.rules.figure): those since
-- an incident began and the hour before, and the same minutes of past days. total, highest and lowest (one of them is
-- the figure) are null where none of the minute's rows is of it; hidden counts rows that stand for others too. One row
-- without a moment says how far the topic was read, and when its first event was. What is usual of a minute is the mean
-- of the hour before, or of the same minutes of the past 7 days with 10 min on either side (by UTC), whichever leaves
-- less to tell of; 30 min in a row without any row are a pause and say nothing, and so do fewer than 10 min in all
-- (lakehouse.figures.usual).
-- Columns: moment timestamp, total double, highest double, lowest double, hidden int, read_to timestamp,
--   first_event_at timestamp.
SELECT
  DATE_TRUNC('MINUTE', happened_at) AS moment,
  CAST(SUM(n) AS DOUBLE) AS total,
  CAST(MAX(n) AS DOUBLE) AS highest,
  CAST(MIN(n) AS DOUBLE) AS lowest,
  SUM(hidden) AS hidden,
  CAST(NULL AS TIMESTAMP) AS read_to,
  CAST(NULL AS TIMESTAMP) AS first_event_at
FROM (
:rows
) AS facts
GROUP BY DATE_TRUNC('MINUTE', happened_at)
UNION ALL
SELECT
  CAST(NULL AS TIMESTAMP) AS moment,
  CAST(NULL AS DOUBLE) AS total,
  CAST(NULL AS DOUBLE) AS highest,
  CAST(NULL AS DOUBLE) AS lowest,
  0 AS hidden,
  CASE WHEN COUNT(read_to) = COUNT(*) THEN MIN(read_to) END AS read_to,
  MIN(first_event_at) AS first_event_at
FROM {ingest_positions}
WHERE topic = :topic
