-- The newest figures of ingest since :since, by these :metrics: one row a topic and metric, with when it was measured.
-- Columns: topic string, metric string, value double, measured_at timestamp.
SELECT topic, metric, "value", measured_at
FROM (
  SELECT
    topic,
    metric,
    "value",
    measured_at,
    ROW_NUMBER() OVER (PARTITION BY topic, metric ORDER BY measured_at DESC, "value" DESC) AS place
  FROM {pipeline_metrics}
  WHERE measured_at >= :since AND metric IN (:metrics)
) AS placed
WHERE place = 1
