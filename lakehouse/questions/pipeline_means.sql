-- Means of what ingest measured in [:since, :until), by these :metrics in steps of one :step.
-- Columns: moment timestamp, metric string, mean double.
SELECT DATE_TRUNC(:step, measured_at) AS moment, metric, AVG("value") AS mean
FROM {pipeline_metrics}
WHERE measured_at >= :since AND measured_at < :until AND metric IN (:metrics)
GROUP BY DATE_TRUNC(:step, measured_at), metric
