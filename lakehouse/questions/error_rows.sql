-- Errors of [:since, :until), :most of them after :skip, in the order :sorted (a column, then event_key); :matches is a
-- condition on a row.
-- Columns: event_key string, error_ts timestamp, service_name string, severity string, error_message string,
--   error_id string, produced_at timestamp.
SELECT event_key, error_ts, service_name, severity, error_message, error_id, produced_at
FROM {errors_processed}
WHERE error_ts >= :since AND error_ts < :until
  AND severity IN (:severities)
  AND (:all_services = 1 OR service_name IN (:services))
  AND :matches
ORDER BY :sorted
LIMIT :most OFFSET :skip
