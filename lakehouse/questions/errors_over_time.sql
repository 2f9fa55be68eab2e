-- Errors (count) of [:since, :until) by severity in steps of one :step; :matches as for error_rows.
-- Columns: moment timestamp, severity string, n int.
SELECT DATE_TRUNC(:step, error_ts) AS moment, severity, COUNT(*) AS n
FROM {errors_processed}
WHERE error_ts >= :since AND error_ts < :until
  AND severity IN (:severities)
  AND (:all_services = 1 OR service_name IN (:services))
  AND :matches
GROUP BY DATE_TRUNC(:step, error_ts), severity
