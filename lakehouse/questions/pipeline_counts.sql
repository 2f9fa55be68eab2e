-- What ingest counted in [:since, :until), by these :metrics in steps of one :step.
-- Columns: moment timestamp, metric string, n double.
SELECT DATE_TRUNC(:step, measured_at) AS moment, metric, SUM("value") AS n
FROM {pipeline_metrics}
WHERE measured_at >= :since AND measured_at < :until AND metric IN (:metrics)
GROUP BY DATE_TRUNC(:step, measured_at), metric
