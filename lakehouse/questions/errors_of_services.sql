-- Errors (count) of [:since, :until) of these :services, by service and severity in steps of one :step.
-- Columns: moment timestamp, service_name string, severity string, n int.
SELECT DATE_TRUNC(:step, error_ts) AS moment, service_name, severity, COUNT(*) AS n
FROM {errors_processed}
WHERE error_ts >= :since AND error_ts < :until
  AND severity IN (:severities)
  AND service_name IN (:services)
  AND :matches
GROUP BY DATE_TRUNC(:step, error_ts), service_name, severity
