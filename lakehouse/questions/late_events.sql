-- Events that came in [:since, :until) after their minute had been judged, by topic in steps of one :step: how many
-- (count), and how long before it was read the latest of them lay (s); 0 where ingest did not say.
-- Columns: moment timestamp, topic string, n double, late_s double.
SELECT
  DATE_TRUNC(:step, measured_at) AS moment,
  topic,
  SUM(CASE WHEN metric = 'late' THEN "value" ELSE 0 END) AS n,
  MAX(CASE WHEN metric = 'late_seconds' THEN "value" ELSE 0 END) AS late_s
FROM {pipeline_metrics}
WHERE measured_at >= :since AND measured_at < :until AND metric IN ('late', 'late_seconds')
GROUP BY DATE_TRUNC(:step, measured_at), topic
HAVING SUM(CASE WHEN metric = 'late' THEN "value" ELSE 0 END) > 0
