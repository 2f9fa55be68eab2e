-- The errors of one service and severity in [:since, :until), newest first, at most :most: what an incident rests on.
-- Columns: event_key string, error_id string, service_name string, severity string, error_message string,
--   error_ts timestamp, produced_at timestamp.
SELECT event_key, error_id, service_name, severity, error_message, error_ts, produced_at
FROM {errors_processed}
WHERE error_ts >= :since AND error_ts < :until AND service_name = :service_name AND severity = :severity
ORDER BY error_ts DESC, event_key
LIMIT :most
