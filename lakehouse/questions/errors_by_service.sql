-- Errors (count) of [:since, :until) by service and severity, with the newest produced_at; :matches as for
-- error_rows.
-- Columns: service_name string, severity string, n int, newest timestamp.
SELECT service_name, severity, COUNT(*) AS n, MAX(produced_at) AS newest
FROM {errors_processed}
WHERE error_ts >= :since AND error_ts < :until
  AND :matches
GROUP BY service_name, severity
