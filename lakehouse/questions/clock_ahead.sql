-- Messages that ingest read since :since whose log time lay over 60 s ahead of its clock: one row a topic with any, how
-- many (count), and by how much at most (s).
-- Columns: topic string, messages double, ahead_s double.
SELECT
  topic,
  SUM(CASE WHEN metric = 'clock_ahead' THEN "value" ELSE 0 END) AS messages,
  MAX(CASE WHEN metric = 'clock_ahead_seconds' THEN "value" ELSE 0 END) AS ahead_s
FROM {pipeline_metrics}
WHERE measured_at >= :since AND metric IN ('clock_ahead', 'clock_ahead_seconds')
GROUP BY topic
